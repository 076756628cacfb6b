"""The report's sections: results in, HTML out. The page around them stands in report.py."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from . import report_plots as plots
from .followed import achieved
from .results import BusRun, Json, Results
from .share import SHARES, share_of


def bus_section(results: Results) -> str:
    """The run on the bus over time."""
    bus = results.bus
    if bus is None:
        return note("The student has not run on a bus yet; `retort run` records a flight.")
    panels: list[tuple[str, dict[str, tuple[str, plots.Curve]]]] = []
    truth = _true_speed(results)
    shown = {"m/s": ("true speed", truth), "rad/s": ("gyroscope", (bus.time, bus.turn_rate))}
    followed = achieved(results)
    for index, (name, unit) in enumerate(bus.commands):
        lines = {"command": ("command", (bus.time, bus.command[:, index]))}
        label, points = shown.get(unit, ("", None))
        if followed is not None:
            label, points = "by its joints", (bus.time, followed[:, index])
        if points is not None:
            lines[label] = ("student", points)
        panels.append((f"{_words(name).capitalize()} [{unit}]", lines))
    if np.isfinite(bus.pitch).any():
        panels.append(("Pitch [°]", {"pitch": ("student", (bus.time, np.degrees(bus.pitch)))}))
    joints = {
        _words(name): (f"c{index % 6}", (bus.time, bus.joint_velocity[:, index]))
        for index, name in enumerate(bus.joints)
    }
    panels.append(("Joint velocity [rad/s]", joints))
    return _plot(plots.timeline(panels, results.endured_pushes()), wide=True)


def _true_speed(results: Results) -> plots.Curve | None:
    """Speed along the heading from the virtual robot's true poses, averaged over 0.2 s."""
    assert results.bus is not None
    poses = [event for event in results.events if event["event"] == "pose"]
    if len(poses) < 8:
        return None
    time = np.array([pose["time"] for pose in poses], dtype=float) - results.bus.start
    position = np.array([pose["position"] for pose in poses], dtype=float)
    w, x, y, z = np.array([pose["orientation"] for pose in poses], dtype=float).T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    velocity = np.gradient(position[:, :2], time, axis=0)
    speed = velocity[:, 0] * np.cos(yaw) + velocity[:, 1] * np.sin(yaw)
    width = max(round(0.2 / float(np.median(np.diff(time)))), 1)
    smooth = np.convolve(speed, np.ones(width) / width, mode="same")
    inside = (time >= 0.0) & (time <= results.bus.seconds)
    return time[inside], smooth[inside]


def real_time_section(bus: BusRun | None) -> str:
    """Lateness, time by part, and what the line carried."""
    if bus is None:
        return note("There is no flight to take times from.")
    p50, p99, high = (float(np.percentile(bus.lateness, q)) for q in (50, 99, 100))
    drawings = [
        plots.lateness_histogram(bus.lateness, {"p50": p50, "p99": p99, "max": high}),
        plots.parts_of_a_tick(bus.parts, bus.period),
    ]
    rows = []
    columns = ["asked", "answered", "missing", "corrupt", "late", "lost_in_tail"]
    for name, counted in (bus.result.get("counters") or {}).items():
        rows.append([escape(name), *(f"{counted[column]:,}" for column in columns)])
    heads = ["device", *(_words(column) for column in columns)]
    parts = ['<div class="stack">', _pair(drawings)]
    if rows:
        parts.append(table(heads, rows, numbers=range(1, len(heads))))
    sent, received = bus.wire_bytes
    rate = (sent + received) / bus.seconds
    text = f"{sent:,} bytes sent and {received:,} received: {rate:,.0f} bytes per second."
    for reason in bus.result.get("realtime") or ():
        text += f" Not granted: {reason}."
    parts.append(note(text))
    return "".join([*parts, "</div>"])


