"""Joints whose servos follow angles by themselves, as training simulates them."""

import dataclasses

import mujoco
import numpy as np
import pytest
from retort.hardware import load_robot
from retort.sim import ModelError, Physics, RobotEnv
from retort.sim.randomisation import Latency, MotorStrength, SupplyVoltage

SUBSTEPS = 4


@pytest.fixture
def arm():
    return load_robot("arm6")


def pose(robot):
    return np.array([joint.default for joint in robot.joint])


def at_rest(robot, num_envs=2):
    physics = Physics(robot, num_envs, substeps=SUBSTEPS, threads=1)
    everyone = np.arange(num_envs)
    physics.reset(everyone)
    physics.qpos[:, physics.joint_qpos] = pose(robot)
    physics.settle(everyone)
    return physics


def follow(physics, target, ticks):
    for _ in range(ticks):
        physics.drive(np.tile(target, (physics.num_envs, 1)))
        physics.step()
    return physics.qpos[0, physics.joint_qpos] - target


def changed(robot, **changes):
    first, *rest = robot.joint
    return dataclasses.replace(robot, joint=(dataclasses.replace(first, **changes), *rest))


def test_joints_go_where_they_are_told_and_sag_by_what_the_load_takes(arm):
    physics = at_rest(arm)
    target = pose(arm) + 0.3
    error = follow(physics, target, 100)
    data = mujoco.MjData(physics.model)
    data.qpos[:] = physics.qpos[0]
    mujoco.mj_forward(physics.model, data)
    stiffness = physics.model.actuator_gainprm[physics.actuators, 4]
    friction = physics.model.dof_frictionloss[physics.joint_qvel]
    load = data.qfrc_bias[physics.joint_qvel]
    assert np.abs(load[1:3]).min() > 0.05  # shoulder and elbow carry something
    assert (np.abs(error + load / stiffness) <= friction / stiffness + 1e-3).all()


def test_until_something_is_asked_the_default_pose_has_been(arm):
    physics = at_rest(arm)
    latency = Latency(low=0.02, high=0.02)
    latency.bind(physics)
    everyone = np.arange(2)
    physics.reset(everyone)
    latency.sample(physics, everyone, np.ones(2), np.random.default_rng(0))
    physics.qpos[:, physics.joint_qpos] = pose(arm)
    physics.settle(everyone)
    target = pose(arm) + np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert np.abs(follow(physics, target, 1)[0] + 0.5) < 1e-3  # nothing of it has arrived
    assert follow(physics, target, 1)[0] > -0.499


def test_targets_end_at_the_limits_as_the_gate_ends_them(arm):
    physics = at_rest(arm)
    physics.drive(np.full((2, 6), 9.0))
    assert physics.ctrl[0, physics.actuators] == pytest.approx(
        [joint.limits.position_max for joint in arm.joint]
    )
    physics.drive(np.full((2, 6), -9.0))
    assert physics.ctrl[1, physics.actuators] == pytest.approx(
        [joint.limits.position_min for joint in arm.joint]
    )


def test_half_the_supply_is_half_the_stiffness_and_the_same_back_emf(arm):
    physics = at_rest(arm)
    whole = physics.model.actuator_gainprm[physics.actuators].copy()
    supply = SupplyVoltage(low=-0.5, high=0.5)
    supply.bind(physics)

    class Lowest:
        def uniform(self, low, high, shape):
            return np.full(shape, low)

    supply.sample(physics, np.array([1]), np.ones(1), Lowest())
    full, half = (physics.fields["actuator_gainprm"][i, physics.actuators] for i in (0, 1))
    np.testing.assert_allclose(full, whole)
    np.testing.assert_allclose(half[:, [4, 7]], whole[:, [4, 7]] / 2)
    back_emf = whole[:, 1] ** 2 / whole[:, 0]
    np.testing.assert_allclose(half[:, 6] - back_emf, (whole[:, 6] - back_emf) / 2)


def test_of_motors_that_are_asked_for_torques_the_supply_only_limits_the_voltage():
    physics = Physics(load_robot("balancer"), 1, substeps=4, threads=1)
    whole = physics.model.actuator_gainprm.copy()
    supply = SupplyVoltage(low=-0.5, high=0.5)
    supply.bind(physics)
    supply.sample(physics, np.array([0]), np.ones(1), np.random.default_rng(0))
    gains = physics.fields["actuator_gainprm"][0]
    assert (gains[:, 7] != whole[:, 7]).all()
    np.testing.assert_array_equal(np.delete(gains, 7, 1), np.delete(whole, 7, 1))


