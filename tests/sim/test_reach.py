"""The task of arms: bring a gripper to a place."""

import mujoco
import numpy as np
import pytest
from retort.hardware import load_robot
from retort.sim import RobotEnv
from retort.sim.task import load_task

TASK = load_task("reach")


@pytest.fixture
def env():
    env = RobotEnv("arm6", "reach", 4, level=0.0, autoreset=False)
    env.reset(seed=0)
    return env


def pose(env):
    return np.array([joint.default for joint in env.robot.joint])


def test_the_reward_is_1_there_and_falls_with_distance_and_opening(env):
    measured = TASK.measure(env.physics, slice(None))
    there = TASK.tracking(measured)
    np.testing.assert_allclose(TASK.reward(measured, there), 1.0, atol=1e-6)
    steps = np.linspace(0.0, 0.3, 7)
    for direction in np.eye(4):
        rewards = [TASK.reward(measured, there + step * direction)[0] for step in steps]
        assert (np.diff(rewards) < 0).all()
    # A tenth of each half at its own margin.
    off = there + np.array([0.3, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(TASK.reward(measured, off), 0.05, atol=1e-3)
    restless = measured._replace(unrest=measured.unrest + 1.5)
    np.testing.assert_allclose(TASK.reward(restless, there), 0.775, atol=1e-3)
    ajar = there + np.array([0.0, 0.0, 0.0, 0.5])
    np.testing.assert_allclose(TASK.reward(measured, ajar), 0.1, atol=1e-3)


def test_a_hand_on_the_table_ends_the_episode(env):
    ended = np.zeros(4, dtype=bool)
    down = np.zeros((4, 6), dtype=np.float32)
    down[:, 1] = 1.0  # the shoulder forward
    for _ in range(100):
        *_, terminated, _, _ = env.step(down)
        ended |= terminated
    assert ended.all()
    env.reset(seed=0)
    for _ in range(100):
        *_, terminated, _, _ = env.step(np.zeros((4, 6), dtype=np.float32))
        assert not terminated.any()


def test_every_place_it_may_ask_for_is_within_reach_of_the_actions():
    env = RobotEnv("arm6", "reach", 1)
    model = env.physics.model
    data = mujoco.MjData(model)
    grip = model.site("grip").id
    rng = np.random.default_rng(0)
    reach = np.array(env.contract.action.scale)
    limits = np.array([(j.limits.position_min, j.limits.position_max) for j in env.robot.joint]).T
    low, high = np.clip([pose(env) - reach, pose(env) + reach], *limits)
    places = []
    for joints in rng.uniform(low, high, (20_000, 6)):
        data.qpos[:] = joints
        mujoco.mj_kinematics(model, data)
        places.append(data.site_xpos[grip].copy())
    ends = [np.linspace(c.low, c.high, 3) for c in TASK.command[:3]]
    for place in np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3):
        assert np.linalg.norm(places - place, axis=1).min() < 0.05, place
    assert low[5] <= TASK.command[3].low
    assert TASK.command[3].high <= high[5]


def test_it_can_be_done_by_following_the_jacobian(env):
    """Every command held, with all that is randomised: the hand comes within 3 cm."""
    env = RobotEnv("arm6", "reach", 8, level=(1.0, 1.0, 0.0, 0.0, 1.0), autoreset=False)
    env.reset(seed=1)
    model = env.physics.model
    data, jacobian = mujoco.MjData(model), np.zeros((3, 6))
    grip = model.site("grip").id
    target = np.tile(pose(env), (8, 1))
    rewards, off = [], []
    wanted = env.command
    for _ in range(300):
        for i, joints in enumerate(env.physics.qpos):
            data.qpos[:] = joints
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, jacobian, None, grip)
            error = wanted[i, :3] - data.site_xpos[grip]
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + 1e-3 * np.eye(3))
            target[i] += 0.05 * inverse @ error
            target[i, 5] = wanted[i, 3]
        action = (target - pose(env)) / env.contract.action.scale
        _, reward, terminated, _, info = env.step(action.astype(np.float32))
        assert not terminated.any()
        wanted = info["command"]
        rewards.append(reward)
        off.append(np.linalg.norm((info["tracking"] - info["command"])[:, :3], axis=1))
    assert np.mean(rewards[150:]) > 0.8
    assert np.median(off[150:]) < 0.03


def test_what_is_held_and_pushed_is_at_the_hand():
    env = RobotEnv("arm6", "reach", 200, level=1.0, autoreset=False)
    env.reset(seed=0)
    model = env.physics.model
    held = env.physics.fields["body_mass"][:, model.body("payload").id]
    assert 0.04 < held.max() <= 0.05
    assert held.min() < 0.01
    hand = model.body("hand").id
    assert model.site(TASK.pushes.site).bodyid[0] == hand
    arm = load_robot("arm6")
    assert TASK.contract.slew / arm.period <= arm.safety.slew  # or the gate would slow it down
