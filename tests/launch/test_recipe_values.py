"""A value that cannot be is refused before anything begins: key, value, range, exit code 2."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import retort.controller
import retort.distill
import retort.hardware
import retort.sim
from retort.distill.stages.rehearsal import rehearse
from retort.hardware.errors import RetortError
from retort.launch.cli import INPUT_ERRORS, main
from retort.launch.recipe import RecipeError, load_recipe

# Key, and values that it cannot have.
WRONG = {
    "seed": ["-1", "18446744073709551616"],
    "teacher.steps": ["0", "-5"],
    "teacher.num_envs": ["0", "10000000000"],
    "teacher.minibatches": ["0", "100000"],
    "teacher.hidden": ["[0]", "[64, -1]"],
    "teacher.learning_rate": ["-1.0", "0.0", "nan", "inf"],
    "teacher.final_learning_rate": ["-1.0", "nan"],
    "teacher.episode_seconds": ["nan", "inf", "0.0", "1e9"],
    "teacher.event_rate": ["0.0", "-1.0", "100000.0", "nan"],
    "teacher.level": ["[5.0, 1.0]", "[-0.1, 1.0]", "[0.0, nan]", "[0.8, 0.2]"],
    "teacher.gamma": ["nan", "2.0", "1.0", "-0.1"],
    "teacher.lam": ["nan", "1.5"],
    "teacher.initial_std": ["0.0", "nan", "-1.0"],
    "teacher.hardest_share": ["7.0", "nan"],
    "teacher.clip": ["0.0", "nan"],
    "teacher.max_gradient_norm": ["0.0", "nan"],
    "student.hidden": ["[0]"],
    "student.initial_std": ["0.0", "inf"],
    "student.group": ["0"],
    "distill.gamma": ["nan", "2.0"],
    "distill.learning_rate": ["inf"],
    "distill.minibatches": ["513"],
    "distill.std_floor": ["0.0", "nan"],
    "distill.teacher_share": ["1.5", "nan"],
    "distill.episode_seconds": ["0.0"],
    "distill.teachers.temperature": ["0.0", "nan"],
    "distill.teachers.margin": ["nan"],
    "distill.concurrent.kl_guard": ["1.0", "nan"],
    "curriculum.levels": ["0"],
    "curriculum.start": ["5", "-1"],
    "curriculum.bar": ["nan", "-1.0"],
    "curriculum.fall_bar": ["0.9"],
    "curriculum.teacher_bar": ["1.5", "nan"],
    "curriculum.window": ["1"],
    "curriculum.teacher_least": ["41"],
    "curriculum.replay": ["1.5"],
    "curriculum.particles": ["0"],
    "curriculum.traversable": ["[0.9, 0.5]", "[-0.1, 0.9]", "[0.5, nan]"],
    "evaluation.episodes": ["0"],
    "evaluation.seed": ["0"],
    "evaluation.seconds": ["nan"],
    "evaluation.hardest_seconds": ["0.0"],
    "simulation.substeps": ["0"],
    "simulation.threads": ["-1"],
    "simulation.sensors.packet_loss": ["2.0", "nan"],
    "simulation.sensors.position_resolution": ["-0.1", "nan"],
    "simulation.sensors.gyro_noise": ["-0.1"],
    "run.seconds": ["0.0", "nan", "1e12"],
    "run.port": ['""', '" "'],
    "virtual.drop": ["1.5", "nan"],
    "virtual.push_times": ["[-1.0]", "[nan]"],
    "virtual.push_impulse": ["inf"],
    "virtual.seed": ["-1"],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_a_value_out_of_its_range_is_refused_by_its_key(key: str, value: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"--set '{re.escape(key)}=.*': {re.escape(key)}(\[\d\])? is "
    ):
        load_recipe("balancer", [f"{key}={value}"])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('[{name="foo"}]', r"distill\.terms\[0\]: there is no term 'foo'; there are policy_kl"),
        ('[{name="rl"}, {name="rl", weight=nan}]', r"distill\.terms\[1\]\.weight is nan"),
        ('[{name="rl", begin=0.5, until=0.2}]', r"distill\.terms\[0\]\.begin is 0\.5"),
        ('[{name="rl", options={clip="x"}}]', r"distill\.terms\[0\]: .*clip must be a number"),
        ('[{name="rl", options={clip=nan}}]', r"distill\.terms\[0\]: .*clip is nan"),
        ('[{name="rl", options={clips=0.2}}]', r"distill\.terms\[0\]: .*'clips'"),
        ('[{name="policy_kl", options={temperature=0.0}}]', r"temperature is 0\.0"),
        ('[{name="q", options={kind="foo"}}]', r"distill\.terms\[0\]: .*'sharpened'"),
        ("[]", r"distill\.terms is empty"),
        ('[{name="policy_kl", weight=0.0}]', r"distill\.terms all weigh 0 from first to last"),
        ('[{name="rl", end=0.0}]', r"distill\.terms\[0\]\.end is 0\.0 .*schedule is 'constant'"),
        ('[{name="rl", until=0.5}]', r"distill\.terms\[0\]\.until is 0\.5 and does nothing"),
        ('[{name="value", schedule="progress", begin=0.1}]', r"begin is 0\.1 .* is 'progress'"),
    ],
)
def test_a_term_that_cannot_be_is_refused_by_its_place(value: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("balancer", [f"distill.terms={value}"])


# What one key alone cannot show: it takes the robot and the task.
TOGETHER = {
    "run.command=[{time=0.0, values=[1.0]}]": r"run\.command: .* has 1 values; this policy takes 2",
    "run.command=[{time=0.0, values=[100.0, 0.0]}]": (
        r"run\.command: .* forward_speed 100 m/s; .* forward_speed -0\.5 to 0\.5 m/s, turn_rate"
    ),
    "simulation.substeps=3": "3 substeps of .* but one control tick is",
    "teacher.episode_seconds=0.001": r"teacher\.episode_seconds is 0\.001; one tick .* takes 0\.01",
    'contract={terms=["x"], action_scale=1.0}': "there is no observation term 'x'; there are",
    'contract={terms=["command"], action_scale=nan}': r"contract\.action_scale is nan",
    'contract={terms=["command"], action_scale=1.0, scales={x=2.0}}': r"contract\.scales has 'x'",
    "simulation.substeps=0": "simulation.substeps is 0; use 1 to",
    'distill.terms=[{name="foo"}]': "there is no term 'foo'",
    "seed=18446744073709551616": "seed is 18446744073709551616; use 0 to 4294967295",
    'distill.teachers.others=["typo.zip"]': r"others\[0\]: there is no teacher .*typo\.zip",
    'distill.terms=[{name="q"}]': r"distill\.terms\[0\] \(q\): .*Q-values of discrete actions",
    'distill.terms=[{name="q_ascent"}]': r"distill\.terms\[0\] \(q_ascent\): .*such as SAC",
    'distill.terms=[{name="policy_kl", options={temperature=2.0}}]': "temperature is 2.0, but only",
    "teacher.steps=12288": r"teacher\.steps is 12288, and the first 12288 .*use more than 12288",
    "distill.steps=100": r"distill\.steps is 100, and the first 12288 \(distill\.num_envs times",
    'distill.epsilon=0.1\ndistill.terms=[{name="policy_kl"}]': (
        r"distill\.epsilon is for discrete actions"
    ),
    "distill.epsilon=0.1": r"distill\.terms\[2\]: rl weighs what the student did .*leave one",
    'distill.terms=[{name="saliency"}]': "say with the options `student` and `teacher` which",
    'distill.terms=[{name="saliency", options={student=[60], teacher=[0]}}]': (
        "the student has no position 60"
    ),
    'distill.terms=[{name="latent", options={student="l7"}}]': "no layer 'l7'; it has layer0",
    'distill.teachers={others=["x"], weighting="task"}': "a recipe has one task",
    'distill.mode="teacher"\ndistill.terms=[{name="policy_kl"}]': (
        r"curriculum\.kind is 'gated', which compares .* no level would ever move"
    ),
    "distill.teacher_share=0.0005": "one of them drives none .*'student', teacher_share 0.0005",
    'student={kind="gru"}\ndistill.adversary={}': r"distill\.adversary: .*use kind 'mlp'",
    'distill.mode="concurrent"\ndistill.concurrent.shared_layers=5': r"5 shared layers, but the",
}


@pytest.mark.parametrize("verb", ["train", "launch"])
@pytest.mark.parametrize("override", TOGETHER)
def test_wrong_values_end_a_verb_before_it_leaves_a_trace(
    verb: str, override: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--set={each}" for each in override.splitlines()]
    assert main([verb, "balancer", f"--out={tmp_path / 'run'}", *given]) == 2
    said = capsys.readouterr().err
    assert re.search(TOGETHER[override], said)
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["offline", "teacher"])
def test_a_weight_that_follows_progress_is_refused_where_there_is_none(mode: str) -> None:
    terms = 'distill.terms=[{name="value"}, {name="policy_kl", schedule="progress"}]'
    with pytest.raises(RecipeError, match=rf"terms\[1\]: policy_kl follows .* in mode '{mode}'"):
        load_recipe("balancer", [terms, f"distill.mode={mode}"])


def test_a_term_that_is_half_a_reward_needs_a_student_that_acts() -> None:
    terms = 'distill.terms=[{name="policy_kl"}, {name="corrected"}]'
    load_recipe("balancer", [terms])
    for mode in ("offline", "teacher"):
        with pytest.raises(RecipeError, match=rf"terms\[1\]: .* in mode '{mode}' it does not act"):
            load_recipe("balancer", [terms, f"distill.mode={mode}"])


def test_who_drives_is_counted_in_environments() -> None:
    alone = 'distill.terms=[{name="rl"}, {name="value"}]'
    load_recipe("balancer", [alone, "distill.teacher_share=0.99"])
    with pytest.raises(RecipeError, match="in mode 'student' it does not act"):
        load_recipe("balancer", [alone, "distill.teacher_share=0.9995"])


@pytest.mark.parametrize("activation", ["elu", "tanh"])
def test_critics_share_layers_whatever_the_teacher_s_activation(activation: str) -> None:
    shared = "distill.concurrent.shared_critic_layers=1"
    given = ["distill.mode=concurrent", shared, f"teacher.activation={activation}"]
    rehearse(load_recipe("balancer", given))


def test_a_teacher_that_goes_on_learning_is_the_only_one() -> None:
    given = ['distill.teachers.others=["runs/second"]', "distill.mode=concurrent"]
    with pytest.raises(RecipeError, match=r"distill\.teachers\.others .* goes on learning"):
        load_recipe("balancer", given)


def test_weights_of_teachers_must_sum_to_one() -> None:
    given = ['distill.teachers.others=["a"]', "distill.teachers.weights=[0.5, 0.6]"]
    with pytest.raises(RecipeError, match=r"distill\.teachers\.weights are .*sum to 1"):
        load_recipe("balancer", given)


@pytest.mark.parametrize(
    ("teachers", "words"),
    [
        ('{others=["a", "b", "a"]}', r"others names .*/a twice"),
        (
            '{others=["a"], weights=[0.5, 0.5], weighting="value"}',
            r"teachers\.weights is .*'value'",
        ),
        (
            '{others=["a"], temperature=2.0}',
            r"teachers\.temperature is 2\.0 .*weighting is 'fixed'",
        ),
        ("{margin=0.1}", r"distill\.teachers\.margin is 0\.1 .*gated is false"),
    ],
)
def test_what_would_do_nothing_among_teachers_is_refused(teachers: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("balancer", [f"distill.teachers={teachers}"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["distill.dataset=x"], r"distill\.dataset belongs to mode 'offline'.*'student'"),
        (["distill.mode=offline", 'distill.dataset=""'], r"distill\.dataset is empty"),
        (
            ["distill.dataset_noise_std=0.2"],
            r"dataset_noise_std is 0\.2 and no distill\.dataset is",
        ),
        (
            ["distill.mode=offline", "distill.dataset=x", "distill.dataset_noise_std=0.0"],
            r"dataset_noise_std is 0\.0",
        ),
        (
            ["distill.mode=offline", "distill.teachers.gated=true"],
            r"distill\.teachers\.gated .* set it to false",
        ),
        (
            ["distill.mode=teacher", "distill.teachers.gated=true"],
            r"distill\.teachers\.gated .* in mode 'teacher' it does not act",
        ),
        (
            ["distill.teachers.gated=true", 'distill.terms=[{name="policy_kl"}]'],
            r"distill\.teachers\.gated asks the student's critic .* add the term 'value'",
        ),
        (
            ['distill.terms=[{name="policy_kl"}, {name="rl"}]'],
            r"distill\.terms\[1\] \(rl\) asks the student's critic .* add the term 'value'",
        ),
        (
            [
                "distill.teachers.gated=true",
                'distill.terms=[{name="policy_kl"}, {name="value", options={until=0.2}}]',
            ],
            r"distill\.terms\[1\]: value has until = 0\.2, and with distill\.teachers\.gated",
        ),
        (["distill.mode=clone"], r"distill\.mode is 'clone'; use one of offline, student, .*mixed"),
        (["distill.recorded_steps=0"], r"distill\.recorded_steps is 0"),
        (
            ["distill.mode=concurrent", "distill.num_envs=8", "distill.teacher_share=0.01"],
            r"distill\.teacher_share is 0\.01 of 8 environments.* leaves the teacher none.* 0\.12 ",
        ),
        (
            ["distill.mode=concurrent", "distill.num_envs=8", "distill.teacher_share=0.97"],
            r"leaves the student none",
        ),
        (["student.group=8"], r"student\.group is 8 and does nothing where quantise is 'none'"),
        (["distill.kept_batches=9"], r"distill\.kept_batches is 9 .*mode is 'student'"),
        (["distill.recorded_steps=9"], r"distill\.recorded_steps is 9 .*mode is 'student'"),
        (["distill.concurrent.pull=0.1"], r"distill\.concurrent\.pull is 0\.1 .*mode is 'student'"),
        (
            ["distill.mode=teacher", "distill.adversary={}", 'distill.terms=[{name="value"}]'],
            r"distill\.adversary lies to the student .*'teacher'",
        ),
    ],
)
def test_what_does_not_belong_to_a_mode_or_kind_is_refused(given: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("balancer", given)


def test_no_rounding_is_a_resolution_too() -> None:
    sensors = load_recipe("balancer", ["simulation.sensors.position_resolution=0.0"]).simulation
    assert sensors.sensors.position_resolution == 0.0


# Not the user's input but the world: devices, disks, damaged work, a part that is not installed.
FAILURES = {
    "BusyError",
    "CheckpointError",
    "DeviceError",
    "DistributionError",
    "DivergedError",
    "FileError",
    "MissingExtraError",
    "PortError",
    "RecorderError",
    "RetortError",
    "RolloutError",
    "ShapeError",
    "StatisticsError",
    "SweepRunError",
    "UnfinishedError",
}


def all_kinds(kind: type[RetortError] = RetortError) -> Iterator[str]:
    if kind.__module__.startswith("retort."):  # not those of other tests
        yield kind.__name__
    for child in kind.__subclasses__():
        yield from all_kinds(child)


def test_every_error_is_either_wrong_input_or_a_failure() -> None:
    packages = (retort.hardware, retort.controller, retort.sim, retort.distill)
    for package in packages:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    launch = Path(importlib.import_module("retort.launch.cli").__file__ or "").parent
    for path in launch.glob("*.py"):
        importlib.import_module(f"retort.launch.{path.stem}")
    assert set(all_kinds()) == INPUT_ERRORS | FAILURES
    assert not INPUT_ERRORS & FAILURES
