"""Forgetting (F): what training on harder levels costs on easier ones, with and without replay.

It reads the students of the curriculum table and has no runs of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from retort.distill.evaluation.statistics import bootstrap, interquartile_mean

from ..claims import Claim
from ..report import markdown_table, paragraph, settings_note, verdict
from ..results import Result, read_results
from ..runs import Run
from . import curriculum

TABLE = "forgetting"
SEEDS = curriculum.SEEDS
ARMS = {curriculum.GATED: "with replay", curriculum.BARE: "without replay"}
MOST = 0.10  # of the best score at a level


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """None: the curriculum table's are enough."""
    return []


def claims(results: Path) -> list[Claim]:
    """With replay."""
    every = [r for r in read_results(results, curriculum.TABLE) if r.series]
    made = []
    for task in curriculum.VARIED:
        group = [r for r in every if (r.task, r.arm) == (task, curriculum.GATED)]
        if group:
            *_, worst, met = _cells(group, curriculum.GATED)
            made.append(
                Claim(
                    what=f"{task}, forgotten of the worst level",
                    wanted=f"at most {MOST:.2f}",
                    found=worst,
                    met=met,
                )
            )
    return made


def report(results: Path, figures: Path) -> str:
    """The section of the documentation, and its figure."""
    every = [r for r in read_results(results, curriculum.TABLE) if r.arm in ARMS and r.series]
    if not every:
        return ""
    rows = []
    for task in curriculum.VARIED:
        for arm, words in ARMS.items():
            group = [r for r in every if (r.task, r.arm) == (task, arm)]
            if group:
                rows.append([task, words, len(group), *_cells(group, arm)])
    levels = [name.removeprefix("level ") for name in _levels(every[0])]
    image = _plot(every, figures / "forgetting.svg")
    return "\n\n".join(
        [
            "## Forgetting",
            paragraph(
                "The gated students of the table above and the same without replay of earlier "
                "levels. A student is kept whenever the curriculum moves on; all of them and the "
                "last one are scored at every level on the same episodes, and a level is forgotten "
                "by (best - final) / best. Interquartile mean over seeds; the best of several "
                "noisy scores is a little too high, so that this errs upwards. Worst: in each run, "
                f"the level of which most was forgotten. Wanted with replay: at most {MOST:.2f}. "
                f"All begin at level {curriculum.START} of {curriculum.LEVELS}, so that easier "
                "ones were never a frontier and are met by replay alone; after the last move "
                f"{_left(every)} of the steps were left to forget in."
            ),
            markdown_table(
                ["task", "curriculum", "seeds", *(f"level {x}" for x in levels), "worst", "met"],
                rows,
            ),
            paragraph(
                f"Seed {min(r.seed for r in every)} of each: a row for each time that the "
                "curriculum moved on, and for the end; a column for each level, its scores divided "
                "by the best of them. What is below 0.5 has the colour of 0.5."
            ),
            f"![Score at every level after training at each]({image})",
            settings_note(every),
        ]
    )


def _left(every: Sequence[Result]) -> str:
    """Share of the steps after the last move, from run to run."""
    moved = [r.series["steps"] for r in every if len(r.series["steps"]) > 1]
    shares = [1.0 - steps[-2] / steps[-1] for steps in moved]
    return f"{min(shares):.0%} to {max(shares):.0%}" if shares else "all"


def forgotten(result: Result) -> np.ndarray:
    """(best - final) / best per level, (levels,); 0 where nobody scored above zero."""
    scores = np.array([result.series[name] for name in _levels(result)])
    best = scores.max(axis=1)
    share = (best - scores[:, -1]) / np.where(best > 0, best, 1.0)
    return np.where(best > 0, share, 0.0)


def _levels(result: Result) -> list[str]:
    return [name for name in result.series if name.startswith("level ")]


def _cells(group: Sequence[Result], arm: str) -> list[str]:
    shares = np.array([forgotten(result) for result in group])  # (runs, levels)
    worst = _interval(shares.max(axis=1))
    met = "" if arm == curriculum.BARE else verdict(worst[0] <= MOST, group, SEEDS)
    return [*(f"{_interval(column)[0]:.3f}" for column in shares.T), worst[1], met]


def _interval(values: np.ndarray) -> tuple[float, str]:
    found = bootstrap(interquartile_mean, values[:, None], np.random.default_rng(0))
    if found.low == found.high:
        return found.value, f"{found.value:.3f}"
    return found.value, f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _plot(every: Sequence[Result], path: Path) -> str:
    """The first seed's matrix of every task, with and without replay, relative to the best score
    at each level."""
    tasks = [task for task in curriculum.VARIED if any(r.task == task for r in every)]
    figure, axes = plt.subplots(len(tasks), len(ARMS), figsize=(9, 3.2 * len(tasks)), squeeze=False)
    for row, task in zip(axes, tasks, strict=True):
        for axis, (arm, words) in zip(row, ARMS.items(), strict=True):
            group = [r for r in every if (r.task, r.arm) == (task, arm)]
            axis.set_title(f"{task}, {words}", fontsize=9)
            if not group:
                axis.axis("off")
                continue
            [first] = [r for r in group if r.seed == min(r.seed for r in group)]
            _draw(axis, first)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return f"{path.parent.name}/{path.name}"


def _draw(axis: Axes, result: Result) -> None:
    scores = np.array([result.series[name] for name in _levels(result)]).T  # (stands, levels)
    share = scores / np.maximum(scores.max(axis=0), 1e-9)
    image = axis.imshow(share, aspect="auto", vmin=0.5, vmax=1.0, cmap="viridis", origin="lower")
    axis.set_xticks(range(share.shape[1]), [n.removeprefix("level ") for n in _levels(result)])
    steps = [f"{step / 1e3:.0f}" for step in result.series["steps"]]
    every = max(1, len(steps) // 6)
    axis.set_yticks(range(0, len(steps), every), steps[::every])
    axis.set(xlabel="level scored", ylabel="steps trained [thousands]")
    axis.figure.colorbar(image, ax=axis, label="of the level's best")
