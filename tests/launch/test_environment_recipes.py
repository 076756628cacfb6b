"""What a recipe may say of a Gymnasium environment, what comes of it, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from retort.distill.experiment import TEACHER_PARTS
from retort.distill.networks import GaussianActor
from retort.distill.stages.finished import share_normaliser
from retort.distill.teachers import ActorTeacher
from retort.launch import compare
from retort.launch.recipe import Recipe, RecipeError, load_recipe, save_recipe
from retort.sim.arguments import EnvError
from retort.sim.gymnasium_tasks import AXES, TASKS, GymnasiumTaskEnv
from retort.sim.named import GymnasiumConfig, make_named_env
from retort.sim.wrapped import WrappedEnv

from .environment_runs import CHEETAH, PENDULUM, SMALL, do, small


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


def test_the_end_of_an_episode_costs_nothing_in_an_environment_unless_a_recipe_says_so(
    tmp_path: Path,
) -> None:
    def falls(recipe: Recipe) -> tuple[float, ...]:
        teacher = recipe.teacher
        return teacher.fall_penalty, teacher.final_fall_penalty, recipe.distill.fall_penalty

    path = tmp_path / "corridor.toml"
    path.write_text('environment = "CartPole-v1"\n[teacher]\nhidden = [8]\n')
    assert falls(load_recipe(path)) == (0.0, 0.0, 0.0)
    assert falls(load_recipe(path, ["teacher.final_fall_penalty=2.0"])) == (0.0, 2.0, 0.0)
    path.write_text('robot = "balancer"\ntask = "balancer"\n')
    assert falls(load_recipe(path)) == (0.3, 3.0, 3.0)


def test_only_choices_are_explored_by_epsilon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explored = ("distill.epsilon=0.05", "distill.terms=[{name='policy_kl'}]")
    assert do("train", tmp_path / "run", *PENDULUM, *explored) == 2
    assert "distill.epsilon is for discrete actions" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


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
    assert recipe.world.files == {"xml_file": (tmp_path / "mine.xml",)}
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
        (["environment=Blackjack-v1"], "FlattenObservation"),
        (["gymnasium.keywords={colour='red'}"], "'CartPole-v1' cannot be made: "),
        (["gymnasium.view={noise=0.1}"], "gymnasium.view is for the tasks that retort simulates"),
        (["gymnasium.difficulty={}"], "gymnasium.difficulty is for the tasks that retort"),
        (["environment=Hopper", "gymnasium.keywords={colour='red'}"], "Hopper has no keyword"),
        (["environment=Hopper", "gymnasium.view={mask=['colour']}"], "no part 'colour' to mask"),
        (["environment=Hopper", "gymnasium.keywords={dtype='float64'}"], "Hopper has no keyword"),
        (["environment=Hopper", "gymnasium.keywords={frame_skip=0}"], "frame_skip is 0; use 1 to"),
        (["environment=Hopper", "gymnasium.keywords={xml_file=3}"], "xml_file must be text, got 3"),
        (["environment=Ant", "gymnasium.keywords={xml_file='hopper.xml'}"], "expected free"),
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


def test_runs_whose_students_see_different_things_of_the_same_episodes_are_compared() -> None:
    seeing, blind = small(*CHEETAH), small(*CHEETAH, "gymnasium.view={}")
    assert compare.episodes_of(seeing) == compare.episodes_of(blind)
    runs = [compare.Run(Path(name), recipe) for name, recipe in (("a", seeing), ("b", blind))]
    assert runs[0].is_another_seed_of(runs[0])
    assert not runs[0].is_another_seed_of(runs[1])
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
