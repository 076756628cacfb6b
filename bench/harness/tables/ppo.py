"""PPO against its peers: seconds to a return, and return after a million steps."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import ModuleType
from typing import Any

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
LIMIT = 150.0  # CPU seconds after which a peer that is only timed is given up
_POINTS = 40  # on a curve


def runs() -> list[Run]:
    """Seed by seed: everybody who is timed one after the other, then the long ones."""
    every: list[Run] = []
    for seed in SEEDS:
        for task in TARGETS:
            every.append(_run(task, "fast", seed))
            for peer in PEERS:
                timed = [arm for arm in peer.SETTINGS if arm != REFERENCE]
                every += [_run(task, arm, seed) for arm in timed]
        every += [_run(task, "efficient", seed) for task in (*TARGETS, *MORE_TASKS)]
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


_WHY_NOT_FASTER = (
    "two thirds of our CPU time per step on HalfCheetah and three quarters on Hopper is that of "
    "the environment's steps (32 of 48 and 79 of 105 us), on all cores already and the same for "
    "rsl_rl; a step of Stable-Baselines3 takes 2.7 and 2.4 times as long as ours, of rsl_rl on "
    "HalfCheetah 1.5 times, and on Hopper these two with our settings need no more steps than we "
    "do; more would have to come from fewer steps, which vary up to fivefold between seeds of one "
    "learner, as the intervals say"
)


def claims(results: Path) -> list[Claim]:
    """Seconds against every library, and return against the reference."""
    every = read_results(results, TABLE)
    made = [
        Claim(
            what=f"{task}, seconds of {library} over ours",
            wanted=wanted,
            found=f"{times} (`{best}`)",
            met=met,
            why=_WHY_NOT_FASTER,
        )
        for task, library, best, times, wanted, met in _race(every)
    ]
    for task in TARGETS:
        reference = _group(every, task, REFERENCE)
        arms = {
            arm: found
            for arm in ("efficient", "fast")
            if (found := paired_ratio(_group(every, task, arm), reference)) is not None
        }
        if arms:
            best = max(arms, key=lambda arm: arms[arm].value)
            ratio = ratio_over_seeds(_group(every, task, best), reference)
            made.append(
                Claim(
                    what=f"{task}, return over that of `{REFERENCE}`",
                    wanted="1",
                    found=f"{ratio} by `{best}`",
                    met=verdict(
                        arms[best].value >= 1.0, _group(every, task, best), SEEDS, reference
                    ),
                )
            )
    return made


def _looks() -> dict[str, dict[str, Any]]:
    """A colour per library, ours in front; solid with our fast settings, broken with others."""
    looks: dict[str, dict[str, Any]] = {
        "fast": {"color": "black", "linewidth": 1.6, "zorder": 3},
        "efficient": {"color": "black", "linewidth": 1.2, "linestyle": "--", "zorder": 3},
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
    header = ["task", "learner", "seeds", "parameters", "return at 1 M steps"]
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
                "`bench/harness/peers`. Ours and `sb3-zoo` spend a million steps; the others end "
                f"at the target, or unreached after {LIMIT:.0f} CPU seconds or a million steps. "
                "PyTorch has one thread everywhere: a second makes a minibatch of 64 rows through "
                "256-256 at best 1.25 times as fast, of 512 through 64-64 1.1 times; "
                "our physics and EnvPool's have all cores, Stable-Baselines3 and RLtools step "
                "Gymnasium's environments one after the other. RLtools' compiler is off the clock."
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
                "broken with others; the target is dotted."
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


def _race(every: list[Result]) -> list[list[str]]:
    """Each library's time over ours, by its arm that is fastest in the median."""
    rows = []
    for task, target in TARGETS.items():
        fast = _group(every, task, "fast")
        ours = times_to(fast, target, "seconds")
        if not len(ours):
            continue
        for peer, wanted in PEERS.items():
            times = {
                arm: times_to(group, target, "seconds")
                for arm in peer.SETTINGS
                if (group := _group(every, task, arm))
            }
            if not times:
                continue
            best = min(times, key=lambda arm: float(np.median(times[arm])))
            found, words = _times_over(times[best], ours)
            met = verdict(found >= wanted, _group(every, task, best), SEEDS, fast)
            rows.append([task, peer.LIBRARY, best, words, f"{wanted:.0f}", met])
    return rows


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
    said = []
    for task in TARGETS:
        for arm in ("efficient", "fast"):
            ratio = ratio_over_seeds(_group(every, task, arm), _group(every, task, REFERENCE))
            if ratio:
                said.append(f"{task}, `{arm}`: {ratio}")
    if not said:
        return []
    text = f"Return at 1 M steps over that of `{REFERENCE}`, wanted at least 1: {'; '.join(said)}."
    return [paragraph(text)]
