"""Tables and figures from result files."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from retort.distill.evaluation.statistics import (
    Interval,
    bootstrap,
    bootstrap_profile,
    interquartile_mean,
    normalised_ratio,
    probability_of_improvement,
    steps_to_reach,
)

from .results import Result

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

plt.rcParams["svg.hashsalt"] = "retort"  # the same figure is the same file


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def paragraph(text: str, indent: str = "") -> str:
    """Text in lines of at most 100 characters, those after the first behind ``indent``."""
    return textwrap.fill(text, 100, break_on_hyphens=False, subsequent_indent=indent)


def interval_over_seeds(group: Sequence[Result], digits: int = 0) -> str:
    """Interquartile mean of the runs' returns with its 95 % interval; the plain mean of one."""
    scores = np.array([[result.mean_return] for result in group])
    if len(scores) == 1:
        return f"{scores[0, 0]:.{digits}f}"
    found = bootstrap(interquartile_mean, scores, np.random.default_rng(0))
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def paired_ratio(ours: Sequence[Result], theirs: Sequence[Result]) -> Interval | None:
    """Interquartile mean of paired ratios of returns with its 95 % interval; None without pairs.

    The interval of a single pair is that number alone.
    """
    by_seed = {result.seed: result.mean_return for result in theirs}
    scores = np.array([[r.mean_return / by_seed[r.seed]] for r in ours if r.seed in by_seed])
    if not len(scores):
        return None
    return bootstrap(interquartile_mean, scores, np.random.default_rng(0))


def paired_difference(ours: Sequence[Result], theirs: Sequence[Result]) -> Interval | None:
    """Interquartile mean of paired differences of returns with its 95 % interval; None without."""
    by_seed = {result.seed: result.mean_return for result in theirs}
    scores = np.array([[r.mean_return - by_seed[r.seed]] for r in ours if r.seed in by_seed])
    if not len(scores):
        return None
    return bootstrap(interquartile_mean, scores, np.random.default_rng(0))


def ratio_over_seeds(ours: Sequence[Result], theirs: Sequence[Result]) -> str:
    """``paired_ratio`` in words."""
    found = paired_ratio(ours, theirs)
    return "" if found is None else said(found)


def said(found: Interval, digits: int = 3) -> str:
    """A value with its interval; the value alone where there is one seed and so no interval."""
    if found.low == found.high:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def normalised_over_seeds(
    ours: Sequence[Result], theirs: Sequence[Result], random: float | None
) -> str:
    """Interquartile mean of paired (S - J_0) / (T - J_0), with its interval; empty without J_0.

    It says what S/T cannot where returns are near zero or below.
    """
    by_seed = {result.seed: result.mean_return for result in theirs}
    pairs = [(r.mean_return, by_seed[r.seed]) for r in ours if r.seed in by_seed]
    if random is None or not pairs:
        return ""
    students, teachers = np.array(pairs).T
    scores = normalised_ratio(students, teachers, random)
    return said(bootstrap(interquartile_mean, scores[:, None], np.random.default_rng(0)))


def better_than(
    ours: Sequence[Result], theirs: Sequence[Result], teachers: Sequence[Result]
) -> str:
    """Probability that a run of ours returns more of its teacher's return than one of theirs
    (Mann-Whitney), over the seeds that all have.
    """
    ours, theirs, teachers = of_common_seeds(ours, theirs, teachers)
    if not ours:
        return ""
    by_seed = {r.seed: r.mean_return for r in teachers}
    one, other = (
        np.array([[r.mean_return / by_seed[r.seed]] for r in group]) for group in (ours, theirs)
    )
    return f"{float(probability_of_improvement(one, other)):.2f}"


def of_common_seeds(*groups: Sequence[Result]) -> list[list[Result]]:
    """Of each group the results of those seeds that all groups have."""
    common = set.intersection(*({result.seed for result in group} for group in groups))
    return [[result for result in group if result.seed in common] for group in groups]


def verdict(
    met: bool, group: Sequence[Result], seeds: Sequence[int], *peers: Sequence[Result]
) -> str:
    """Whether something is met, and that seeds are missing if some are: of what is judged, or of
    what it is compared with.
    """
    answer = "yes" if met else "no"
    whole = all({r.seed for r in each} >= set(seeds) for each in (group, *peers))
    return answer if whole else f"{answer}, so far"


def shown_by_interval(
    middle: bool,
    whole: bool,
    group: Sequence[Result],
    seeds: Sequence[int],
    *peers: Sequence[Result],
) -> str:
    """The verdict on a middle value and its interval, which one seed does not have.

    Args:
        middle: passes.
        whole: the interval passes.
        group: is judged.
        seeds: it should have.
        peers: it is compared with.
    """
    if not middle:
        return verdict(False, group, seeds, *peers)
    if len(of_common_seeds(group, *peers)[0]) < 2:
        return "one seed"
    return verdict(True, group, seeds, *peers) if whole else "not shown"


