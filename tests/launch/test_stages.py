"""Stages are done once, in order, and never throw work away unasked."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest
from retort.launch.cli import main
from retort.launch.files import at_work
from retort.launch.recipe import Recipe, load_recipe, save_recipe
from retort.launch.stages import ORDER, STAGES, Ledger, Stage, StageError
from retort.launch.train import command_line


def _recipe(tmp_path: Path, *overrides: str) -> Recipe:
    path = tmp_path / "small.toml"
    path.write_text('robot = "balancer"\ntask = "balancer"\n')
    return load_recipe(path, overrides)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with every stage complete."""
    made = tmp_path / "run"
    for stage in STAGES:
        ledger = Ledger(made, _recipe(tmp_path))
        assert ledger.begin(stage.name)
        (made / stage.file).parent.mkdir(exist_ok=True)
        (made / stage.file).touch()
        ledger.finish(stage.name)
    return made


def test_a_complete_stage_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    assert not any(Ledger(folder, _recipe(tmp_path)).begin(name) for name in ORDER)


def test_a_stage_from_before_there_were_switches_is_complete(folder: Path, tmp_path: Path) -> None:
    records = json.loads((folder / "stages.json").read_text())
    assert all("switches" not in record["settings"] for record in records.values())
    for record in records.values():
        record["settings"]["switches"] = []  # and so they were written for a while
    (folder / "stages.json").write_text(json.dumps(records))
    assert all(Ledger(folder, _recipe(tmp_path)).complete(name) for name in ORDER)


def test_what_is_noted_of_a_stage_is_forgotten_when_it_begins_anew(
    folder: Path, tmp_path: Path
) -> None:
    Ledger(folder, _recipe(tmp_path)).note("eval", "noise", "of this student")

    def noted() -> list[dict]:
        records = json.loads((folder / "stages.json").read_text())
        return [record for record in records.values() if "noise" in record]

    assert [record["complete"] for record in noted()] == [True]
    Ledger(folder, _recipe(tmp_path)).begin("distill", fresh=True)
    assert noted() == []


def test_an_interrupted_stage_is_begun_again(folder: Path, tmp_path: Path) -> None:
    assert Ledger(folder, _recipe(tmp_path)).begin("distill", fresh=True)
    assert Ledger(folder, _recipe(tmp_path)).begin("distill")


def test_a_stage_done_again_leaves_none_after_it_complete(folder: Path, tmp_path: Path) -> None:
    ledger = Ledger(folder, _recipe(tmp_path))
    ledger.begin("distill", fresh=True)
    ledger.finish("distill")
    again = Ledger(folder, _recipe(tmp_path))
    assert [again.complete(name) for name in ORDER] == [True, True, False, False, False]


def test_a_stage_before_its_time_says_what_to_run_first(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="`retort train RECIPE` first, or `retort launch RECIPE`"):
        Ledger(tmp_path / "run", _recipe(tmp_path)).begin("distill")
    assert not (tmp_path / "run").exists()


def test_what_to_run_first_is_typed_as_the_stage_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a run"
    folder.mkdir()
    save_recipe(_recipe(tmp_path), folder / "recipe.toml")
    change = ["--set", "distill.terms=[{name='policy_kl'}]"]
    for given in (
        [str(tmp_path / "small.toml"), *change, "--out", str(tmp_path / "x y")],
        [str(folder), *change],
        [str(folder), "--out", str(tmp_path / "zz")],
    ):
        for verb in ("distill", "eval"):
            assert main([verb, *given]) == 2
            advised = re.findall("`(.*?)`", capsys.readouterr().err)
            first = [["retort", "train", *given], ["retort", "launch", *given]]
            assert [shlex.split(line) for line in advised] == first


def test_a_folder_that_holds_the_recipe_is_all_there_is_to_type(tmp_path: Path) -> None:
    recipe, folder = _recipe(tmp_path), tmp_path / "a run"
    options = argparse.Namespace(recipe="small.toml", set=["seed=2"], out=folder)
    given = ["--set", "seed=2", "--out", str(folder)]
    typed = shlex.join(["retort", "distill", "small.toml", *given])
    assert command_line("distill", recipe, folder, options) == typed
    folder.mkdir()
    save_recipe(_recipe(tmp_path, "seed=3"), folder / "recipe.toml")
    assert command_line("distill", recipe, folder, options) == typed
    save_recipe(recipe, folder / "recipe.toml")
    assert command_line("distill", recipe, folder, options) == f"retort distill '{folder}'"


