"""A recipe may name a Gymnasium environment instead of a robot: the same verbs, terms and modes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from retort.distill.checkpoint import load_checkpoint
from retort.distill.stages import verbs
from retort.distill.stages.finished import (
    load_named,
    load_student,
    load_teacher,
    trained_otherwise,
)
from retort.hardware import RetortError
from retort.launch.cli import main
from retort.launch.files import at_work
from retort.launch.recipe import Recipe, load_recipe, save_recipe
from retort.sim.wrapped import WrappedEnv

from .environment_runs import BATCH, CHEETAH, SMALL, do, small


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of CartPole, distilled and evaluated."""
    folder = tmp_path_factory.mktemp("run")
    assert [do(verb, folder) for verb in ("train", "distill", "eval")] == [0, 0, 0]
    return folder


@pytest.fixture
def taught(finished: Path, tmp_path: Path) -> Path:
    """A run folder with nothing but its teacher."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("distillation", "eval*"))
    return folder


def progress(folder: Path, stage: str = "distillation") -> list[dict]:
    return [json.loads(row) for row in (folder / stage / "progress.jsonl").read_text().splitlines()]


def test_train_distill_and_eval_do_an_environment_as_they_do_a_robot(finished: Path) -> None:
    recipe = load_recipe(finished)
    assert recipe.environment == "CartPole-v1"
    written = (finished / "recipe.toml").read_text()  # nothing that had no effect
    assert not any(word in written for word in ("[run]", "[virtual]", "simulation", "seconds ="))
    student, teacher = load_student(recipe, finished), load_teacher(recipe, finished)
    assert student.interface.discrete
    assert teacher.actor.parameter_count() == 4 * 8 + 8 + 8 * 2 + 2
    assert [row["steps"] for row in progress(finished)] == [BATCH * k for k in range(2, 7)]
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert [row["level"] for row in evaluation["levels"]] == [0]  # no axes: nothing is harder
    assert evaluation["hardest"]["episodes"] == 4
    assert evaluation["hardest"]["seconds"] == pytest.approx(20 * 0.02)
    assert evaluation["parameters"]["student"] == student.parameter_count()


def test_an_observation_may_be_a_number_out_of_a_few(tmp_path: Path) -> None:
    options, folder = ("environment=FrozenLake-v1",), tmp_path / "run"
    assert [do(verb, folder, *options) for verb in ("train", "distill", "eval")] == [0, 0, 0]
    assert load_student(load_recipe(folder), folder).interface.observation_size == 16


def test_what_is_complete_is_not_done_again(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [main([verb, str(finished)]) for verb in ("train", "distill", "eval")] == [0, 0, 0]
    said = capsys.readouterr().out
    assert said.count("is complete") == 3
    assert f"next: retort eval {finished}" in said  # an environment exports nothing


def test_a_launch_is_all_the_stages_there_are_and_its_report_speaks_of_no_bus(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    assert main(["launch", str(folder)]) == 0
    assert not (folder / "student").exists()
    page = (folder / "report.html").read_text()
    assert "CartPole-v1: a teacher" in page
    assert "Student against teacher" in page
    assert "On the bus" not in page
    assert "Falls" not in page


def test_a_run_under_noise_and_attack(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    assert main(["eval", str(folder), "--noise", "--attack", "--epsilon", "0.1"]) == 0
    attacks = json.loads((folder / "attack.json").read_text())["trials"]
    assert {trial["change"] for trial in attacks} == {"none", "random", "mad"}  # of choices
    assert (folder / "noise.json").is_file()


def test_nothing_is_forgotten_where_nothing_gets_harder(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(finished), "--noise", "--forgetting"]) == 2
    assert not (finished / "noise.json").exists()  # it is said before anything is measured
    assert "CartPole-v1 has no axes of difficulty; set gymn" in capsys.readouterr().err


def test_a_teacher_of_another_run_has_the_actions_of_this_one_and_its_environment_is_said(
    finished: Path,
) -> None:
    other = f"distill.teachers={{others=['{finished}']}}"
    [sentence] = trained_otherwise(small("environment=CartPole-v0", other))
    assert sentence == (
        f"the teacher in {finished} was trained on environment CartPole-v1; this is environment "
        "CartPole-v0"
    )
    recipe = small(other)
    assert trained_otherwise(recipe) == []
    [named] = recipe.distill.teachers.named
    env = WrappedEnv("CartPole-v1", 2)
    load_named(recipe, 0, named, env)
    for space in (Discrete(3), Box(-1, 1, (2,))):
        env.single_action_space = space
        words = rf"has 2 choices, and actions of this recipe are {type(space).__name__}\("
        with pytest.raises(RetortError, match=words):
            load_named(recipe, 0, named, env)


def test_a_sweep_refuses_a_size_that_cannot_be_before_the_first_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ("distill.mode=concurrent", "distill.teacher_share=0.5", "student.activation=tanh")
    changes = (*SMALL, *shared, "distill.concurrent.shared_layers=1", "student.hidden=[8]")
    options = [f"--set={change}" for change in changes]
    out = tmp_path / "out"
    given = ["sweep", "cartpole", "--teacher-sizes", "8,16", "--out", str(out), *options]
    assert main(given) == 2
    assert "ends 16 wide and the student's 8; make them equal" in capsys.readouterr().err
    assert not out.exists()


def test_a_sweep_over_teachers(tmp_path: Path) -> None:
    options = [f"--set={change}" for change in SMALL]
    given = ["sweep", "cartpole", "--teacher-sizes", "4,8", "--out", str(tmp_path), *options]
    assert main(given) == 0
    sizes = json.loads((tmp_path / "sweep.json").read_text())["sizes"]
    assert [row["size"] for row in sizes] == [4, 8]


def test_runs_of_one_environment_are_compared_and_those_of_two_are_not(
    finished: Path, taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distill", str(taught), "--set=distill.mode=teacher"]) == 0
    assert main(["eval", str(finished), str(taught), "--out", str(tmp_path / "both")]) == 0
    told = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert told["environment"] == "CartPole-v1"
    assert "robot" not in told
    assert [arm["runs"] for arm in told["arms"]] == [1, 1]
    recipe = load_recipe(taught, ["environment=Acrobot-v1"])
    save_recipe(recipe, taught / "recipe.toml")
    ledger = taught / "stages.json"
    ledger.write_text(ledger.read_text().replace("CartPole-v1", "Acrobot-v1"))
    assert main(["eval", str(finished), str(taught), "--out", str(tmp_path / "both")]) == 2
    assert "was made for another environment" in capsys.readouterr().err


def test_a_q_network_teaches_by_its_values_and_the_student_explores(taught: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    sb3.DQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu", buffer_size=10).save(
        taught / "dqn.zip"
    )
    by_values = (
        "distill.terms=[{name='q', options={kind='tempered', factor=0.5}}]",
        f"distill.teachers={{others=['{taught / 'dqn.zip'}'], weights=[0.0, 1.0]}}",
    )
    losses = []
    for number, epsilon in enumerate((0.0, 1.0)):
        folder = taught.with_name(f"run{number}")
        shutil.copytree(taught, folder)
        assert do("distill", folder, *by_values, f"distill.epsilon={epsilon}") == 0
        losses.append([row["terms"]["q"] for row in progress(folder)])
    assert np.isfinite(losses).all()
    assert losses[0] != losses[1]  # the student met other situations


@pytest.mark.parametrize("mode", ["student", "mixed", "aggregate", "concurrent", "offline"])
def test_every_mode_distils_in_an_environment(mode: str, taught: Path) -> None:
    if mode == "offline":
        pytest.importorskip("minari")
    changes = [f"distill.mode={mode}", "distill.teacher_share=0.5"]
    if mode == "offline":
        changes.append("distill.recorded_steps=128")
    assert do("distill", taught, *changes) == 0
    assert progress(taught)[-1]["steps"] == 6 * BATCH


def test_data_of_choices_do_not_fit_continuous_actions(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("minari")
    assert do("distill", taught, "distill.mode=offline", "distill.recorded_steps=128") == 0
    named = ("distill.mode=offline", f"distill.dataset={taught / 'recorded'}")
    capsys.readouterr()
    assert do("distill", tmp_path / "same", *named) == 0
    assert "next: retort train " in capsys.readouterr().out  # with whom eval compares
    assert do("distill", tmp_path / "other", *named, "environment=InvertedPendulum") == 2
    said = capsys.readouterr().err
    assert "has discrete actions and InvertedPendulum has 1 continuous ones" in said


def interrupted(recipe: Recipe, folder: Path, verb, steps: int) -> None:
    def stop(figures: dict) -> None:
        if figures["steps"] >= steps:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        verb(recipe, folder, progress=stop)


def flat(state: dict, prefix: str = "") -> dict:
    rows = {}
    for key, value in state.items():
        rows |= flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {prefix + key: value}
    return rows


def test_a_task_that_we_simulate_resumes_to_the_bit(tmp_path: Path) -> None:
    recipe = small(*CHEETAH)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for verb, stage in (
        (verbs.train_teacher, "teacher"),
        (verbs.distil_student, "distillation"),
    ):
        verb(recipe, whole)
        interrupted(recipe, parts, verb, 3 * BATCH)
        verb(recipe, parts)
        ends = [
            flat(load_checkpoint(folder / stage / "checkpoint.safetensors"))
            for folder in (whole, parts)
        ]
        assert ends[0].keys() == ends[1].keys()
        for key, value in ends[0].items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, ends[1][key]), key
            elif key != "seconds":
                assert value == ends[1][key], key
    levels = verbs.evaluate(recipe, whole)["levels"]
    assert [row["level"] for row in levels] == [0, 1, 2]
    assert len({row["teacher"]["score"] for row in levels}) == 3


def test_what_cannot_be_stopped_within_an_episode_goes_on_with_new_ones_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert do("train", folder) == 0
    (folder / "teacher" / "checkpoint.safetensors").unlink()
    ledger = folder / "stages.json"
    ledger.write_text(ledger.read_text().replace("true", "false", 1))
    with at_work(folder):
        interrupted(small(), folder, verbs.train_teacher, 2 * BATCH)
    capsys.readouterr()
    assert do("train", folder) == 0
    said = capsys.readouterr().out
    assert "train: goes on with new episodes, since CartPole-v1 cannot be stopped in the" in said
    assert [row["steps"] for row in progress(folder, "teacher")] == [BATCH * k for k in (2, 3, 4)]


def test_a_bundle_is_refused_in_one_sentence(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(finished)]) == 2
    said = capsys.readouterr().err
    assert "export is for a robot" in said
    assert str(finished / "distillation" / "checkpoint.safetensors") in said
    assert len(said.strip().splitlines()) == 1


def test_distillation_goes_on_from_the_teachers_normaliser(finished: Path) -> None:
    taught = load_checkpoint(finished / "teacher" / "checkpoint.safetensors")["learner"]
    learnt = load_checkpoint(finished / "distillation" / "checkpoint.safetensors")["learner"]
    of_teacher, of_student = taught["actor"]["normaliser.count"], learnt["student"]
    assert of_student["normaliser.count"] == of_teacher + 6 * BATCH
