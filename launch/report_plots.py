"""The report's drawings: arrays in, inline SVG out. What is drawn from what stands in results.py.

matplotlib draws with stand-in colours that are exchanged for the page's CSS variables, so that a
drawing follows the reader's light or dark setting.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = (
    "ink",
    "muted",
    "grid",
    "teacher",
    "student",
    "push",
    "command",
    "c0",
    "c1",
    "c2",
    "c3",
    "c4",
    "c5",
)
INK = {name: f"#0101{number:02x}" for number, name in enumerate(COLOURS, start=16)}
WIDE, HALF = 10.0, 4.85  # [inch]
SMOOTH = 9  # points in a learning curve's running mean
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "retort",  # equal drawings give equal files
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": INK["grid"],
    "axes.labelcolor": INK["muted"],
    "axes.titlecolor": INK["ink"],
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 9.0,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": INK["grid"],
    "grid.linewidth": 0.7,
    "xtick.color": INK["grid"],
    "ytick.color": INK["grid"],
    "xtick.labelcolor": INK["muted"],
    "ytick.labelcolor": INK["muted"],
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "ytick.major.size": 0.0,
    "text.color": INK["ink"],
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.4,
    "font.size": 8.5,
}

Curve = tuple[np.ndarray, np.ndarray]  # x, y


def curves(
    title: str,
    series: Mapping[str, tuple[str, Curve]],
    *,
    x_label: str,
    bottom: float | None = 0.0,
) -> str:
    """Named lines over one axis; ``series`` maps a label to its colour name and its points."""
    with _figure(HALF, 2.5) as (figure, axes):
        for label, (colour, (x, y)) in series.items():
            known = np.isfinite(y)
            x, y = x[known], y[known]
            if len(y) > 3 * SMOOTH:
                axes.plot(x, y, color=INK[colour], linewidth=0.8, alpha=0.35)
                x, y = _smooth(x), _smooth(y)
            axes.plot(x, y, color=INK[colour], label=label)
        axes.set(title=title, xlabel=x_label)
        axes.margins(x=0.01, y=0.08)
        axes.set_ylim(bottom=bottom)
        if len(series) > 1:
            _legend(axes)
        return _svg(figure)


def levels_over_time(levels: Mapping[str, Curve]) -> str:
    """Curriculum level of each axis over training time [s], as steps in one row each."""
    names = list(levels)
    highest = max((int(y.max()) for _, y in levels.values() if len(y)), default=0) or 1
    end = max((float(x[-1]) for x, _ in levels.values() if len(x)), default=1.0)
    with _figure(WIDE, 0.8 + 0.45 * len(names)) as (figure, axes):
        for row, name in enumerate(reversed(names)):
            x, y = levels[name]
            height = 0.72 * y / highest
            axes.fill_between(x, row, row + height, step="post", color=INK["student"], alpha=0.22)
            axes.step(x, row + height, where="post", color=INK["student"], linewidth=1.3)
            axes.text(end * 1.008, row + 0.36, f"level {int(y[-1])}", va="center")
        axes.set_yticks(np.arange(len(names)) + 0.36, [_words(name) for name in reversed(names)])
        axes.set(title=f"Curriculum levels (full height: {highest})", xlabel="training time [s]")
        axes.grid(visible=False)
        axes.set_ylim(-0.05, len(names))
        axes.set_xlim(0, end)
        return _svg(figure)


Interval = tuple[float, float, float]  # value, low, high


def compare_levels(
    title: str,
    levels: Sequence[str],
    series: Mapping[str, tuple[str, Sequence[Interval]]],
    *,
    bar: float | None = None,
    zero: bool = False,
) -> str:
    """Points with 95 % intervals per level; ``bar`` draws a line to be above."""
    place = np.arange(len(levels), dtype=float)
    with _figure(HALF, 2.6) as (figure, axes):
        for index, (label, (colour, values)) in enumerate(series.items()):
            value, low, high = np.asarray(values, dtype=float).reshape(-1, 3).T
            x = place + 0.16 * (index - (len(series) - 1) / 2)
            axes.vlines(x, low, high, color=INK[colour], linewidth=2.2, alpha=0.45)
            axes.plot(x, value, "o", color=INK[colour], markersize=4.5, label=label)
        if bar is not None:
            axes.axhline(bar, color=INK["push"], linewidth=1.0, linestyle=(0, (4, 3)))
            end = len(levels) - 0.52
            axes.text(end, bar, f"{bar:g}", color=INK["push"], va="bottom", ha="right")
        axes.set(title=title, xlabel="curriculum level")
        axes.set_xticks(place, levels)
        axes.set_xlim(-0.5, len(levels) - 0.5)
        axes.margins(y=0.12)
        if zero:
            largest = max(high for _, values in series.values() for _, _, high in values)
            axes.set_ylim(0, 1.15 * largest)
        if len(series) > 1:
            _legend(axes)
        return _svg(figure)


def timeline(
    panels: Sequence[tuple[str, Mapping[str, tuple[str, Curve]]]], pushes: Sequence[float]
) -> str:
    """Panels over one time axis [s], with pushes marked through all of them.

    Args:
        panels: title with unit, and its lines: label -> (colour name, points).
        pushes: times [s].
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, 0.35 + 1.45 * len(panels)))
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
        for axes, (title, lines) in zip(rows[:, 0], panels, strict=True):
            for label, (colour, (x, y)) in lines.items():
                commanded = label == "command"
                axes.plot(
                    x,
                    y,
                    color=INK[colour],
                    label=label,
                    linewidth=2.2 if commanded else 1.1,
                    drawstyle="steps-post" if commanded else "default",
                )
            for time in pushes:
                axes.axvline(time, color=INK["push"], linewidth=1.0, alpha=0.75)
            axes.set_title(title)
            axes.margins(x=0, y=0.16)
            if len(lines) > 1:
                _legend(axes)
        for time in pushes:
            rows[0, 0].annotate(
                "push",
                (time, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -8),
                textcoords="offset points",
                color=INK["push"],
            )
        rows[-1, 0].set_xlabel("time since the policy took over [s]")
        return _svg(figure)