def test_a_budget_is_typed_again_where_a_verb_takes_one(tmp_path: Path) -> None:
    options = argparse.Namespace(recipe="h", set=[], out=None, budget_us=50.0, host=Path("pi.json"))
    lines = [
        command_line(verb, _recipe(tmp_path), tmp_path / "run", options)
        for verb in ("train", "launch")
    ]
    assert lines == ["retort train h", "retort launch h --budget-us 50 --host pi.json"]


def test_other_settings_do_not_overwrite_a_training(folder: Path, tmp_path: Path) -> None:
    changed = _recipe(tmp_path, "seed=9")
    with pytest.raises(StageError, match=r"seed: 1 there, 9 here.*--fresh"):
        Ledger(folder, changed).begin("train")
    assert Ledger(folder, changed).begin("train", fresh=True)


def test_other_settings_of_the_run_ask_only_for_another_run(folder: Path, tmp_path: Path) -> None:
    ledger = Ledger(folder, _recipe(tmp_path, "run.seconds=5"))
    assert [ledger.complete(name) for name in ORDER] == [True, True, True, True, False]
    assert ledger.begin("run")
    assert load_recipe(folder).run.seconds == 5.0


@pytest.mark.parametrize(
    ("entry", "file"),
    [
        ('"{0}/second"', "second/teacher/checkpoint.safetensors"),
        ('"{0}/sac.zip"', "sac.zip"),
        ('{{file="{0}/sac.zip", statistics="{0}/statistics.pkl"}}', "statistics.pkl"),
        ('"{0}/model.pt"', "model.pt"),
        ('"{0}/policy.onnx"', "policy.onnx"),
    ],
    ids=str,
)
def test_a_student_of_a_teacher_that_was_replaced_is_not_complete(
    entry: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = f"distill.teachers.others=[{entry.format(tmp_path)}]"
    for name in ("sac.zip", "statistics.pkl", file):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"the first")
    folder, chosen = tmp_path / "run", _recipe(tmp_path, given)
    for stage in STAGES:
        ledger = Ledger(folder, chosen)
        assert ledger.begin(stage.name)
        (folder / stage.file).parent.mkdir(exist_ok=True)
        (folder / stage.file).touch()
        ledger.finish(stage.name)
    (tmp_path / file).write_bytes(b"another one")
    assert not Ledger(folder, chosen).complete("distill")
    assert Ledger(folder, chosen).complete("train")
    capsys.readouterr()
    assert main(["distill", str(folder)]) == 2
    said = capsys.readouterr().err
    named = chosen.distill.teachers.named[0].path
    assert f"distill was begun in {folder} with another teacher than {named} now holds" in said
    assert len(said.splitlines()) == 1
    (tmp_path / file).write_bytes(b"the first")
    assert Ledger(folder, chosen).complete("distill")
    (tmp_path / file).unlink()  # it has taught what it had to
    assert Ledger(folder, chosen).complete("distill")


@pytest.mark.parametrize("stage", STAGES, ids=ORDER)
def test_a_stage_without_its_file_is_not_complete(
    folder: Path, tmp_path: Path, stage: Stage
) -> None:
    (folder / stage.file).unlink()
    assert not Ledger(folder, _recipe(tmp_path)).complete(stage.name)


def test_other_settings_are_no_matter_where_nothing_came_of_the_first(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "teacher" / "checkpoint.safetensors").unlink()
    assert Ledger(folder, _recipe(tmp_path, "seed=9")).begin("train")


def test_a_robot_that_is_not_there_leaves_no_run_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    wrong = f'robot="{tmp_path / "nope"}"'
    assert main(["train", "balancer", "--out", str(out), "--set", wrong]) == 2
    assert not out.exists()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"train": 5}',
        '{"train": {"complete": true}}',
        '{"distill": {"complete": true, "settings": {}, "teachers": 5}}',
    ],
)
def test_a_damaged_ledger_is_one_sentence_and_fresh_mends_it(
    folder: Path, tmp_path: Path, text: str
) -> None:
    (folder / "stages.json").write_text(text)
    with pytest.raises(StageError, match="--fresh"):
        Ledger(folder, _recipe(tmp_path)).begin("train")
    assert Ledger(folder, _recipe(tmp_path)).begin("train", fresh=True)


