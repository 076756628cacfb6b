"""The report shows what a run folder holds, says what is missing, and hides no missed figure."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from retort.launch import report
from retort.launch.animation import window
from retort.launch.cli import main
from retort.launch.figures import Figure, figures, missed
from retort.launch.report import build_page, write_report
from retort.launch.results import Results, load_results

VOID = {"meta", "img", "br", "use", "path"}


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


def test_further_measurements_are_shown_while_they_are_of_what_stands_there(whole: Path) -> None:
    measured = {"complete": True, "noise": "this student", "attack": "an earlier one"}
    (whole / "stages.json").write_text(json.dumps({"distill": {}, "eval": measured}))
    for name in ("noise", "attack"):
        (whole / f"{name}.json").write_text(json.dumps({"of": "this student"}))
        (whole / f"{name}.svg").write_text("<svg></svg>")
    page = _page(whole)
    _parsed(page)
    assert "Noise, attack and forgetting" in page
    assert 'alt="noise"' in page
    assert 'alt="attack"' not in page
    assert "attack.json is of an earlier teacher, student or evaluation" in page


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


def _told(folder: Path, **shares: object) -> tuple[Figure, str]:
    """The figure of the student's share, and the page, where every row has these."""
    file = folder / "evaluation.json"
    data = json.loads(file.read_text())
    for row in (data["hardest"], *data["levels"]):
        row.update(shares)
    file.write_text(json.dumps(data))
    results = load_results(folder)
    [figure] = [row for row in figures(results) if row.name.startswith("Student's return")]
    page = build_page(results, [figure], animate=False)
    assert "could not be shown" not in page
    return figure, page


@pytest.mark.parametrize(("value", "met"), [(0.97, True), (0.9699, False)])
def test_where_a_teacher_earns_less_than_nothing_the_normalised_share_is_judged(
    whole: Path, value: float, met: bool
) -> None:
    share = {"value": value, "low": 0.9, "high": 0.99}
    figure, page = _told(whole, ratio=None, normalised=share)
    assert figure.name.startswith("Student's return over its teacher's, both above a random")
    assert figure.measured.startswith("0.970 (0.900 to 0.990)")
    assert figure.met is met
    assert "<b>0.970</b>" in page
    assert page.count("eturn over its teacher&#x27;s, both above a random policy&#x27;s") >= 2


def test_a_teacher_no_better_than_random_is_said_and_not_met(whole: Path) -> None:
    figure, page = _told(whole, ratio=None, normalised=None)
    assert figure.measured == "undefined: the teacher is not surely better than a random policy"
    assert figure.met is False
    assert "<b>undefined</b>" in page


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
    assert _met(load_results(whole), "Under the policy on the bus") is False


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


def test_a_part_that_fails_costs_no_other(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(results: Results) -> str:
        raise ZeroDivisionError("by <nothing>")

    monkeypatch.setattr(report, "evaluation_section", fail)
    page = _page(whole)
    _parsed(page)
    assert "could not be shown (ZeroDivisionError: by &lt;nothing&gt;)" in page
    assert "Lateness of each tick" in page
    assert "Curriculum levels" in page
