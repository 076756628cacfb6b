"""The simulator's reading of a situation is what the bus gives of the same situation."""

import dataclasses

import numpy as np
import pytest
from retort.hardware import JointCommand, load_model, load_robot, open_bus
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, VirtualRobot
from retort.hardware.virtual.faults import Drop
from retort.sim import Physics, RobotEnv, Twin


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


def with_joints(robot, **changes):
    joints = tuple(dataclasses.replace(joint, **changes) for joint in robot.joint)
    return dataclasses.replace(robot, joint=joints)


def x_series(robot):
    """The arm with DYNAMIXEL servos, whose motors the model's are not; their loops are."""
    gains = {"position_p": 800, "position_i": 0, "position_d": 200}
    line = dataclasses.replace(robot.line[0], protocol="dynamixel2")
    return with_joints(
        dataclasses.replace(robot, line=(line,)), servo="xl430-w250", gains=gains, sign=-1
    )


def soft(robot):
    return with_joints(robot, gains={"position_p": 16, "position_d": 24}, zero=3.0)


@pytest.mark.parametrize("change", [lambda robot: robot, soft, x_series])
def test_a_joint_in_position_mode_moves_as_its_servo_moves_it(change, tmp_path):
    """Both follow the same targets: six virtual servos on their line, and training's physics, here
    at the steps of the virtual robot's."""
    robot = change(load_robot("arm6"))
    text = robot.model_path.read_text()
    assert 'timestep="0.005"' in text
    motor = load_model(robot.joint[0].servo).motor
    nominal = f"{motor.voltage} {motor.stall_torque} {motor.no_load_speed}"
    for old, new in (
        ('timestep="0.005"', 'timestep="0.001"'),
        ('nominal="7.4 1.912 5.445"', f'nominal="{nominal}"'),
        ('controller="0 0 0 0 0 7.4"', f'controller="0 0 0 0 0 {motor.voltage}"'),
    ):
        text = text.replace(old, new)
    (tmp_path / robot.model).write_text(text)
    robot = dataclasses.replace(robot, folder=tmp_path)
    twin = Twin(robot, seed=3, latency=0.0, battery_resistance=0.0)
    clock = LockstepClock(virtual := VirtualRobot(robot, twin))
    bus = open_bus(robot, LockstepPort(virtual, clock), clock)
    assert [problem for report in bus.identify() for problem in report.problems] == []
    bus.prepare()
    bus.torque(True)

    def tick(target):
        due = clock.now() + robot.period
        bus.read(clock.now() + robot.read_fraction * robot.period)
        bus.write(JointCommand(target))
        clock.sleep_until(due)

    target = goal = np.array([joint.default for joint in robot.joint])
    for _ in range(50):
        tick(target)
    physics = Physics(robot, 1, substeps=20, threads=1)
    physics.reset(np.array([0]))
    physics.qpos[0], physics.qvel[0] = twin.data.qpos, twin.data.qvel
    physics.settle(np.array([0]))
    low, high = np.array([(j.limits.position_min, j.limits.position_max) for j in robot.joint]).T
    rng = np.random.default_rng(0)
    apart, moved = [], []
    for i in range(120):
        if i % 25 == 0:
            goal = rng.uniform(low / 2, high / 2)
        target = target + np.clip(goal - target, -0.06, 0.06)
        tick(target)
        physics.drive(target[None])
        physics.step()
        apart.append(twin.pose() - physics.qpos[0])
        moved.append(twin.pose())
    assert (np.ptp(moved, axis=0) > 0.5).all()
    assert np.sqrt(np.mean(np.square(apart), axis=0)).max() < 0.006
    assert np.abs(apart).max() < 0.02


def test_a_push_is_the_same_on_both_sides():
    """Held in its default pose by its servos, the arm gives way alike."""
    robot = load_robot("arm6")
    pose = np.array([joint.default for joint in robot.joint])
    impulse = np.array([0.06, 0.08, 0.0])
    twin = Twin(robot, latency=0.0, battery_resistance=0.0)
    clock = LockstepClock(virtual := VirtualRobot(robot, twin))
    bus = open_bus(robot, LockstepPort(virtual, clock), clock)
    bus.identify()
    bus.prepare()
    bus.torque(True)
    physics = Physics(robot, 1, substeps=4, threads=1)
    moved = [[], []]
    for i in range(80):
        due = clock.now() + robot.period
        bus.read(clock.now() + robot.read_fraction * robot.period)
        bus.write(JointCommand(pose))
        if i == 50:
            twin.push(impulse, robot.period)
            physics.reset(np.array([0]))
            physics.qpos[0], physics.qvel[0] = twin.data.qpos, twin.data.qvel
            physics.settle(np.array([0]))
            before = twin.pose()
            physics.apply_force(np.array([0]), "push", impulse[None] / robot.period)
        clock.sleep_until(due)
        if i >= 50:
            physics.drive(pose[None])
            physics.step()
            physics.wrench[:] = 0.0
            for log, now in zip(moved, (twin.pose(), physics.qpos[0]), strict=True):
                log.append(now - before)
    on_the_bus, in_training = (np.abs(log).max(axis=0) for log in moved)
    assert (in_training[[0, 2]] > 0.005).all()  # the whole arm gives way, not its foot alone
    np.testing.assert_allclose(on_the_bus, in_training, atol=0.003)