def evaluation_section(results: Results) -> str:
    """Student and teacher per curriculum level."""
    evaluation = results.evaluation
    commands = results.bus.commands if results.bus else ()
    units = {f"{name}_rmse": f" [{unit}]" for name, unit in commands}
    if not evaluation or not evaluation.get("levels"):
        return note("Student and teacher have not been compared yet; `retort eval` does it.")
    rows = sorted(evaluation["levels"], key=lambda row: row["level"])
    names = [str(row["level"]) for row in rows]

    def both(pick: Callable[[Json], plots.Interval]) -> dict[str, tuple[str, list[plots.Interval]]]:
        return {who: (who, [pick(row[who]) for row in rows]) for who in ("teacher", "student")}

    def rmse(key: str) -> Callable[[Json], plots.Interval]:
        return lambda row: (row[key], row[key], row[key])

    undefined = {"value": np.nan, "low": np.nan, "high": np.nan}  # and not drawn
    measure = share_of(rows)
    shares = [row.get(measure) or undefined for row in rows]
    share = [(each["value"], each["low"], each["high"]) for each in shares]
    drawings = [
        plots.compare_levels(
            f"{SHARES[measure][0].upper()}{SHARES[measure][1:]}",
            names,
            {"ratio": ("student", share)},
            bar=0.97,
        ),
        plots.compare_levels(
            "Score",
            names,
            both(lambda row: (row["score"], row["score_low"], row["score_high"])),
        ),
        *(
            plots.compare_levels(
                f"{_words(key.removesuffix('_rmse')).capitalize()}, RMS error{units.get(key, '')}",
                names,
                both(rmse(key)),
                zero=True,
            )
            for key in rows[0]["student"]
            if key.endswith("_rmse")
        ),
    ]
    return _pair(drawings)


def sweeps_section(results: Results) -> str:
    """Figures of what one run was measured by beside its evaluation, as files of their own."""
    figures = (
        f'<div class="card plot"><img alt="{name}" src="data:image/svg+xml;base64,'
        f'{base64.b64encode(svg.encode()).decode()}"></div>'
        for name, svg in results.sweeps.items()
    )
    return f'<div class="pair">{"".join(figures)}</div>'


def learning_section(results: Results) -> str:
    """Learning curves and curriculum levels."""
    parts = ['<div class="stack">']
    drawings = []
    if results.teacher:
        steps = _column(results.teacher, "steps") / 1e6
        drawings.append(
            plots.curves(
                "Teacher: score",
                {"score": ("teacher", (steps, _column(results.teacher, "score")))},
                x_label="million steps",
            )
        )
        drawings.append(
            plots.curves(
                "Teacher: falls per minute",
                {"falls": ("teacher", (steps, _column(results.teacher, "falls_per_minute")))},
                x_label="million steps",
            )
        )
    else:
        parts.append(note("The teacher has not been trained yet; `retort train` does it."))
    if results.student:
        steps = _column(results.student, "steps") / 1e6
        drawings.append(
            plots.curves(
                "Distillation: score",
                {
                    who: (who, (steps, _column(results.student, f"score_{who}")))
                    for who in ("teacher", "student")
                },
                x_label="million steps",
            )
        )
        terms = sorted({name for row in results.student for name in row.get("terms", {})})
        drawings.append(
            plots.curves(
                "Distillation: terms",
                {
                    _words(name): (
                        f"c{index % 6}",
                        (steps, _column([row.get("terms", {}) for row in results.student], name)),
                    )
                    for index, name in enumerate(terms)
                },
                x_label="million steps",
                bottom=None,
            )
        )
    else:
        parts.append(note("The student has not been distilled yet; `retort distill` does it."))
    parts.append(_pair(drawings))
    axes = sorted({axis for row in results.student for axis in row.get("levels", {})})
    if axes:
        seconds = _column(results.student, "seconds")
        levels = [row.get("levels", {}) for row in results.student]
        drawing = plots.levels_over_time({axis: (seconds, _column(levels, axis)) for axis in axes})
        parts.append(_plot(drawing, wide=True))
    return "".join([*parts, "</div>"])


def _column(rows: Sequence[Json], key: str) -> np.ndarray:
    """One key of every row, NaN where it is missing."""
    values = (row.get(key) for row in rows)
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _pair(drawings: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(_plot(drawing) for drawing in drawings)}</div>'


def _plot(svg: str, wide: bool = False) -> str:
    return f'<div class="card plot{" wide" if wide else ""}">{svg}</div>'


def note(text: str) -> str:
    """One sentence in a frame."""
    return f'<div class="card note">{escape(text)}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    """A table of HTML cells; columns in ``numbers`` are aligned to the right."""

    def row(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag}{' class=number' if index in numbers else ''}>{cell}</{tag}>"
            for index, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f'<div class="card scroll"><table>{row(heads, "th")}{body}</table></div>'
