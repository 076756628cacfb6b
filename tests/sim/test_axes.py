"""Difficulty axes of robot tasks: the task's own, and one for any quantity that is to have one."""

import copy

import numpy as np
import pytest
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.launch.recipe import load_recipe
from retort.sim import RobotEnv, SimulationConfig, TaskError, load_task
from retort.sim.task import AXES, difficulty_axes

OWN = SimulationConfig(threads=1, own_axes=("latency", "payload"))
QUICK = SimulationConfig(threads=1)


def started(level, **changes):
    env = RobotEnv(**{"num_envs": 64, "level": level, "simulation": OWN, **changes})
    env.reset(seed=3)
    return env


def delays(env):
    return env.physics.fields["actuator_delay"][:, 0]


def alone(axis, axes):
    return tuple(float(name == axis) for name in axes)


def test_latency_can_be_as_hard_as_one_likes_while_all_else_is_easy():
    axes = difficulty_axes(load_task("balancer"), OWN.own_axes)
    assert axes == (*AXES, "latency", "payload")
    late = started(alone("latency", axes))
    assert late.axes == axes
    assert delays(late).min() == pytest.approx(0.005)
    assert delays(late).max() == pytest.approx(0.03)
    assert not late.sensing.noise_width.any()
    noisy = started(alone("sensing", axes))
    assert noisy.sensing.noise_width.all()
    np.testing.assert_allclose(delays(noisy), 0.005)


def test_packet_loss_is_an_axis_of_every_robot():
    env = started(alone("packet_loss", AXES), simulation=QUICK)
    assert (env.sensing.loss > 0).all()
    assert not env.sensing.noise_width.any()


def test_an_axis_of_its_own_changes_no_bit_where_all_are_equally_hard():
    shared, own = started(1.0, simulation=QUICK), started(1.0)
    for _ in range(40):
        actions = np.sin(np.arange(128).reshape(64, 2)).astype(np.float32)
        for a, b in zip(shared.step(actions)[:4], own.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_task_may_have_axes_that_nobody_has_thought_of():
    task = copy.deepcopy(load_task("balancer"))
    everything = task.randomisations["randomisation"]
    task.axes = (*AXES, "floor")
    task.randomisations["randomisation"] = tuple(t for t in everything if t.name != "friction")
    task.randomisations["floor"] = tuple(t for t in everything if t.name == "friction")
    env = started(0.0, task=task, simulation=QUICK)
    curriculum = Curriculum(CurriculumConfig(levels=2, start=2), env.axes, 64, np.zeros(3))
    curriculum.axes[-1].frontier = 0
    env.level_source = curriculum.assign
    env.reset(seed=0)
    wheel = env.physics.model.geom("left_wheel").id
    nominal = env.physics.nominal["geom_friction"][wheel, 0]
    np.testing.assert_allclose(env.physics.fields["geom_friction"][:, wheel, 0], nominal)
    assert np.ptp(env.physics.strength) > 0.1


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (("lag",), "'lag', which balancer does not randomise; it randomises payload, friction"),
        (("latency", "latency"), "'latency', which is an axis already"),
    ],
)
def test_an_axis_that_cannot_be_is_refused_and_those_that_can_are_named(own, said):
    with pytest.raises(TaskError, match=said):
        RobotEnv(simulation=SimulationConfig(own_axes=own))
    with pytest.raises(TaskError, match=said):
        load_recipe("balancer", [f"simulation.own_axes={list(own)}"]).check()


def test_a_recipe_names_them():
    recipe = load_recipe("balancer", ['simulation.own_axes=["latency"]'])
    recipe.check()
    assert recipe.world.make_env(2, episode_seconds=1.0).axes == (*AXES, "latency")
