"""Figures of evaluations as files of their own: comparisons, sweeps, forgetting, teacher sizes.

In the report's style and its light colours; every function takes results and writes one SVG.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..distill.evaluation.comparison import Comparison, Profiles
from ..distill.evaluation.forgetting import Forgetting
from ..distill.evaluation.statistics import Interval
from ..distill.evaluation.sweeps import Sweep
from .report_plots import INK
from .report_plots import STYLE as _REPORT_STYLE

_SHEET = (Path(__file__).parent / "report.css").read_text().partition("@media")[0]
COLOUR: dict[str, str] = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", _SHEET))
_STANDS_FOR = {stand_in: COLOUR[name] for name, stand_in in INK.items()}
STYLE: dict[Any, Any] = {
    **{key: _STANDS_FOR.get(value, value) for key, value in _REPORT_STYLE.items()},
    "figure.facecolor": COLOUR["card"],
}
_OTHERS = ("c1", "c3", "c4", "c5")  # policies that are neither teacher nor student


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Score of every arm with its interval, its runs as dots."""
    arms = comparison.arms[::-1]
    with _figure(path, 7.0, 1.0 + 0.42 * len(arms)) as axes:
        for row, arm in enumerate(arms):
            axes.hlines(
                row, arm.score.low, arm.score.high, color=COLOUR["student"], linewidth=5, alpha=0.35
            )
            axes.plot(arm.run_scores, [row] * arm.runs, ".", color=COLOUR["muted"], markersize=4)
            axes.plot(arm.score.value, row, "o", color=COLOUR["student"], markersize=5)
        axes.set_yticks(range(len(arms)), [f"{arm.name} ({arm.runs})" for arm in arms])
        axes.set_ylim(-0.6, len(arms) - 0.4)
        axes.set(
            title="Score of each arm (runs) and its 95 % interval",
            xlabel="interquartile mean of the runs; small dots: mean of each run",
        )
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")


def draw_profiles(profiles: Profiles, path: Path) -> None:
    """Share of each arm's runs, or episodes, above every score, with its band."""
    what = {
        "normalised": "normalised score: a random policy has 0, the teacher's mean is 1",
        "score": "score",
    }[profiles.of]
    at = profiles.thresholds
    with _figure(path, 7.0, 3.2) as axes:
        for number, arm in enumerate(profiles.arms):
            colour, line = COLOUR[f"c{number % 6}"], ("-", "--", ":")[number // 6 % 3]
            axes.fill_between(
                at, arm.low, arm.high, step="post", color=colour, alpha=0.18, linewidth=0
            )
            axes.step(at, arm.share, line, where="post", color=colour, label=arm.name)
        axes.set(title=f"Share of {profiles.over} that score more (95 % band)", xlabel=what)
        axes.set_ylim(-0.03, 1.03)
        axes.margins(x=0.01)
        axes.legend(loc="lower left")


def draw_sweep(sweep: Sweep, path: Path) -> None:
    """Mean score of every policy against the strength, under the worst change at each."""
    with _figure(path, 4.85, 2.8) as axes:
        others = itertools.cycle(_OTHERS)
        for policy in sweep.policies:
            trials = sweep.at_worst(policy)
            _band(
                axes,
                policy,
                policy if policy in ("teacher", "student") else next(others),
                [trial.strength for trial in trials],
                [trial.score for trial in trials],
            )
        what = {
            "noise": ("Score under observation noise", "noise [standard deviations]"),
            "attack": ("Score under the worst attack", "epsilon [normalised l-infinity]"),
        }
        title, label = what[sweep.kind]
        axes.set(title=title, xlabel=label)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        _legend(axes, len(sweep.policies))


def draw_forgetting(result: Forgetting, path: Path) -> None:
    """The matrix: rows in the order of training, columns from the easiest level."""
    matrix = result.matrix
    rows, columns = matrix.shape
    with _figure(path, 1.9 + 0.72 * columns, 1.1 + 0.3 * rows) as axes:
        axes.imshow(
            matrix, aspect="auto", cmap="Greens", vmin=0.0, vmax=1.4 * max(matrix.max(), 1e-9)
        )
        for row in range(rows):
            for column in range(columns):
                axes.text(column, row, f"{matrix[row, column]:.2f}", ha="center", va="center")
        axes.set_yticks(range(rows), [_after(s.after) for s in result.stands[:-1]] + ["final"])
        heads = [
            f"{level:g}" + ("" if share is None else f"\n{-share.value:.1%}")
            for level, share in zip(result.levels, result.forgotten, strict=True)
        ]
        axes.set_xticks(range(columns), heads)
        axes.set(
            title="Score on a level after training",
            xlabel="difficulty, and final against best",
            ylabel="mean level trained at",
        )
        axes.grid(visible=False)


def draw_sizes(
    sizes: Sequence[int], teacher: Sequence[Interval], student: Sequence[Interval], path: Path
) -> None:
    """Score of teachers, and of the students distilled from them, against the teachers' width."""
    with _figure(path, 4.85, 2.8) as axes:
        for name, rows in (("teacher", teacher), ("student", student)):
            _band(axes, name, name, sizes, rows)
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(sizes), [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set(title="Score against teacher size", xlabel="units in each of the teacher's layers")
        _legend(axes, 2)


def _band(
    axes: Axes, label: str, colour: str, x: Sequence[float], rows: Sequence[Interval]
) -> None:
    low, high = [row.low for row in rows], [row.high for row in rows]
    axes.fill_between(np.asarray(x), low, high, color=COLOUR[colour], alpha=0.18, linewidth=0)
    axes.plot(x, [row.value for row in rows], "o-", color=COLOUR[colour], label=label, markersize=4)


def _after(levels: dict[str, int]) -> str:
    return f"{np.mean(list(levels.values())):.2g}" if levels else "-"


def _legend(axes: Axes, entries: int) -> None:
    """Above the axes, right-aligned on the title's line, where more than one thing is drawn."""
    if entries > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.02), ncols=4, borderaxespad=0.2)


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Axes]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        yield figure.subplots()
        figure.tight_layout(pad=0.6)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
