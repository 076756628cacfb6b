"""The report: one self-contained HTML page made of what a run folder holds."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from .animation import render, window
from .figures import Figure, figures
from .files import write_whole
from .report_sections import (
    bus_section,
    evaluation_section,
    learning_section,
    note,
    real_time_section,
    sweeps_section,
    table,
)
from .results import Results, ResultsError, load_results
from .share import SHARES, said, share_of

HERE = Path(__file__).parent
_OF_ROBOTS = ("On the bus", "Real time")
_SWEEPS = "Noise, attack and forgetting"


def write_report(folder: Path, *, animate: bool = True) -> tuple[Path, list[Figure]]:
    """Write ``report.html`` in ``folder``; returns its path and the table of figures.

    Raises:
        ResultsError: there is no such folder, or it is not a run folder.
        FileError: the page cannot be written.
    """
    began = (folder / "recipe.toml").is_file() or (folder / "flight").is_dir()
    if folder.is_dir() and ((folder / "manifest.json").exists() or not began):
        raise ResultsError(
            f"{folder} is not a run folder: name one that holds a recipe.toml or a flight, and no "
            "manifest.json"
        )
    results = load_results(folder)
    rows = figures(results)
    page = build_page(results, rows, animate=animate)
    path = folder / "report.html"
    write_whole(path, page)
    return path, rows


def build_page(results: Results, rows: Sequence[Figure], *, animate: bool = True) -> str:
    """The whole page as text."""
    judged = [figure for figure in rows if figure.met is not None]
    met = sum(bool(figure.met) for figure in judged)
    sections = [_shown("The first part", lambda: _hero(results, animate))]
    perfect = "; 1 is perfect tracking" if results.environment is None else ""
    parts = [
        ("Figures", "", lambda: _figure_table(rows)),
        (
            "On the bus",
            "The student at work: every value as it was read or sent while it had authority.",
            lambda: bus_section(results),
        ),
        (
            "Real time",
            "How punctual the loop was, and what the line carried.",
            lambda: real_time_section(results.bus),
        ),
        (
            "Student against teacher",
            "Held-out episodes at each curriculum level, with 95 % intervals. The score is the "
            f"mean reward per tick{perfect}.",
            lambda: evaluation_section(results),
        ),
        (
            _SWEEPS,
            "The hardest level while what is seen is noisy or attacked; every level after each.",
            lambda: sweeps_section(results),
        ),
        (
            "Learning",
            "From the first step of the teacher to the last of the student.",
            lambda: learning_section(results),
        ),
    ]
    if not results.sweeps:
        parts = [part for part in parts if part[0] != _SWEEPS]
    if results.environment is not None:
        parts = [part for part in parts if part[0] not in _OF_ROBOTS]
    for title, intro, draw in parts:
        lead = f"<p>{intro}</p>" if intro else ""
        content = _shown(f"{title!r}", draw)
        sections.append(f"<section><h2>{title}</h2>{lead}{content}</section>")
    sections.extend(note(text) for text in results.notes.values())
    name = results.recipe.get("name", results.folder.name)
    template = Template((HERE / "report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(str(name)),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        lede=escape(_lede(results)),
        verdict=f"{met} of {len(judged)} figures met",
        verdict_class="good" if met == len(judged) else "bad",
        body="\n".join(sections),
        footer=f"Made from {escape(str(results.folder.resolve()))}. This page needs no other file.",
    )


def _lede(results: Results) -> str:
    if results.environment is not None:
        return f"{results.environment}: a teacher, distilled into a student."
    robot, task = (Path(results.recipe.get(name, "?")).stem for name in ("robot", "task"))
    return (
        f"Robot {robot}, task {task}: a teacher trained on privileged truth, distilled into a "
        "student that sees only what the bus gives."
    )


def _shown(what: str, draw: Callable[[], str]) -> str:
    """What ``draw`` makes, or what kept it from it: one part must not cost the whole page."""
    try:
        return draw()
    except Exception as error:  # of whatever kind: the files come from anywhere
        return note(f"{what} could not be shown ({type(error).__name__}: {error}).")


def _hero(results: Results, animate: bool) -> str:
    tiles = "".join(
        f'<div class="card tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in _headline(results)
    )
    tiles = f'<div class="tiles">{tiles}</div>' if tiles else ""
    if results.bus is None:
        return f'<div class="hero still">{tiles}</div>' if tiles else ""
    image, why = render(results.folder) if animate else (None, "The animation was left out.")
    if image is None:
        return f'<div class="hero still">{tiles}{note(why)}</div>'
    data = base64.b64encode(image).decode()
    first, last = window(results)
    caption = f"The recorded flight from {first:.1f} to {last:.1f} s, in real time."
    if results.endured_pushes():
        caption += " The red ball marks a push."
    return (
        '<div class="hero"><figure class="card">'
        f'<img alt="animation of the robot" src="data:image/webp;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>{tiles}</div>"
    )


def _headline(results: Results) -> list[tuple[str, str]]:
    """The few numbers to see first: value, what it is."""
    tiles = []
    hardest = (results.evaluation or {}).get("hardest")
    if hardest:
        tiles.append((said(hardest), f"{SHARES[share_of([hardest])]}, hardest level"))
        if results.environment is None:
            share = hardest["student"]["falls"] / hardest["episodes"]
            label = f"of {hardest['episodes']} hardest episodes end in a fall"
            tiles.append((f"{share:.1%}", label))
    parameters = (results.evaluation or {}).get("parameters")
    if parameters:
        times = parameters["teacher_actor"] / parameters["student"]
        tiles.append((f"{parameters['student']:,}", f"parameters, {times:.0f} times fewer"))
    bus = results.bus
    if bus is not None:
        tiles.append((f"{bus.seconds:.1f} s", f"under the policy at {1 / bus.period:g} Hz"))
        if results.events:
            fell = "and a fall" if results.fell() else "and no fall"
            tiles.append((f"{len(results.endured_pushes())}", f"pushes on the bus {fell}"))
        late = float(np.percentile(bus.lateness, 99)) * 1e6
        tiles.append((f"{late:.0f} µs", f"late at p99, overruns: {bus.overruns}"))
    return tiles


def _figure_table(rows: Sequence[Figure]) -> str:
    marks = {
        True: '<span class="mark good">met</span>',
        False: '<span class="mark bad">missed</span>',
        None: '<span class="mark plain">no target</span>',
    }
    cells = [
        [escape(row.name), escape(row.target), escape(row.measured), marks[row.met]] for row in rows
    ]
    return table(["", "target", "measured", ""], cells, numbers=())