def test_what_cannot_be_simulated_is_refused(arm, tmp_path):
    with pytest.raises(ModelError, match="arm6 cannot be trained: its joint shoulder_pan is in ve"):
        Physics(changed(arm, mode="velocity"), 1, substeps=SUBSTEPS)
    integrates = changed(arm, gains={"position_i": 3})
    with pytest.raises(ModelError, match="arm6 cannot be trained: shoulder_pan: its servo's posi"):
        Physics(integrates, 1, substeps=SUBSTEPS)
    with pytest.raises(ModelError, match="motor_strength needs joints in effort mode"):
        MotorStrength(spread=0.1).bind(at_rest(arm))
    path = tmp_path / "motor.xml"
    text = arm.model_path.read_text()
    start, end = text.index("<dcmotor"), text.index("/>", text.index("<dcmotor"))
    path.write_text(text[:start] + '<motor name="shoulder_pan" joint="shoulder_pan"' + text[end:])
    other = dataclasses.replace(arm, model=path.name, folder=tmp_path)
    with pytest.raises(ModelError, match="shoulder_pan needs a dcmotor with a voltage limit"):
        Physics(other, 1, substeps=SUBSTEPS)
    path.write_text(text.replace('nsample="7"', 'nsample="7" gear="2"', 1))
    with pytest.raises(ModelError, match="shoulder_pan has gear 2; its servo's numbers are of"):
        Physics(other, 1, substeps=SUBSTEPS)


@pytest.mark.parametrize(
    "said",
    [
        'input="ff" ctrlrange="-0.5 0.5" controller="0 0 0 0 0 7.4"',
        'input="pos" controller="3 2 1 0 1 7.4"',
        'input="pos" controller="3 2 1 0.1 1 7.4"',
        'input="ff" inductance="0.001 0" controller="0 0 0 0 0 7.4"',
    ],
)
def test_what_the_file_says_of_a_controller_is_not_the_servos(arm, tmp_path, said):
    text = arm.model_path.read_text().replace('input="ff" controller="0 0 0 0 0 7.4"', said)
    assert said in text
    (tmp_path / "own.xml").write_text(text)
    own = dataclasses.replace(arm, model="own.xml", folder=tmp_path)
    target = pose(arm) + np.array([0.8, 0.3, 0.3, 0.3, 0.3, 0.3])
    expected = follow(at_rest(arm), target, 100)
    np.testing.assert_allclose(follow(at_rest(own), target, 100), expected, atol=2e-3)


def test_motors_before_the_joints_own_do_not_move_what_they_are_asked(arm, tmp_path):
    text = arm.model_path.read_text()
    more = '<dcmotor name="a" joint="elbow" nominal="1 1e-9 9" input="none"/>'
    more += '<dcmotor name="b" joint="elbow" nominal="1 1e-9 9" input="pos vel"'
    more += ' controller="1e-9 0 1e-9 0 0 1"/>'
    (tmp_path / "more.xml").write_text(text.replace("<actuator>", "<actuator>" + more))
    own = dataclasses.replace(arm, model="more.xml", folder=tmp_path)
    target = pose(arm) + 0.3
    expected = follow(at_rest(arm), target, 60)
    np.testing.assert_allclose(follow(at_rest(own), target, 60), expected, atol=1e-4)


def test_the_teacher_is_told_targets_as_the_actions_that_ask_for_them(arm):
    env = RobotEnv(arm, "reach", 2, level=0.0, autoreset=False)
    env.reset(seed=0)
    for _ in range(4):
        env.step(np.zeros((2, 6), dtype=np.float32))
        np.testing.assert_allclose(env.state_dict()["targets"], 0.0, atol=1e-6)


def test_a_state_goes_on_to_the_bit(arm):
    env = RobotEnv(arm, "reach", 3, level=1.0)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (20, 3, 6)).astype(np.float32)
    for action in actions[:10]:
        env.step(action)
    kept = env.state_dict()
    first = [env.step(action)[0] for action in actions[10:]]
    again = RobotEnv(arm, "reach", 3, level=1.0)
    again.reset(seed=5)
    again.load_state_dict(kept)
    second = [again.step(action)[0] for action in actions[10:]]
    np.testing.assert_array_equal(first, second)
