"""What the environments are never made or driven with: refused at once, one sentence each."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from retort.hardware.errors import RetortError
from retort.sim import EnvError, RobotEnv, SimulationConfig
from retort.sim.gymnasium_tasks import TASKS, GymnasiumTaskEnv
from retort.sim.wrapped import WrappedEnv

ROBOT, TASK = "retort/Balancer-v0", "retort/Hopper-v5"
QUICK = SimulationConfig(threads=1)


def robot_env(**keywords: Any) -> RobotEnv:
    return RobotEnv(**{"num_envs": 3, "simulation": QUICK, **keywords})


def task_env(**keywords: Any) -> GymnasiumTaskEnv:
    return GymnasiumTaskEnv("Hopper", **{"num_envs": 3, "threads": 1, **keywords})


BOTH = pytest.mark.parametrize("make", [robot_env, task_env])


@pytest.mark.parametrize("id", [ROBOT, TASK])
@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"observation": "foo"}, "observation is 'foo'; use one of 'student', 'teacher'"),
        ({"level": 3.0}, r"level is 3\.0; use 0 to 1"),
        ({"level": math.nan}, "level is nan"),
        ({"level": (0.5, 0.5)}, r"level has shape \(2,\); give one number, or one for each of the"),
    ],
)
def test_gymnasium_makes_none_with_an_argument_that_cannot_be(
    id: str, keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        gymnasium.make(id, **keywords)
    with pytest.raises(ValueError, match=words):
        gymnasium.make_vec(id, num_envs=2, **keywords)


@pytest.mark.parametrize("id", [ROBOT, TASK])
def test_there_is_no_window_to_draw_in(id: str) -> None:
    with pytest.raises(EnvError, match="render_mode is 'human'; use one of None, 'rgb_array'"):
        gymnasium.make_vec(id, num_envs=2, render_mode="human")


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"num_envs": 0}, "num_envs is 0; use 1 to"),
        ({"episode_seconds": 0.0}, r"episode_seconds is 0\.0; use a finite number, more than 0"),
        ({"episode_seconds": math.nan}, "episode_seconds is nan"),
        ({"episode_seconds": 0.001}, r"episode_seconds is 0\.001; use at least 0\.01"),
        ({"event_rate": 0.0}, r"event_rate is 0\.0"),
    ],
)
def test_a_robot_environment_that_cannot_be_is_refused(
    keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        robot_env(**keywords)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"num_envs": 0}, "num_envs is 0; use 1 to"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0; use a finite number, at least 1"),
        ({"actions": "foo"}, "actions is 'foo'; use one of 'gymnasium', 'clipped', 'normalised'"),
        ({"dtype": "int8"}, "dtype is 'int8'; use one of 'float64', 'float32'"),
    ],
)
def test_a_task_environment_that_cannot_be_is_refused(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        task_env(**keywords)


@pytest.mark.parametrize(
    ("task", "keywords", "words"),
    [
        ("Hopper", {"frame_skip": 0}, "frame_skip is 0; use 1 to 10000"),
        ("Hopper", {"frame_skip": -1}, "frame_skip is -1; use 1 to 10000"),
        ("Hopper", {"frame_skip": 1.5}, r"frame_skip must be a whole number, got 1\.5"),
        ("Hopper", {"ctrl_cost_weight": "x"}, "ctrl_cost_weight must be a number, got 'x'"),
        ("Hopper", {"ctrl_cost_weight": math.nan}, "ctrl_cost_weight is nan; use a finite number"),
        ("Hopper", {"healthy_z_range": 3}, "healthy_z_range must be a list, got 3"),
        ("Hopper", {"healthy_z_range": [1.0]}, "healthy_z_range must hold 2 values"),
        ("Hopper", {"healthy_z_range": [2.0, 1.0]}, r"is \(2\.0, 1\.0\); give the lower one first"),
        ("Hopper", {"reset_noise_scale": -1.0}, r"reset_noise_scale is -1\.0; use"),
        ("InvertedPendulum", {"reset_noise_scale": -1.0}, r"reset_noise_scale is -1\.0; use"),
        ("Hopper", {"xml_file": 3}, "xml_file must be text, got 3"),
        (
            "Hopper",
            {"exclude_current_positions_from_observation": "no"},
            "must be true or false, got 'no'",
        ),
        (
            "Hopper",
            {"xml_file": "inverted_pendulum.xml"},
            "are slide, hinge, expected slide, s",
        ),
        ("Ant", {"main_body": "nope"}, "no body 'nope', its bodies are world, torso, "),
        ("Ant", {"main_body": 99}, "no body 99"),
        (
            "Ant",
            {"xml_file": "hopper.xml"},
            "'hopper.xml': its first joints are slide, exp",
        ),
        (
            "InvertedDoublePendulum",
            {"xml_file": "hopper.xml"},
            "slide, slide, hinge, exp",
        ),
        ("Reacher", {"xml_file": "swimmer.xml"}, "expected hinge, hinge, slide, slide"),
    ],
)
def test_a_task_has_no_keyword_that_cannot_be_and_no_model_that_lacks_what_it_reads(
    task: str, keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(RetortError, match=words) as refused:
        gymnasium.make(f"retort/{task}-v5", **keywords)
    assert f"{task}'s keyword " in str(refused.value) or f"{task} cannot use" in str(refused.value)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_without_motors_moves_no_task(task: str, tmp_path: Path) -> None:
    kinds = TASKS[task].first_joints
    bodies = "".join(
        f'<body name="{name}"><joint type="{kind}"/><geom size="1"/></body>'
        for name, kind in zip(("fingertip", "target", "c", "d"), kinds, strict=False)
    )
    sites = '<site name="tip"/>' * TASKS[task].sites
    path = tmp_path / "still.xml"
    path.write_text(f"<mujoco><worldbody>{bodies}{sites}</worldbody></mujoco>")
    with pytest.raises(RetortError, match="it has no motors"):
        GymnasiumTaskEnv(task, xml_file=str(path))


def test_events_may_come_as_often_as_every_tick() -> None:
    env = robot_env(event_rate=1e6)
    env.reset(seed=0)
    commands = []
    for _ in range(4):
        *_, _ = env.step(np.zeros((3, 2), dtype=np.float32))
        commands.append(env.command.copy())
    assert all((a != b).all() for a, b in itertools.pairwise(commands))


@BOTH
def test_a_reset_knows_one_option(make: Any) -> None:
    env = make()
    env.reset(seed=0, options={})
    env.reset(seed=0, options={"stagger": True})
    with pytest.raises(EnvError, match="reset_mask is not supported"):
        env.reset(options={"reset_mask": np.array([True, False, False])})
    with pytest.raises(EnvError, match="reset has no option 'staggered'; the only one is"):
        env.reset(options={"staggered": True})


@pytest.mark.parametrize("id", [ROBOT, TASK])
def test_options_of_one_environment_are_not_lost_on_the_way(id: str) -> None:
    env = gymnasium.make(id)
    with pytest.raises(EnvError, match="reset has no option 'x'"):
        env.reset(options={"x": 1})


def test_a_wrapped_environment_knows_the_same_option() -> None:
    env = WrappedEnv("CartPole-v1", 2)
    with pytest.raises(EnvError, match="reset has no option 'x'"):
        env.reset(options={"x": 1})


@BOTH
def test_a_step_needs_a_reset_before_it(make: Any) -> None:
    env = make()
    actions = np.zeros(env.action_space.shape, dtype=np.float32)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(actions)
    env.reset(seed=0)
    state = env.state_dict()
    env.step(actions)
    loaded = make()
    loaded.load_state_dict(state)  # which is as good as a reset
    loaded.step(actions)


@pytest.mark.parametrize("id", [ROBOT, TASK])
def test_a_step_of_one_environment_needs_a_reset_too(id: str) -> None:
    env = gymnasium.make(id).unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(env.action_space.sample())


@BOTH
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_actions_that_are_not_finite_change_nothing(make: Any, value: float) -> None:
    env, untouched = make(), make()
    for each in (env, untouched):
        each.reset(seed=4)
    actions = np.zeros(env.action_space.shape, dtype=np.float32)
    bad = actions.copy()
    bad[1, 0] = value
    with pytest.raises(EnvError, match=r"actions of 1 of 3 environments \(1\) are not finite"):
        env.step(bad)
    for _ in range(3):
        got, expected = env.step(actions), untouched.step(actions)
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])


@BOTH
def test_actions_of_another_shape_are_refused(make: Any) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(EnvError, match=r"actions have shape \(1,\), expected \(3, "):
        env.step(np.zeros(1, dtype=np.float32))
