"""Floors that lean: what slides, falls and is felt there, of robots and of Gymnasium's tasks."""

import mujoco
import numpy as np
import pytest
from retort.controller.program import projected_gravity
from retort.hardware.errors import RetortError
from retort.launch.recipe import load_recipe
from retort.sim import RobotEnv, SimulationConfig
from retort.sim.gymnasium_tasks import AXES, Difficulty, GymnasiumTaskEnv, StudentView
from retort.sim.randomisation import Slope, downhill
from retort.sim.simulations import Simulations
from retort.sim.task import AXES as ROBOT_AXES

pytestmark = pytest.mark.usefixtures("quiet")

BOX = """<mujoco><option timestep="0.002" cone="elliptic" impratio="10"/><worldbody>
<geom type="plane" size="9 9 1" friction="{friction}"/>
<body pos="0 0 0.05"><freejoint/><geom type="box" size="0.1 0.1 0.05" friction="{friction}"/></body>
</worldbody></mujoco>"""
QUICK = SimulationConfig(threads=1)


def on_a_slope(friction, slope, n=6, seconds=0.5):
    """Where boxes slid and how fast they then were, and which way was down."""
    model = mujoco.MjModel.from_xml_string(BOX.format(friction=friction))
    boxes, ids = Simulations(model, n, substeps=round(seconds / 0.002), threads=1), np.arange(n)
    floor = Slope(angle=slope)
    floor.bind(boxes)
    floor.sample(boxes, ids, np.ones(n), np.random.default_rng(0))
    boxes.settle(ids)
    boxes.step()
    return boxes.qvel[:, :2].copy(), downhill(boxes, slice(None)).copy()


def test_a_box_slides_downhill_as_steeply_as_its_friction_lets_it():
    slope, friction, seconds = 0.5, 0.3, 0.5
    speed, down = on_a_slope(friction, slope, seconds=seconds)
    np.testing.assert_allclose(np.linalg.norm(down, axis=1), np.sin(slope))
    expected = 9.81 * (np.sin(slope) - friction * np.cos(slope)) * seconds
    np.testing.assert_allclose(speed, expected * down / np.sin(slope), rtol=0.02, atol=0.02)
    assert np.ptp(np.arctan2(*down.T)) > 1.0  # each its own way


def test_a_box_stays_on_a_slope_less_steep_than_its_friction():
    speed, _ = on_a_slope(0.8, 0.5)
    assert np.abs(speed).max() < 0.01


def test_the_slope_grows_with_the_level_and_is_level_at_none():
    angle = 0.2
    env = GymnasiumTaskEnv("HalfCheetah", 60, difficulty=Difficulty(slope=angle))
    assert env.axes == (*AXES, "terrain")
    env.level_source = lambda ids, rng: np.repeat((ids % 3 / 2)[:, None], 5, axis=1)
    _, info = env.reset(seed=0)
    steep = np.arcsin(np.linalg.norm(info["teacher"][:, -2:], axis=1))
    np.testing.assert_allclose(steep, np.arange(60) % 3 / 2 * angle, atol=1e-12)
    gravity = env.simulations.fields["opt.gravity"]
    np.testing.assert_allclose(np.linalg.norm(gravity, axis=1), 9.81)
    assert gravity[:, 2].max() < -9.6
    assert info["student"].shape == (60, 17)


def test_who_is_in_the_air_falls_as_the_floor_leans():
    leaning, level = (
        GymnasiumTaskEnv("Ant", 4, difficulty=Difficulty(slope=0.3), level=(0, 0, 0, 0, lean))
        for lean in (1, 0)
    )
    leaning.reset(seed=0)
    level.reset(seed=0)
    qpos = leaning.simulations.qpos.copy()
    qpos[:, 2] = 3.0  # [m] above the floor
    for env in (leaning, level):
        env.set_state(qpos, np.zeros((4, 14)))
        env.advance(np.zeros((4, 8), dtype=np.float32))
    gained = (leaning.simulations.qvel - level.simulations.qvel)[:, :2]
    falls = downhill(leaning.simulations, slice(None))
    assert np.linalg.norm(falls, axis=1).min() > 0.29
    np.testing.assert_allclose(gained, 9.81 * falls * leaning.period, atol=1e-3)


