"""A run folder knows the files of one's own that it was made with, and says which has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import retort.sim.robot_files
from retort.launch.cli import BAD_INPUT, main
from retort.launch.recipe import load_recipe
from retort.launch.stages import STAGES, Ledger

from .own import edit, own

MESH = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a robot with an included file, a mesh and a servo table of its own."""
    path, robot = own(tmp_path), tmp_path / "my_robot"
    (robot / "meshes").mkdir()
    (robot / "meshes" / "shell.obj").write_text(MESH)
    (robot / "assets.xml").write_text(
        '<mujoco><asset><mesh name="own" file="shell.obj"/></asset></mujoco>'
    )
    edit(
        robot / "balancer.xml",
        '<compiler angle="radian"',
        '<include file="assets.xml"/><compiler meshdir="meshes" angle="radian"',
    )
    shutil.copytree(retort.sim.robot_files.MODELS, tmp_path / "models")
    monkeypatch.setattr("retort.sim.robot_files.MODELS", tmp_path / "models")
    return path


@pytest.fixture
def folder(recipe: Path, tmp_path: Path) -> Path:
    """A run folder with every stage complete."""
    made = tmp_path / "run"
    for stage in STAGES:
        ledger = Ledger(made, load_recipe(recipe))
        assert ledger.begin(stage.name)
        (made / stage.file).parent.mkdir(exist_ok=True)
        (made / stage.file).touch()
        ledger.finish(stage.name)
    return made


@pytest.mark.parametrize(
    "file",
    [
        "my_task.py",
        "my_robot/robot.toml",
        "my_robot/balancer.xml",
        "my_robot/assets.xml",
        "my_robot/meshes/shell.obj",
        "models/xl330-m077.toml",
        "models/retort-imu.toml",
    ],
)
def test_every_stage_notices_a_file_that_has_changed(file, recipe, folder, tmp_path):
    def complete():
        ledger = Ledger(folder, load_recipe(recipe))
        return [ledger.complete(stage.name) for stage in STAGES]

    before = (tmp_path / file).read_text()
    assert complete() == [True] * 5
    (tmp_path / file).write_text(before + "\n")
    assert complete() == [False] * 5
    (tmp_path / file).write_text(before)
    assert complete() == [True] * 5


@pytest.mark.parametrize(
    "words",
    [
        ["train", "my.toml"],
        ["distill", "my.toml"],
        ["distill", "my.toml", "--fresh"],
        ["export", "run"],
        ["eval", "run"],
        ["launch", "my.toml"],
        ["launch", "run"],
    ],
    ids=" ".join,
)
def test_every_verb_says_what_has_changed_and_what_to_do(
    words, recipe, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    edit(tmp_path / "my_task.py", "TURN_MARGIN = 1.6", "TURN_MARGIN = 1.7")
    records = (folder / "stages.json").read_text()
    assert main([*words, "--out", "run"]) == BAD_INPUT
    said = capsys.readouterr().err
    assert f"{tmp_path / 'my_task.py'} has changed since train was begun in run; --fresh" in said
    assert len(said.splitlines()) == 1
    assert (folder / "stages.json").read_text() == records


def test_a_run_that_is_unchanged_is_complete(recipe, folder, tmp_path, capsys):
    assert main(["train", str(recipe), "--out", str(folder)]) == 0
    assert "train is complete" in capsys.readouterr().out


def test_a_run_folder_from_before_files_were_taken_down_is_complete(recipe, folder, tmp_path):
    records = json.loads((folder / "stages.json").read_text())
    for record in records.values():
        del record["files"]
    (folder / "stages.json").write_text(json.dumps(records))
    edit(tmp_path / "my_task.py", "TURN_MARGIN = 1.6", "TURN_MARGIN = 1.7")
    ledger = Ledger(folder, load_recipe(recipe))
    assert all(ledger.complete(stage.name) for stage in STAGES)


def test_a_robot_that_is_gone_leaves_what_it_was_learnt_with(recipe, folder, tmp_path):
    loaded = load_recipe(recipe)
    shutil.rmtree(tmp_path / "my_robot")
    (tmp_path / "my_task.py").unlink()
    assert Ledger(folder, loaded).complete("distill")


def test_retorts_own_files_are_its_versions(tmp_path):
    path = tmp_path / "plain.toml"
    path.write_text('robot = "balancer"\ntask = "slopes"\n')
    assert not any(load_recipe(path).world.files.values())