def plot_profiles(
    scores: Mapping[str, np.ndarray],
    at: np.ndarray,
    path: Path,
    what: str,
    near: tuple[float, float],
) -> str:
    """Performance profiles with their bands: share of runs above each score, a line per arm; once
    whole and once from near.

    Args:
        scores: arm: (runs, tasks).
        at: scores on the axis, rising.
        path: of the figure.
        what: a score is.
        near: scores between which most lie.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
    for number, (arm, values) in enumerate(scores.items()):
        found = np.stack([at, *bootstrap_profile(values, at, np.random.default_rng(0))])
        steps = (np.diff(found[1:]) != 0.0).any(0)  # between them there is nothing to be drawn
        x, middle, low, high = found[:, np.r_[True, steps[:-1], True]]
        colour = f"C{number}"
        for axis in axes:
            axis.plot(x, middle, label=arm, linewidth=1.2, color=colour, drawstyle="steps-post")
            axis.fill_between(x, low, high, color=colour, alpha=0.12, step="post")
    for axis, (least, most) in zip(axes, ((at[0], at[-1]), near), strict=True):
        axis.set(xlim=(least, most), ylim=(-0.02, 1.02), xlabel=what)
        axis.locator_params(axis="x", nbins=6)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of runs above")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return f"{path.parent.name}/{path.name}"


def times_to(group: Sequence[Result], target: float, unit: str) -> np.ndarray:
    """Seconds or steps of each run to ``target``, reached twice in a row; infinite where it is not.

    The first of the two points counts.
    """
    return np.array(
        [
            steps_to_reach(
                np.array([getattr(point, unit) for point in result.curve]),
                np.array([point.mean_return for point in result.curve]),
                target,
                passes=2,
            )
            for result in group
        ]
    )


def seconds_to(group: Sequence[Result], target: float, unit: str) -> str:
    """Median over runs of ``times_to``, and how many reached it."""
    times = times_to(group, target, unit)
    middle = float(np.median(times))
    reached = sum(math.isfinite(t) for t in times)
    if not math.isfinite(middle):
        return f"never ({reached} of {len(times)})"
    text = f"{middle:,.0f}".replace(",", " ") if unit == "steps" else f"{middle:.1f}"
    return text if reached == len(times) else f"{text} ({reached} of {len(times)})"


def mean_figure(group: Sequence[Result], name: str) -> str:
    """Mean of a figure over runs, or nothing where it is not known."""
    values = [result.figures[name] for result in group if name in result.figures]
    return f"{np.mean(values):,.0f}".replace(",", " ") if values else ""


COSTS = ("seeds", "parameters", "steps", "teacher queries", "seconds", "CPU seconds")


def cost_cells(group: Sequence[Result]) -> list[str]:
    """What runs of one kind cost, under ``COSTS``; steps with those a teacher's critic took."""
    names = ("parameters", "steps", "teacher_queries", "seconds", "cpu_seconds")
    parameters, steps, *rest = (mean_figure(group, name) for name in names)
    critic = mean_figure(group, "critic_steps")
    return [str(len(group)), parameters, f"{steps} + {critic}" if critic else steps, *rest]


def budgets_said(results: Sequence[Result]) -> str:
    """Environment steps that the runs had, each number of them once."""
    budgets = sorted({result.budget for result in results if result.budget})
    return ", ".join(f"{budget / 1e6:g} M" for budget in budgets)


def settings_note(results: Sequence[Result]) -> str:
    """Which round this is: seeds, budgets, machines and how busy they were."""
    seeds = sorted({result.seed for result in results})
    machines = sorted({f"{r.machine['processor']}, {r.machine['cores']} cores" for r in results})
    load = [result.machine["load"] for result in results]
    busy = [r for r in results if r.machine["load"] > r.machine["cores"]]
    dates = sorted({result.date for result in results})
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    note = paragraph(
        f"Round: seeds {', '.join(map(str, seeds))}; budgets "
        f"{budgets_said(results)} environment steps; "
        f"{'; '.join(machines)}, load average when runs began {min(load):.1f} to "
        f"{max(load):.1f}; {days}."
    )
    if not busy:
        return note
    said = paragraph(
        f"**Seconds of {len(busy)} of these {len(results)} runs were measured beside other work**: "
        "more processes wanted to run than there were cores. They are upper bounds; steps and "
        "returns do not depend on it."
    )
    return f"{said}\n\n{note}"


def plot_curves(
    results: Sequence[Result],
    path: Path,
    looks: Mapping[str, Mapping[str, Any]] | None = None,
    targets: Mapping[str, float] | None = None,
) -> str:
    """Return of every run against steps and seconds, a row per task, a line per run.

    Args:
        results: with curves.
        path: of the figure.
        looks: of the lines, by arm, in the legend's order; a colour per arm when None.
        targets: returns to be marked, by task.
    """
    tasks = list(dict.fromkeys(result.task for result in results))
    arms = list(dict.fromkeys(result.arm for result in results))
    figure, axes = plt.subplots(
        len(tasks),
        2,
        figsize=(9, 0.9 + 2.8 * len(tasks)),
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    looks = looks or {arm: {"color": f"C{number}"} for number, arm in enumerate(arms)}
    for row, task in zip(axes, tasks, strict=True):
        for axis, unit in zip(row, ("steps", "seconds"), strict=True):
            for result in (r for r in results if r.task == task):
                axis.plot(
                    [getattr(point, unit) for point in result.curve],
                    [point.mean_return for point in result.curve],
                    **{"linewidth": 1, **looks[result.arm]},
                )
            if targets and task in targets:
                axis.axhline(targets[task], color="black", linewidth=0.8, linestyle=":")
            axis.set_title(task, fontsize=9)
            axis.grid(alpha=0.3)
        row[0].set(ylabel="return", xlabel="environment steps [millions]")
        row[0].xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}")
        row[1].set(xlabel="seconds of learning", xscale="log")
        first, last = row[1].get_xlim()
        ticks = (1, 2, 5) if last < 300 * first else (1, 3)  # or their labels overlap
        row[1].xaxis.set_major_locator(LogLocator(subs=ticks))
        row[1].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        row[1].xaxis.set_minor_formatter(NullFormatter())
    handles = [Line2D([], [], label=arm, **look) for arm, look in looks.items() if arm in arms]
    figure.legend(handles=handles, fontsize=8, loc="outside lower center", ncols=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return f"{path.parent.name}/{path.name}"