def test_where_nothing_stands_on_a_floor_there_is_no_slope():
    with pytest.raises(RetortError, match="leave slope at 0"):
        GymnasiumTaskEnv("Swimmer", difficulty=Difficulty(slope=0.1))
    with pytest.raises(RetortError, match=r"slope is 2\.0; use at least 0, less than 1\.57"):
        Difficulty(slope=2.0)


def test_a_saved_state_remembers_the_slope_and_what_is_missing_to_the_bit():
    def make():
        view = StudentView(mask=("velocities",), fade=True, noise=0.1)
        difficulty = Difficulty(slope=0.2)
        env = GymnasiumTaskEnv("Hopper", 8, difficulty=difficulty, student=view, level=0.5)
        env.reset(seed=len(made))
        made.append(env)
        return env

    made = []
    env = make()
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 8, 3)).astype(np.float32)
    for action in actions[:4]:
        env.step(action)
    state = env.state_dict()
    expected = [env.step(action) for action in actions[4:]]
    other = make()
    other.load_state_dict(state)
    for action, (*before, info) in zip(actions[4:], expected, strict=True):
        *after, said = other.step(action)
        for group in ("student", "teacher"):
            np.testing.assert_array_equal(said[group], info[group])
        for a, b in zip(after, before, strict=True):
            np.testing.assert_array_equal(a, b)


def balancer(slope_level, **keywords):
    levels = (*(0.0 for _ in ROBOT_AXES), slope_level)
    settings = {"num_envs": 32, "level": levels, "simulation": QUICK}
    return RobotEnv(task="slopes", **{**settings, **keywords})


def test_a_robot_feels_gravity_and_not_the_floor():
    env = balancer(1.0)
    assert env.axes == (*ROBOT_AXES, "terrain")
    env.reset(seed=0)
    floor_up = projected_gravity(env.physics.qpos[:, 3:7])  # of the floor's normal
    felt = projected_gravity(env.reading.orientation.astype(float))
    np.testing.assert_allclose(np.arccos((floor_up * felt).sum(axis=1)), 0.15, atol=0.005)
    # In the world's frame it is gravity.
    rotation = np.zeros((32, 9))
    for row, quaternion in zip(rotation, env.physics.qpos[:, 3:7], strict=True):
        mujoco.mju_quat2Mat(row, quaternion)
    world = np.einsum("nij,nj->ni", rotation.reshape(32, 3, 3), felt)
    np.testing.assert_allclose(world, env.physics.fields["opt.gravity"] / 9.81, atol=1e-3)


def test_without_torque_a_robot_falls_and_rolls_downhill():
    env = balancer(1.0, autoreset=False)
    flat = balancer(0.0, autoreset=False)
    for each in (env, flat):
        each.reset(seed=0)
        each.physics.qpos[:, 3:7] = [1.0, 0.0, 0.0, 0.0]  # heading along x
        each.physics.qvel[:] = 0.0
    for _ in range(20):
        for each in (env, flat):
            each.step(np.zeros((32, 2), dtype=np.float32))
    moved = env.physics.qpos[:, 0] - flat.physics.qpos[:, 0]
    ahead = downhill(env.physics, slice(None))[:, 0]
    assert np.corrcoef(moved, ahead)[0, 1] > 0.95
    assert np.abs(moved).max() > 0.01


def test_the_teacher_knows_which_way_is_down_as_the_robot_stands():
    env = balancer(1.0)
    env.reset(seed=0)
    everyone = slice(None)
    measured = env.task.measure(env.physics, everyone)
    known = env.task.privileged(env.physics, everyone, measured, env.command)[:, -2:]
    down, heading = downhill(env.physics, everyone), measured.heading.astype(float)
    left = np.stack([-heading[:, 1], heading[:, 0]], axis=1)
    np.testing.assert_allclose(known[:, 0], 5.0 * (down * heading).sum(axis=1), atol=1e-5)
    np.testing.assert_allclose(known[:, 1], 5.0 * (down * left).sum(axis=1), atol=1e-5)
    plain = RobotEnv(num_envs=1, simulation=QUICK)
    assert env.groups["student"] == plain.groups["student"]
    assert env.groups["teacher"] == plain.groups["teacher"] + 3  # these two, and how steep it is


def test_the_slope_is_a_task_of_a_recipe():
    recipe = load_recipe("balancer", ['task="slopes"'])
    recipe.check()
    assert recipe.world.make_env(2, episode_seconds=1.0).axes == (*ROBOT_AXES, "terrain")