def test_a_flight_recorded_over_the_one_of_the_recipe_is_flown_again(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "flight" / "meta.json").write_text("of a run by hand")
    ledger = Ledger(folder, _recipe(tmp_path))
    assert not ledger.complete("run")
    assert ledger.begin("run")
    ledger.finish("run")
    assert Ledger(folder, _recipe(tmp_path)).complete("run")


def _states(folder: Path) -> dict:
    return json.loads((folder / "stages.json").read_text())


@pytest.mark.parametrize(
    ("verb", "helps"), [("distill", "train"), ("export", "distill"), ("eval", "distill")]
)
def test_a_damaged_input_is_named_with_its_stage_and_costs_no_record(
    folder: Path, verb: str, helps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _states(folder)
    assert main([verb, str(folder), "--fresh"]) == 1
    said = capsys.readouterr().err
    assert f"`retort {helps} {folder} --fresh` makes it again" in said
    assert len(said.splitlines()) == 1
    assert _states(folder) == before


@pytest.mark.parametrize("verb", ["train", "distill", "launch"])
def test_a_second_at_work_in_a_folder_is_refused(
    folder: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _states(folder)
    with at_work(folder):
        assert main([verb, str(folder), "--fresh"]) == 1
    said = capsys.readouterr().err
    assert f"another retort is at work in {folder}" in said
    assert len(said.splitlines()) == 1
    assert _states(folder) == before
    with at_work(folder):
        pass  # the first has ended


def test_a_stage_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["distill", "balancer", "--out", str(out)]) == 2
    assert not out.exists()


def test_a_student_of_a_data_set_needs_no_teacher_but_for_its_evaluation(tmp_path: Path) -> None:
    chosen = _recipe(tmp_path, "distill.mode=offline", "distill.dataset=robot/walk-v0")
    folder = tmp_path / "run"
    for stage in STAGES[1:3]:
        ledger = Ledger(folder, chosen)
        assert ledger.begin(stage.name)
        (folder / stage.file).parent.mkdir()
        (folder / stage.file).touch()
        ledger.finish(stage.name)
    with pytest.raises(StageError, match=r"eval needs what train makes"):
        Ledger(folder, chosen).begin("eval")
    with pytest.raises(StageError, match=r"distill needs what train makes"):
        Ledger(tmp_path / "own", _recipe(tmp_path, "distill.mode=offline")).begin("distill")


def test_a_data_set_that_is_not_there_leaves_no_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("minari")
    out = tmp_path / "run"
    chosen = ["--set", "distill.mode=offline", "--set", "distill.dataset=robot/walk-v0"]
    assert main(["distill", "balancer", "--out", str(out), *chosen]) == 2
    assert "there is no data set 'robot/walk-v0'" in capsys.readouterr().err
    assert not out.exists()


def test_a_student_by_another_term_of_the_same_name_is_not_complete(tmp_path: Path) -> None:
    own = tmp_path / "sparse.py"
    text = "def TERM(sample):\n    return sample.student.mode().abs().sum(-1)\n"
    own.write_text(text)
    folder, change = tmp_path / "run", f"distill.terms=[{{name='{own}'}}]"
    for stage in STAGES[:2]:
        ledger = Ledger(folder, _recipe(tmp_path, change))
        assert ledger.begin(stage.name)
        (folder / stage.file).parent.mkdir(exist_ok=True)
        (folder / stage.file).touch()
        ledger.finish(stage.name)
    own.write_text(text.replace("abs", "square"))
    ledger = Ledger(folder, _recipe(tmp_path, change))
    assert [ledger.complete(name) for name in ORDER[:2]] == [True, False]
    with pytest.raises(StageError, match=r"distill was begun in .* \(code.*sparse\.py: .* there"):
        ledger.begin("distill")
    own.write_text(text)
    assert Ledger(folder, _recipe(tmp_path, change)).complete("distill")
