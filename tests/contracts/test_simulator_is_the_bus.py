"""The simulator's reading of a situation is what the bus gives of the same situation."""

import numpy as np
import pytest
from retort.hardware import load_robot, open_bus
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, VirtualRobot
from retort.hardware.virtual.faults import Drop
from retort.sim import RobotEnv, Twin


@pytest.fixture(scope="module")
def pair():
    """A virtual robot that is falling and rolling, and the same state in the simulator."""
    robot = load_robot("balancer")
    twin = Twin(robot, seed=3, latency=0.0)
    virtual = VirtualRobot(robot, twin)
    clock = LockstepClock(virtual)
    bus = open_bus(robot, LockstepPort(virtual, clock), clock)
    bus.identify()
    bus.prepare()
    bus.torque(True)
    twin.push((0.03, 0.02, 0.0))
    clock.sleep_until(clock.now() + 0.25)
    before = clock.now()
    read = bus.read(before + robot.read_fraction * robot.period)
    env = RobotEnv(robot, "balancer", 1, level=0.0, autoreset=False)
    env.reset(seed=0)
    env.physics.qpos[0] = twin.data.qpos
    env.physics.qvel[0] = twin.data.qvel
    env.physics.batch.forward()
    simulated = env.sensing.read(np.random.default_rng(0), ids=np.array([0]))
    return read, simulated, twin


def test_the_situation_is_not_trivial(pair):
    read, _, twin = pair
    assert twin.tilt > 0.03
    assert np.abs(read.joint_velocity).min() > 0.5
    assert np.abs(read.angular_velocity).max() > 0.2


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        # The bus read a millisecond before the state that the simulator was set to.
        ("joint_position", 0.03),
        ("joint_velocity", 0.4),
        ("orientation", 0.005),
        ("angular_velocity", 0.1),
        ("linear_acceleration", 1.0),
    ],
)
def test_units_signs_and_frames_agree(pair, name, tolerance):
    read, simulated, _ = pair
    got, expected = np.asarray(getattr(read, name)), np.asarray(getattr(simulated, name))[0]
    if name == "orientation":
        expected = expected * np.sign(expected @ got)
    if name == "joint_position":  # a servo counts turns from where it was switched on
        got = expected + (got - expected + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(got, expected, atol=tolerance)


def test_resolutions_are_those_of_the_servo(pair):
    _, simulated, _ = pair
    for name, unit in (
        ("joint_velocity", 0.229 * 2 * np.pi / 60),
        ("joint_position", np.pi / 2048),
    ):
        counts = np.asarray(getattr(simulated, name), dtype=float) / unit
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-3)


def test_losses_behind_a_silent_device_are_as_frequent_as_on_the_line():
    """Some replies dropped: the third device of the read loses its own and those before it."""
    robot = load_robot("balancer")
    virtual = VirtualRobot(robot, Twin(robot), seed=5, faults=Faults(Drop(rate=0.05)))
    clock = LockstepClock(virtual)
    bus = open_bus(robot, LockstepPort(virtual, clock), clock)
    bus.identify()
    ticks, lost = 600, np.zeros(3)
    for _ in range(ticks):
        due = clock.now() + robot.period
        state = bus.read(clock.now() + robot.read_fraction * robot.period)
        lost += [not state.imu_valid, *(~np.asarray(state.joint_valid))]
        clock.sleep_until(due)
    env = RobotEnv(robot, "balancer", 2000, level=1.0, autoreset=False)
    env.reset(seed=0)
    env.sensing.loss[:] = 0.05
    simulated = np.zeros(3)
    for seed in range(20):
        state = env.sensing.read(np.random.default_rng(seed))
        simulated += [(~state.imu_valid).sum(), *(~state.joint_valid).sum(axis=0)]
    expected = simulated / (20 * 2000)
    spread = 4 * np.sqrt(expected * (1 - expected) / ticks)
    assert (np.abs(lost / ticks - expected) < spread).all()
    assert expected[2] > 2.5 * expected[0]
