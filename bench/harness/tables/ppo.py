"""PPO against its peers: seconds to a return, and return after all steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from retort.distill.evaluation.statistics import bootstrap
from retort.distill.ppo_settings import Kind, gymnasium_ppo

from ..claims import Claim
from ..peers import cleanrl_envpool, rltools, rsl_rl, stable_baselines3
from ..report import (
    interval_over_seeds,
    markdown_table,
    paired_ratio,
    paragraph,
    plot_curves,
    ratio_over_seeds,
    said,
    seconds_to,
    settings_note,
    times_to,
    verdict,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..training import Task, final_returns, learn_ppo

TABLE = "ppo"
SEEDS = (1, 2, 3)
BUDGET = 1_000_000
TARGETS = {"HalfCheetah": 4000.0, "Hopper": 2000.0}
MORE_TASKS = ("Walker2d", "Ant")  # without peers
PEERS: dict[ModuleType, float] = {  # and how many times faster we want to be
    stable_baselines3: 4.0,
    cleanrl_envpool: 2.0,
    rsl_rl: 2.0,
    rltools: 2.0,
}
REFERENCE = "sb3-zoo"  # whose return after all steps is to be reached
EFFICIENT = "efficient"  # our settings that are for that
LIMIT = 150.0  # CPU seconds after which a peer that is only timed is given up
_POINTS = 40  # on a curve


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Seed by seed: everybody who is timed one after the other, then the long ones."""
    every: list[Run] = []
    for seed in seeds:
        for task in TARGETS:
            every.append(_run(task, "fast", seed))
            for peer in PEERS:
                timed = [arm for arm in peer.SETTINGS if arm != REFERENCE]
                every += [_run(task, arm, seed) for arm in timed]
        every += [_run(task, EFFICIENT, seed) for task in (*TARGETS, *MORE_TASKS)]
        every += [_run(task, REFERENCE, seed) for task in TARGETS]
    return every


def _run(task: str, arm: str, seed: int) -> Run:
    peer = _peer(arm)
    return Run(
        table=TABLE,
        task=task,
        arm=arm,
        seed=seed,
        budget=BUDGET,
        execute=_ours if peer is None else _theirs,
        package=None if peer is None else peer.PACKAGE,
    )


def _peer(arm: str) -> ModuleType | None:
    """The library of an arm; None if it is ours."""
    return next((peer for peer in PEERS if arm in peer.SETTINGS), None)


