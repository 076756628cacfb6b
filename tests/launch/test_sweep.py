"""``retort sweep``: a run folder for each size of teacher, and going on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from retort.hardware import RetortError
from retort.launch import train
from retort.launch.cli import main
from retort.launch.recipe import load_recipe
from retort.launch.sweep import SweepRunError, read_result, sizes, table, with_teacher_size

SMALL = (
    "teacher.steps=768",
    "teacher.num_envs=16",
    "teacher.critic_hidden=[8]",
    "distill.steps=1152",
    "distill.num_envs=16",
    "distill.episode_seconds=0.3",
    "curriculum.levels=1",
    "curriculum.start=0",
    "evaluation.episodes=2",
    "evaluation.seconds=0.2",
    "evaluation.hardest_episodes=4",
    "evaluation.hardest_seconds=0.2",
)


def _arguments(out: Path, chosen: str) -> list[str]:
    options = [f"--set={change}" for change in SMALL]
    return ["sweep", "balancer", "--teacher-sizes", chosen, "--out", str(out), *options]


def _rows(out: Path) -> list[dict]:
    return json.loads((out / "sweep.json").read_text())["sizes"]


def test_a_sweep_that_stopped_goes_on_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train.do_stage
    done: list[tuple[str, str]] = []

    def stage(name, recipe, folder, *, fresh=False) -> bool:
        if (folder.name, name) == ("teacher-8", "distill") and not done:
            raise RetortError("the lights went out")
        worked = whole(name, recipe, folder, fresh=fresh)
        if worked and done:
            done.append((folder.name, name))
        return worked

    monkeypatch.setattr(train, "do_stage", stage)
    assert main(_arguments(tmp_path, "8,4")) == 1
    assert "the lights went out" in capsys.readouterr().err
    assert [row["size"] for row in json.loads((tmp_path / "sweep.json").read_text())["sizes"]] == [
        4
    ]
    done.append(("second", "attempt"))
    assert main(_arguments(tmp_path, "8,4")) == 0
    assert done[1:] == [("teacher-8", name) for name in ("distill", "export", "eval")]

    rows = _rows(tmp_path)
    assert [row["size"] for row in rows] == [4, 8]
    assert rows[0]["teacher_parameters"] < rows[1]["teacher_parameters"]
    assert rows[0]["student_parameters"] == rows[1]["student_parameters"]
    for row in rows:
        hardest = json.loads((Path(row["folder"]) / "evaluation.json").read_text())["hardest"]
        assert row["student"]["value"] == hardest["student"]["score"]
        assert row["ratio"] == hardest["ratio"]
    assert load_recipe(tmp_path / "teacher-8").teacher.hidden == (8, 8)
    assert "<svg" in (tmp_path / "sweep.svg").read_text()
    said = capsys.readouterr().out
    assert "best student: from the teacher of" in said
    lines = said[said.index("  size") :].splitlines()[:3]
    assert all(len(line) <= 80 for line in lines)


def test_the_number_of_the_teacher_s_layers_stays() -> None:
    recipe = load_recipe("balancer", ["teacher.hidden=[9, 8, 7]"])
    assert with_teacher_size(recipe, 32).teacher.hidden == (32, 32, 32)
    assert with_teacher_size(recipe, 32).student == recipe.student


def test_sizes_are_tried_once_each_from_the_smallest() -> None:
    assert sizes("64,32,64") == (32, 64)


@pytest.mark.parametrize("text", ["0", "32,-1", "wide", "32,,64"])
def test_a_size_that_is_none_is_bad_input(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "balancer", f"--teacher-sizes={text}"]) == 2
    assert "--teacher-sizes" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"hardest": {}}'])
def test_a_damaged_evaluation_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(SweepRunError, match=r"retort eval .* --fresh"):
        read_result(4, tmp_path)


def test_a_ratio_to_a_teacher_below_zero_is_said_to_be_undefined(tmp_path: Path) -> None:
    side = {"score": -1.0, "score_low": -1.2, "score_high": -0.8}
    data = {
        "hardest": {"teacher": side, "student": side, "ratio": None},
        "parameters": {"teacher_actor": 10, "student": 5},
    }
    (tmp_path / "evaluation.json").write_text(json.dumps(data))
    result = read_result(4, tmp_path)
    assert result.ratio is None
    lines = table([result])
    assert lines[1].endswith("undefined")
    assert all(len(line) <= 80 for line in lines)