def lateness_histogram(lateness: np.ndarray, marks: Mapping[str, float]) -> str:
    """How late each tick began; ``lateness`` (ticks,) [s], ``marks`` name -> value [s]."""
    microseconds = np.asarray(lateness) * 1e6
    top = max(float(microseconds.max(initial=0.0)), 10.0) * 1.04
    with _figure(HALF, 2.6) as (figure, axes):
        edges = np.linspace(0.0, top, 48).tolist()
        axes.hist(microseconds, bins=edges, color=INK["student"], alpha=0.8)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.minorticks_off()
        axes.grid(visible=True, axis="y", which="major")
        places = [value * 1e6 for value in marks.values()]
        clear = max((place for place in places if place < 0.6 * top), default=0.0)
        for index, (name, place) in enumerate(zip(marks, places, strict=True)):
            axes.axvline(place, color=INK["ink"], linewidth=0.9, linestyle=(0, (3, 2)))
            right = place < 0.6 * top
            axes.annotate(
                f"{name} {place:.0f}",
                (clear if right else place, 0.97 - 0.1 * index),
                xycoords=("data", "axes fraction"),
                xytext=(4 if right else -4, 0),
                textcoords="offset points",
                va="top",
                ha="left" if right else "right",
            )
        axes.set(title="Lateness of each tick", xlabel="microseconds", ylabel="ticks")
        axes.set_xlim(0, top)
        return _svg(figure)


def parts_of_a_tick(parts: Mapping[str, np.ndarray], period: float) -> str:
    """Median and p99 time of each part of a tick; ``parts`` name -> (ticks,) [s]."""
    names = list(parts)
    place = np.arange(len(names))[::-1]
    median = [float(np.median(parts[name])) * 1e6 for name in names]
    high = [float(np.percentile(parts[name], 99)) * 1e6 for name in names]
    with _figure(HALF, 2.6) as (figure, axes):
        axes.barh(place, high, height=0.58, color=INK["student"], alpha=0.25, label="p99")
        axes.barh(place, median, height=0.58, color=INK["student"], alpha=0.95, label="median")
        for y, value, edge in zip(place, median, high, strict=True):
            axes.annotate(
                f"{value:.0f}, p99 {edge:.0f}",
                (edge, y),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_yticks(place, [_words(name) for name in names])
        axes.set(title="Time per tick by part", xlabel=f"microseconds of {period * 1e6:,.0f}")
        axes.set_xlim(0, max([*high, 1.0]) * 1.35)  # room for the numbers
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        _legend(axes)
        return _svg(figure)


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.subplots()


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over ``SMOOTH`` neighbours, where there are as many."""
    return np.convolve(values, np.full(SMOOTH, 1.0 / SMOOTH), mode="valid")


def _legend(axes: Axes) -> None:
    """Above the axes, right-aligned on the title's line: it never covers data."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.02),
        ncols=4,
        borderpad=0.0,
        borderaxespad=0.2,
        columnspacing=1.2,
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _svg(figure: Figure) -> str:
    # A browser may set labels wider than they are measured here.
    figure.tight_layout(pad=0.4, rect=(0.02, 0.0, 1.0, 1.0))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s(width|height)=\"[\d.]+pt\"", "", text, count=2)
    for name, stand_in in INK.items():
        text = text.replace(stand_in, f"var(--{name})")
    return re.sub(r"font: ([\d. ]+)?([a-z]+ )?([\d.]+px) [^;\"]*", _font, text)


def _font(found: re.Match[str]) -> str:
    weight = (found.group(1) or found.group(2) or "").strip()
    bold = f"; font-weight: {weight}" if weight else ""
    return f"font-size: {found.group(3)}{bold}"