def _ours(run: Run, place: Place, log: Log) -> Made:
    kind: Kind = "fast" if run.arm == "fast" else "efficient"
    config = gymnasium_ppo(run.task, kind, steps=place.steps(run.budget))
    every = max(1, config.steps // _POINTS)
    ppo, curve, figures = learn_ppo(run.task, config, run.seed, log, every=every)
    final = final_returns(run.task, curve.actor)
    return Made(dataclasses.asdict(ppo.config), curve.points, final, figures)


def _theirs(run: Run, place: Place, log: Log) -> Made:
    peer, steps = _peer(run.arm), place.steps(run.budget)
    assert peer is not None
    task = Task(name=run.task, seed=run.seed, steps=steps, every=max(1, steps // _POINTS))
    if run.arm != REFERENCE:
        task = dataclasses.replace(task, target=TARGETS[run.task], limit=LIMIT)
    return peer.learn(task, run.arm, log)


def claims(results: Path) -> list[Claim]:
    """Seconds against the fastest library of those that are to be beaten by as much, and return
    against the reference.
    """
    every = read_results(results, TABLE)
    made = []
    for task in TARGETS:
        for wanted in dict.fromkeys(PEERS.values()):
            peers = [peer for peer in PEERS if PEERS[peer] == wanted]
            if (raced := _raced(every, task, peers)) is not None:
                libraries = ", ".join(peer.LIBRARY for peer in peers)
                who = libraries if len(peers) == 1 else f"the fastest of {libraries}"
                made.append(
                    Claim(
                        what=f"{task}, seconds of {who} over ours",
                        wanted=f"{wanted:g}",
                        found=f"{raced.times} (`{raced.arm}`)",
                        met=raced.met,
                        why=_why_not_faster(every, task, raced.arm),
                    )
                )
    for task in TARGETS:
        ours, reference = _group(every, task, EFFICIENT), _group(every, task, REFERENCE)
        if (found := paired_ratio(ours, reference)) is not None:
            made.append(
                Claim(
                    what=f"{task}, return over that of `{REFERENCE}`",
                    wanted="1",
                    found=f"{said(found)} by `{EFFICIENT}`; {_ended(ours, reference)}",
                    met=verdict(found.value >= 1.0, ours, SEEDS, reference),
                )
            )
    return made


def _why_not_faster(every: list[Result], task: str, arm: str) -> str:
    """By what a step takes, how many are needed, and how much that varies; all in medians."""
    sides = [_group(every, task, name) for name in ("fast", arm)]
    times = [times_to(group, TARGETS[task], "steps") for group in sides]
    if not np.isfinite([np.median(each) for each in times]).all():
        return ""
    ours, theirs = (
        np.median([r.figures["seconds"] / r.figures["steps"] for r in g]) for g in sides
    )
    fewer = np.median(times[1]) / np.median(times[0])
    ranges = [f"{each.min() / 1e3:.0f} to {_thousands(each.max())}" for each in times]
    return (
        f"a step of `{arm}` takes {theirs / ours:.1f} times the seconds of one of ours, and it "
        f"needs {fewer:.2f} times as many, in medians over seeds; between seeds that is "
        f"{ranges[1]} thousand steps, and {ranges[0]} for ours"
    )


def _thousands(steps: float) -> str:
    return f"{steps / 1e3:.0f}" if math.isfinite(steps) else "never"


def _ended(ours: list[Result], reference: list[Result]) -> str:
    """Where the reference's runs ended beside the best that their curves have been."""
    best = [max(point.mean_return for point in r.curve) for r in reference]
    peaks = [dataclasses.replace(r, final=[b]) for r, b in zip(reference, best, strict=True)]
    end = np.mean([r.mean_return for r in reference])
    runs = "1 run" if len(reference) == 1 else f"{len(reference)} runs"
    return (
        f"{ratio_over_seeds(ours, peaks)} over the best point of that one's curve, "
        f"{np.mean(best):.0f}, where its last parameters return {end:.0f} ({runs})"
    )


def _looks() -> dict[str, dict[str, Any]]:
    """A colour per library, ours in front; solid with our fast settings, broken with others."""
    looks: dict[str, dict[str, Any]] = {
        "fast": {"color": "black", "linewidth": 1.6, "zorder": 3},
        EFFICIENT: {"color": "black", "linewidth": 1.2, "linestyle": "--", "zorder": 3},
    }
    for number, peer in enumerate(PEERS):
        others = iter(("--", ":", "-."))
        for arm in sorted(peer.SETTINGS, key=lambda arm: not arm.endswith("-fast")):
            style = "-" if arm.endswith("-fast") else next(others)
            looks[arm] = {"color": f"C{number}", "linestyle": style}
    return looks


def report(results: Path, figures: Path) -> str:
    """The section of the documentation, and its figures."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    image = plot_curves(every, figures / "ppo.svg", _looks(), TARGETS)
    header = ["task", "learner", "seeds", "parameters", "return after all steps"]
    timed = ["target", "seconds to it", "steps to it", "CPU s per 100 k steps"]
    return "\n\n".join(
        [
            "## PPO",
            paragraph(
                "Return of 50 held-out deterministic episodes after the last update, and the time "
                "to a target return: 20 deterministic episodes per point off the clock, two "
                "successive points at or above it, the first of which counts; median over seeds. "
                "`fast` and `efficient` are ours. A peer has its published settings, and with "
                "`-fast` ours as far as they exist there; where each comes from stands in "
                "`bench/harness/peers`. Ours and `sb3-zoo` spend all of their steps; the others "
                f"end at the target, or unreached after {LIMIT:.0f} CPU seconds or all steps. "
                "PyTorch has one thread everywhere: a second makes a minibatch of 64 rows through "
                "256-256 at best 1.25 times as fast, of 512 through 64-64 1.1 times; "
                "our physics and EnvPool's have all cores, Stable-Baselines3 and RLtools step "
                "Gymnasium's environments one after the other, and most of RLtools' seconds are "
                "those environments' and their normaliser's in Python; its compiler is off the "
                "clock."
            ),
            markdown_table([*header, *timed], _rows(every)),
            paragraph(
                "How many times the seconds of `fast` each library takes with the better of its "
                "settings, median over median (what a seed draws in one library has nothing to do "
                "with what it draws in another), with the interval of both drawn again:"
            ),
            markdown_table(["task", "library", "its best", "times", "wanted", "met"], _race(every)),
            *_returns(every),
            paragraph(
                "A line per run: ours black, a colour per library, solid with our fast settings, "
                "broken or dotted with others; the line across is the target."
            ),
            f"![Return against environment steps and seconds]({image})",
            settings_note(every),
        ]
    )


def _rows(every: list[Result]) -> list[list[object]]:
    rows = []
    for task in (*TARGETS, *MORE_TASKS):
        for arm in dict.fromkeys(result.arm for result in every if result.task == task):
            group = _group(every, task, arm)
            whole = _peer(arm) is None or arm == REFERENCE
            rows.append(
                [
                    task,
                    arm,
                    len(group),
                    f"{group[0].figures['parameters']:.0f}",
                    interval_over_seeds(group) if whole else "",
                    *_time(task, group),
                    _cpu(group),
                ]
            )
    return rows


def _group(every: list[Result], task: str, arm: str) -> list[Result]:
    return [result for result in every if (result.task, result.arm) == (task, arm)]


def _time(task: str, group: list[Result]) -> list[str]:
    if task not in TARGETS:
        return ["", "", ""]
    target = TARGETS[task]
    return [
        f"{target:.0f}",
        seconds_to(group, target, "seconds"),
        seconds_to(group, target, "steps"),
    ]


def _cpu(group: list[Result]) -> str:
    known = [r.figures for r in group if "cpu_seconds" in r.figures]
    each = [1e5 * figures["cpu_seconds"] / figures["steps"] for figures in known]
    return f"{np.mean(each):.1f}" if each else ""


class _Raced(NamedTuple):
    """The fastest of some libraries beside ours."""

    arm: str
    times: str  # its seconds over ours
    met: str


def _race(every: list[Result]) -> list[list[str]]:
    """A row per task and library."""
    return [
        [task, peer.LIBRARY, raced.arm, raced.times, f"{wanted:.0f}", raced.met]
        for task in TARGETS
        for peer, wanted in PEERS.items()
        if (raced := _raced(every, task, [peer])) is not None
    ]


def _raced(every: list[Result], task: str, peers: Sequence[ModuleType]) -> _Raced | None:
    """The time over ours of that arm of some libraries which is fastest in the median.

    An arm of which seeds are missing may turn out to be faster than all others, which can turn yes
    into no, but not no into yes.
    """
    fast, target = _group(every, task, "fast"), TARGETS[task]
    groups = {arm: _group(every, task, arm) for peer in peers for arm in peer.SETTINGS}
    times = {arm: times_to(group, target, "seconds") for arm, group in groups.items() if group}
    if not fast or not times:
        return None
    best = min(times, key=lambda arm: float(np.median(times[arm])))
    found, words = _times_over(times[best], times_to(fast, target, "seconds"))
    met = found >= PEERS[peers[0]]
    others = groups.values() if met else ()
    return _Raced(best, words, verdict(met, groups[best], SEEDS, fast, *others))


def _times_over(theirs: np.ndarray, ours: np.ndarray) -> tuple[float, str]:
    """Median time of theirs over that of ours, and in words with its interval; zero where we fail,
    infinite where only they do. A seed means nothing to two libraries: it makes no pairs.
    """
    if not np.isfinite(np.median(ours)):
        return 0.0, "ours never reached it"
    if not np.isfinite(np.median(theirs)):
        return math.inf, "never reached"
    if not np.isfinite([*theirs, *ours]).all():
        found = float(np.median(theirs) / np.median(ours))
        return found, f"{found:.2f}"
    arms = [theirs[:, None], ours[:, None]]
    interval = bootstrap(_ratio_of_medians, arms, np.random.default_rng(0))
    return interval.value, said(interval, 2)


def _ratio_of_medians(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    return np.median(theirs, axis=(-2, -1)) / np.median(ours, axis=(-2, -1))


def _returns(every: list[Result]) -> list[str]:
    """Our return after all steps over the reference's, paired by seed."""
    told = []
    for task in TARGETS:
        reference = _group(every, task, REFERENCE)
        for arm in (EFFICIENT, "fast"):
            ours = _group(every, task, arm)
            if ratio := ratio_over_seeds(ours, reference):
                told.append(f"{task}, `{arm}`: {ratio}; {_ended(ours, reference)}")
    if not told:
        return []
    head = f"Return after all steps over that of `{REFERENCE}`, wanted at least 1 of `{EFFICIENT}`:"
    return [paragraph(head), "\n".join(paragraph(f"- {one}.", "  ") for one in told)]
