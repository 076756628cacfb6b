"""The report shows what a run folder holds, says what is missing, and hides no missed figure."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retort.launch import report
from retort.launch.animation import window
from retort.launch.cli import main
from retort.launch.figures import figures, missed
from retort.launch.report import build_page, write_report
from retort.launch.results import Results, load_results

VOID = {"meta", "img", "br", "use", "path"}


def _side(score: float, falls: int = 0) -> dict:
    return {
        "score": score,
        "score_low": score - 0.01,
        "score_high": score + 0.01,
        "falls": falls,
        "forward_speed_rmse": 0.1,
        "turn_rate_rmse": 0.2,
    }


def _level(level: int, episodes: int, seconds: float, **changes) -> dict:
    row = {
        "level": level,
        "episodes": episodes,
        "seconds": seconds,
        "teacher": _side(0.8),
        "student": _side(0.79),
        "ratio": {"value": 0.985, "low": 0.975, "high": 0.995},
    }
    return {**row, **changes}


@pytest.fixture(scope="module")
def template(flown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with everything in it, not to be changed."""
    folder = tmp_path_factory.mktemp("template") / "whole"
    shutil.copytree(flown, folder)
    (folder / "recipe.toml").write_text(
        'name = "a <b> run"\nrobot = "balancer"\ntask = "balancer"\n'
    )
    teacher = [
        {
            "steps": 1000 * i,
            "seconds": float(i),
            "score": 0.02 * i,
            "falls_per_minute": 9.0 - 0.2 * i,
        }
        for i in range(1, 40)
    ]
    student = [
        {
            "steps": 1000 * i,
            "seconds": float(i),
            "score_student": 0.02 * i,
            "score_teacher": 0.8,
            "levels": {"pushes": i // 10, "packet_loss": i // 20},
            "terms": {"policy_kl": 1.0 / i},
        }
        for i in range(1, 40)
    ]
    for name, rows in (("teacher", teacher), ("distillation", student)):
        (folder / name).mkdir()
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name / "progress.jsonl").write_text(lines)
    evaluation = {
        "levels": [_level(i, 50, 10.0) for i in range(5)],
        "hardest": _level(4, 500, 20.0),
        "parameters": {"student": 2258, "teacher_actor": 40000},
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


@pytest.fixture
def whole(template: Path, tmp_path: Path) -> Path:
    """A run folder with everything in it, to change."""
    folder = tmp_path / "whole"
    shutil.copytree(template, folder)
    return folder


@pytest.fixture(scope="module")
def page(template: Path) -> str:
    """The page of a run folder with everything in it."""
    return _page(template)


class _Balance(HTMLParser):
    """Collects links to elsewhere and tags left open."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "href", "xlink:href", "data")
        self.links += [value or "" for name, value in attrs if name in names]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def _parsed(page: str) -> _Balance:
    parser = _Balance()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


def _page(folder: Path) -> str:
    results = load_results(folder)
    return build_page(results, figures(results), animate=False)


def test_page_needs_no_other_file(page: str) -> None:
    outside = [link for link in _parsed(page).links if not link.startswith(("data:", "#"))]
    assert outside == []
    assert "@import" not in page
    assert all(found.startswith("#") for found in re.findall(r"url\(['\"]?([^)]*)", page))


def test_drawings_follow_the_reader_s_colours(page: str) -> None:
    assert "#0101" not in page
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", page))
    for theme in re.findall(r":root \{(.*?)\}", page, re.DOTALL):
        assert used <= set(re.findall(r"(--[a-z0-9]+):", theme))


def test_a_whole_folder_shows_every_part(page: str) -> None:
    for part in (
        "Forward speed",
        "Pitch",
        "Lateness of each tick",
        "Time per tick by part",
        "Curriculum levels",
        "Forward speed, RMS error [m/s]",
        "Turn rate, RMS error [rad/s]",
        "Score",
        "Teacher: score",
        "lost in tail",
    ):
        assert part in page
    assert page.count("<svg") >= 11


def test_names_are_escaped(page: str) -> None:
    assert "a &lt;b&gt; run" in page
    assert "a <b> run" not in page


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("flight", "The student has not run on a bus yet"),
        ("evaluation.json", "Student and teacher have not been compared yet"),
        ("teacher", "The teacher has not been trained yet"),
        ("distillation", "The student has not been distilled yet"),
    ],
)
def test_a_missing_part_is_said_in_one_sentence(whole: Path, missing: str, sentence: str) -> None:
    path = whole / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = _page(whole)
    _parsed(page)
    assert sentence in page


def test_an_empty_folder_gives_a_page(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").touch()
    path, rows = write_report(tmp_path)
    _parsed(path.read_text())
    assert {row.met for row in rows} == {False}


def test_a_torn_line_is_left_out_and_said(whole: Path) -> None:
    with (whole / "teacher" / "progress.jsonl").open("a") as file:
        file.write('{"steps": 40000, "sco')
    assert len(load_results(whole).teacher) == 39
    assert "teacher/progress.jsonl: line 40 is not complete" in _page(whole)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stages.json", "[]"),
        ("evaluation.json", "[1]"),
        ("recipe.toml", "= {"),
        ("recipe.toml", "run = 3"),
        ("teacher/progress.jsonl", '{"steps": 1000}\n'),
        ("distillation/progress.jsonl", "[]\n"),
    ],
)
def test_a_damaged_part_is_left_out_and_said(whole: Path, name: str, text: str) -> None:
    (whole / name).write_text(text)
    page = _page(whole)
    assert f"{name} is damaged" in page or f"{name}: line 1 is not complete" in page


def test_a_bundle_is_no_run_folder_and_stays_as_it_was(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(bundle)]) == 2
    assert "not a run folder" in capsys.readouterr().err
    assert not (bundle / "report.html").exists()


def test_a_folder_that_is_not_there_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "there is no run folder" in capsys.readouterr().err


def _met(results: Results, name: str) -> bool | None:
    (figure,) = [figure for figure in figures(results) if figure.name.startswith(name)]
    return figure.met


@pytest.mark.parametrize(
    ("key", "who", "value", "figure", "met"),
    [
        ("falls", "teacher", 5, "Teacher's falls", True),
        ("falls", "teacher", 6, "Teacher's falls", False),
        ("falls", "student", 10, "Student's falls", True),
        ("falls", "student", 11, "Student's falls", False),
        ("value", "ratio", 0.97, "Student's return", True),
        ("value", "ratio", 0.9699, "Student's return", False),
    ],
)
def test_figures_are_met_up_to_their_target_and_not_beyond(
    whole: Path, key: str, who: str, value: float, figure: str, met: bool
) -> None:
    results = load_results(whole)
    assert results.evaluation is not None
    results.evaluation["hardest"][who][key] = value
    assert _met(results, figure) is met


@pytest.mark.parametrize(
    ("parameters", "figure", "met"),
    [
        ({"student": 5000, "teacher_actor": 50000}, "Student's parameters", True),
        ({"student": 5001, "teacher_actor": 90000}, "Student's parameters", False),
        ({"student": 4001, "teacher_actor": 40000}, "Student's parameters / ", False),
    ],
)
def test_a_student_must_be_small(whole: Path, parameters: dict, figure: str, met: bool) -> None:
    results = load_results(whole)
    assert results.evaluation is not None
    results.evaluation["parameters"] = parameters
    rows = [row for row in figures(results) if row.name.startswith(figure)]
    assert all(row.met for row in rows) is met


def test_a_short_run_misses_its_time(whole: Path) -> None:
    assert _met(load_results(whole), "Balanced on the bus") is False


def test_a_fall_on_the_bus_is_shown_as_missed(whole: Path) -> None:
    results = load_results(whole)
    assert results.bus is not None
    assert _met(results, "Falls and aborts") is True
    fall = {"event": "fall", "time": results.bus.start + 2.0, "tilt": 1.2}
    fallen = dataclasses.replace(results, events=[*results.events, fall])
    assert _met(fallen, "Falls and aborts") is False
    assert "the robot fell" in build_page(fallen, figures(fallen), animate=False)
    assert any(figure.name.startswith("Falls") for figure in missed(fallen))


def test_a_run_cut_off_is_not_a_calm_one(whole: Path) -> None:
    results = load_results(whole)
    assert results.bus is not None
    cut = dataclasses.replace(results, bus=dataclasses.replace(results.bus, result={}))
    assert _met(cut, "Falls and aborts") is False


def test_the_animation_shows_a_push(whole: Path) -> None:
    results = load_results(whole)
    first, last = window(results)
    assert results.bus is not None
    assert 0.0 <= first < last <= results.bus.seconds + 1e-9
    assert any(first <= push <= last for push in results.endured_pushes())


_NONE = object()


def _damaged(data: dict, path: str, value: object) -> dict:
    """``data`` with what stands at ``path`` taken away or exchanged for ``value``."""
    *parents, last = path.split("/")
    node: Any = data
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    if value is _NONE:
        del node[last]
    else:
        node[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("levels", "x"),
        ("levels", [3]),
        ("levels/0/level", {}),
        ("levels/0/teacher", _NONE),
        ("levels/0/teacher", None),
        ("levels/0/student", {}),
        ("levels/0/student/score", "high"),
        ("levels/1/student/turn_rate_rmse", _NONE),
        ("levels/1/student/turn_rate_rmse", None),
        ("levels/1/teacher/turn_rate_rmse", math.nan),
        ("levels/2/ratio/low", True),
        ("hardest", []),
        ("hardest/episodes", 0),
        ("parameters/student", 0),
        ("parameters/teacher_actor", "many"),
    ],
)
def test_an_evaluation_of_another_shape_is_left_out_and_said(
    whole: Path, path: str, value: object
) -> None:
    file = whole / "evaluation.json"
    file.write_text(json.dumps(_damaged(json.loads(file.read_text()), path, value)))
    results = load_results(whole)
    assert "damaged" in results.notes["evaluation.json"]
    assert results.evaluation is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("contract", None),
        ("contract/command", None),
        ("contract/joints", 3),
        ("period", 0.0),
        ("period", None),
        ("result", [1]),
        ("result", "done"),
        ("result/outcome", None),
        ("result/counters", {"imu": {"asked": 3}}),
        ("result/realtime", [3]),
    ],
)
def test_a_flight_of_another_shape_is_left_out_and_said(
    whole: Path, path: str, value: object
) -> None:
    file = whole / "flight" / "meta.json"
    file.write_text(json.dumps(_damaged(json.loads(file.read_text()), path, value)))
    results = load_results(whole)
    assert "The flight log is damaged and was left out" in results.notes["flight"]
    assert results.bus is None


@pytest.mark.parametrize("name", ["flight.npy", "wire.npy"])
def test_a_flight_of_other_rows_is_left_out_and_said(whole: Path, name: str) -> None:
    file = whole / "flight" / name
    cut = file.read_bytes()[:1000]
    np.save(file, np.ones(3))
    plain = file.read_bytes()
    np.save(file, np.ones(3, dtype=[("sequence", "u8")]))
    for content in (file.read_bytes(), plain, cut, b""):
        file.write_bytes(content)
        results = load_results(whole)
        assert results.notes["flight"].startswith("The flight log")
        assert results.bus is None


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("emulator.jsonl", {"time": 1.0, "event": "pose"}),
        ("emulator.jsonl", {"time": 1.0, "event": "pose", "position": None, "orientation": None}),
        ("emulator.jsonl", {"time": 1.0, "event": "pose", "position": [0, 0], "orientation": []}),
        ("emulator.jsonl", {"time": None, "event": "push"}),
        ("emulator.jsonl", {"time": "soon", "event": "push"}),
        ("emulator.jsonl", {"time": 1.0, "event": ["push"]}),
        ("teacher/progress.jsonl", {"steps": "many", "seconds": 1.0}),
        ("teacher/progress.jsonl", {"steps": 1, "seconds": 1.0, "score": "good"}),
        ("distillation/progress.jsonl", {"steps": 1, "seconds": 1.0, "terms": [1]}),
        ("distillation/progress.jsonl", {"steps": 1, "seconds": 1.0, "levels": {"a": None}}),
    ],
)
def test_a_row_of_another_shape_is_left_out_and_said(whole: Path, name: str, row: dict) -> None:
    lines = (whole / name).read_text()
    (whole / name).write_text(json.dumps(row) + "\n" + lines)
    results = load_results(whole)
    assert results.notes == {name: f"{name}: line 1 is not complete and was left out."}


def test_a_part_that_fails_costs_no_other(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(results: Results) -> str:
        raise ZeroDivisionError("by <nothing>")

    monkeypatch.setattr(report, "evaluation_section", fail)
    page = _page(whole)
    _parsed(page)
    assert "could not be shown (ZeroDivisionError: by &lt;nothing&gt;)" in page
    assert "Lateness of each tick" in page
    assert "Curriculum levels" in page
