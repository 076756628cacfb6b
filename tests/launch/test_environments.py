"""A recipe may name a Gymnasium environment instead of a robot: the same verbs, terms and modes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from retort.distill.checkpoint import load_checkpoint
from retort.distill.experiment import TEACHER_PARTS
from retort.distill.networks import GaussianActor
from retort.distill.stages import verbs
from retort.distill.stages.finished import load_student, load_teacher, share_normaliser
from retort.distill.teachers import ActorTeacher
from retort.launch import compare
from retort.launch.cli import main
from retort.launch.files import at_work
from retort.launch.recipe import Recipe, RecipeError, load_recipe, save_recipe
from retort.sim.arguments import EnvError
from retort.sim.gymnasium_tasks import AXES, TASKS, GymnasiumTaskEnv
from retort.sim.named import GymnasiumConfig, make_named_env
from retort.sim.wrapped import WrappedEnv

BATCH = 8 * 16
SMALL = (
    f"teacher.steps={4 * BATCH}",
    "teacher.num_envs=8",
    "teacher.ticks=16",
    "teacher.hidden=[8]",
    "teacher.minibatches=2",
    f"distill.steps={6 * BATCH}",
    "distill.num_envs=8",
    "distill.ticks=16",
    "distill.minibatches=2",
    "student.hidden=[4]",
    "evaluation.episodes=3",
    "evaluation.hardest_episodes=4",
    "gymnasium.max_episode_steps=20",
)
CHEETAH = (
    "environment=HalfCheetah",
    "distill.teacher_share=0.5",
    "distill.terms=[{name='policy_kl'}, {name='value'}, {name='rl'}]",
    "curriculum.kind=gated",
    "curriculum.levels=2",
    "curriculum.window=4",
    "curriculum.teacher_least=2",
    "gymnasium.difficulty={}",
    "gymnasium.view={mask=['velocities'], noise=0.1, last_action=true}",
)
PENDULUM = ("environment=Pendulum-v1", "distill.terms=[{name='policy_kl'}]")


def small(*changes: str) -> Recipe:
    return load_recipe("cartpole", [*SMALL, *changes])


def do(verb: str, folder: Path, *changes: str) -> int:
    options = [f"--set={change}" for change in (*SMALL, *changes)]
    return main([verb, "cartpole", "--out", str(folder), *options])


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


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "distill.terms=[{name='policy_kl', options={temperature=2.0}}]",
            "distill.terms[0] (policy_kl)",
        ),
        ("distill.terms=[{name='q'}]", "distill.terms[0] (q)"),
    ],
)
def test_what_is_for_choices_is_refused_of_continuous_actions_before_anything_trains(
    change: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do("train", tmp_path / "run", *PENDULUM, change) == 2
    assert says in capsys.readouterr().err


def test_only_choices_are_explored_by_epsilon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explored = ("distill.epsilon=0.05", "distill.terms=[{name='policy_kl'}]")
    assert do("train", tmp_path / "run", *PENDULUM, *explored) == 2
    assert "distill.epsilon is for discrete actions" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", ["student", "mixed", "aggregate", "concurrent", "offline"])
def test_every_mode_distils_in_an_environment(mode: str, taught: Path) -> None:
    if mode == "offline":
        pytest.importorskip("minari")
    share = "distill.teacher_share=0.5"
    assert do("distill", taught, f"distill.mode={mode}", share, "distill.recorded_steps=128") == 0
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


def test_students_of_our_own_tasks_see_what_the_table_says_and_difficulty_brings_the_axes() -> None:
    recipe = small(*CHEETAH)
    env = recipe.world.make_env(2, level=0.5, episode_seconds=1.0)
    assert isinstance(env, GymnasiumTaskEnv)
    assert env.axes == recipe.world.axes == AXES
    assert env.episode_ticks == 20
    assert env.groups["student"] == 8 + 6 == recipe.world.interface().observation_size
    assert env.groups["teacher"] > 17


@pytest.mark.parametrize("name", TASKS)
def test_our_tasks_go_by_both_of_their_names(name: str) -> None:
    for known in (name, f"retort/{name}-v5", f"retort.sim:retort/{name}-v5"):
        env = make_named_env(known, 1, GymnasiumConfig())
        assert isinstance(env, GymnasiumTaskEnv)
        assert env.task.name == name
    assert isinstance(make_named_env("gymnasium:CartPole-v1", 1, GymnasiumConfig()), WrappedEnv)


def test_keywords_reach_the_environment_and_a_model_is_found_beside_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    shutil.copy(assets / "hopper.xml", tmp_path / "mine.xml")
    path = tmp_path / "hopper.toml"
    path.write_text(
        'environment = "Hopper"\n[gymnasium.keywords]\nxml_file = "mine.xml"\n'
        "healthy_reward = 3.0\nhealthy_z_range = [0.5, 2.0]\n"
    )
    monkeypatch.chdir("/")
    recipe = load_recipe(path)
    recipe.check()
    env = recipe.world.make_env(1, episode_seconds=1.0)
    assert isinstance(env, GymnasiumTaskEnv)
    assert vars(env.task)["healthy_reward"] == 3.0
    assert env.task.xml_file == str(tmp_path / "mine.xml")
    assert recipe.world.files == (tmp_path / "mine.xml",)
    save_recipe(recipe, tmp_path / "recipe.toml")
    assert load_recipe(tmp_path / "recipe.toml").gymnasium == recipe.gymnasium


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["robot=balancer"], "environment 'CartPole-v1' stands beside robot 'balancer'"),
        (["task=balancer"], "name an environment, or a robot and its task"),
        (["teacher.episode_seconds=3.0"], "teacher.episode_seconds is of robots"),
        (["distill.event_rate=3.0"], "distill.event_rate is of robots"),
        (["evaluation.seconds=3.0"], "evaluation.seconds is of robots"),
        (["simulation.substeps=2"], "simulation is of robots"),
        (["contract={terms=['command'], action_scale=1.0}"], "contract is of robots"),
        (["run.seconds=5.0"], "run is of robots"),
        (["virtual.drop=0.1"], "virtual is of robots"),
        (["gymnasium.max_episode_steps=0"], "gymnasium.max_episode_steps is 0; use"),
        (["gymnasium.mask=['velocities']"], "unknown key 'mask' in gymnasium; the keys are"),
        (["gymnasium.view.noise=-1.0"], "gymnasium.view.noise is -1.0; use a finite"),
        (["gymnasium.difficulty.mass=1.0"], "gymnasium.difficulty.mass is 1.0; use"),
        (["gymnasium.difficulty.friction=[1.1, 2.0]"], "gymnasium.difficulty.friction is (1.1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_recipe_that_cannot_be_is_refused_when_it_is_read(changes: list[str], says: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load_recipe("cartpole", changes)
    assert says in str(refused.value)


def test_a_robot_takes_no_table_of_gymnasium_s_and_one_of_both_must_be_named() -> None:
    with pytest.raises(RecipeError, match="gymnasium says how an environment is made"):
        load_recipe("balancer", ["gymnasium.max_episode_steps=5"])
    with pytest.raises(ValueError, match=r"robot and task missing: name a robot .* or an env"):
        Recipe(name="nothing")
    with pytest.raises(ValueError, match="task missing"):
        Recipe(name="nothing", robot="balancer")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["environment=CartPol-v1"], "no environment 'CartPol-v1' (CartPole-v1 or"),
        (["environment=halfcheetah"], "retort simulates HalfCheetah, Hopper"),
        (["environment=nowhere:Task-v0"], "needs the module 'nowhere'; install its package"),
        (["environment=''"], "there is no environment ''"),
        (["environment=FrozenLake-v1"], "FlattenObservation"),
        (["gymnasium.keywords={colour='red'}"], "'CartPole-v1' cannot be made: "),
        (["gymnasium.view={noise=0.1}"], "gymnasium.view is for the tasks that retort simulates"),
        (["gymnasium.difficulty={}"], "gymnasium.difficulty is for the tasks that retort"),
        (["environment=Hopper", "gymnasium.keywords={colour='red'}"], "Hopper has no keyword"),
        (["environment=Hopper", "gymnasium.view={mask=['colour']}"], "no part 'colour' to mask"),
        (["environment=Hopper", "gymnasium.keywords={dtype='float64'}"], "Hopper has no keyword"),
    ],
    ids=str,
)
def test_what_is_named_and_is_not_there_is_one_sentence_before_anything_begins(
    changes: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do("train", tmp_path / "run", *changes) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_an_environment_whose_package_lacks_a_part_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise gymnasium.error.DependencyNotInstalled('run `pip install "gymnasium[box2d]"`')

    monkeypatch.setattr(gymnasium, "make_vec", lacking)
    with pytest.raises(EnvError, match=r"'LunarLander-v3' cannot be made: run .*box2d"):
        make_named_env("LunarLander-v3", 1, GymnasiumConfig())


class Unbounded(gymnasium.Env):
    """Nothing but actions that may be anything."""

    observation_space = action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)


def test_actions_without_bounds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "test/Unbounded-v0"
    spec = gymnasium.envs.registration.EnvSpec(id=name, entry_point=Unbounded)
    monkeypatch.setitem(gymnasium.registry, name, spec)
    assert do("train", tmp_path / "run", f"environment={name}") == 2
    assert "have no bounds" in capsys.readouterr().err


def test_a_bundle_is_refused_in_one_sentence(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(finished)]) == 2
    said = capsys.readouterr().err
    assert "export is for a robot" in said
    assert str(finished / "distillation" / "checkpoint.safetensors") in said
    assert len(said.strip().splitlines()) == 1


def test_runs_whose_students_see_different_things_of_the_same_episodes_are_compared() -> None:
    seeing, blind = small(*CHEETAH), small(*CHEETAH, "gymnasium.view={}")
    assert compare.episodes_of(seeing) == compare.episodes_of(blind)
    assert compare.Run(Path("a"), seeing).settings != compare.Run(Path("b"), blind).settings
    harder = small(*CHEETAH, "gymnasium.difficulty={noise=0.3}")
    assert compare.episodes_of(seeing) != compare.episodes_of(harder)


def test_a_student_begins_behind_what_its_teacher_knows_of_the_numbers_it_sees_too() -> None:
    recipe = small(*CHEETAH, "gymnasium.view={mask=['velocities'], last_action=true, fade=true}")
    env = recipe.world.make_env(5, level=0.0, episode_seconds=1.0)
    student, critic = recipe.make_learner(env.groups["teacher"])
    actor = GaussianActor(env.groups["teacher"], 6, (8,))
    scale = torch.arange(1.0, env.groups["teacher"] + 1.0)
    actor.normaliser.update(torch.randn(100, len(scale)) * scale + 2.0)
    share_normaliser(ActorTeacher(actor), recipe, student, critic)
    _, info = env.reset(seed=0)
    told, seen = (torch.from_numpy(info[group]) for group in ("teacher", "student"))
    columns = recipe.world.student_columns()
    assert columns is not None
    shared = columns >= 0
    assert shared.sum() == 17
    assert (~shared).sum() == 6  # what it did last
    known = actor.normaliser(told)
    torch.testing.assert_close(student.normaliser(seen)[:, shared], known[:, columns[shared]])
    torch.testing.assert_close(
        student.normaliser(seen)[:, ~shared], seen[:, ~shared], atol=1e-4, rtol=0
    )
    torch.testing.assert_close(critic.normaliser(told), known)


def test_distillation_goes_on_from_the_teachers_normaliser(finished: Path) -> None:
    taught = load_checkpoint(finished / "teacher" / "checkpoint.safetensors")["learner"]
    learnt = load_checkpoint(finished / "distillation" / "checkpoint.safetensors")["learner"]
    of_teacher, of_student = taught["actor"]["normaliser.count"], learnt["student"]
    assert of_student["normaliser.count"] == of_teacher + 6 * BATCH


def test_what_a_robot_senses_is_not_what_its_teacher_is_told() -> None:
    assert load_recipe("balancer").world.student_columns() is None


SWITCHED = "switches=[{quantity='payload', time=[0.1, 0.1], value=[0.3, 0.3]}]"


@pytest.mark.parametrize("recipe", [("cartpole", (*SMALL, *CHEETAH)), ("balancer", ())])
def test_episodes_of_a_recipe_change_in_their_middle(recipe: tuple[str, tuple[str, ...]]) -> None:
    name, changes = recipe
    told = []
    for switches in (SWITCHED, SWITCHED.replace("[0.3, 0.3]", "[0.1, 0.1]")):
        world = load_recipe(name, [*changes, switches]).world
        world.check()
        env = world.make_env(2, level=0.0, episode_seconds=1.0)
        env.reset(seed=0)
        actions = np.zeros(env.action_space.shape, dtype=np.float32)
        told.append([env.step(actions)[4]["teacher"] for _ in range(15)])
    same = [np.array_equal(one, other) for one, other in zip(*told, strict=True)]
    assert same[0]
    assert not same[-1]


def test_switches_are_part_of_what_a_stage_depends_on() -> None:
    one, other = small(*CHEETAH), small(*CHEETAH, SWITCHED)
    assert one.key(TEACHER_PARTS) != other.key(TEACHER_PARTS)
    assert "switches" not in one.key(TEACHER_PARTS)  # runs from before there were any go on


def test_switches_that_cannot_be_are_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do("train", tmp_path / "run", *PENDULUM, SWITCHED) == 2
    assert "switches is for the tasks that retort simulates" in capsys.readouterr().err
    unknown = SWITCHED.replace("payload", "colour")
    assert do("train", tmp_path / "run", *CHEETAH, unknown) == 2
    assert "there is no switch of 'colour'" in capsys.readouterr().err
