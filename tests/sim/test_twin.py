"""The MuJoCo twin behind virtual servos."""

import numpy as np
import pytest
from retort.hardware import load_robot
from retort.hardware.model_table import load_model
from retort.hardware.robot import ROBOTS
from retort.sim import Twin
from retort.sim.physics import load_model as load_mjcf


@pytest.fixture
def twin():
    return Twin(load_robot("balancer"), seed=1, latency=0.0)


def drive(twin, kind, values):
    for joint, value in enumerate(values):
        twin.drive(joint, kind, value)


def test_the_hand_holds_it_upright_and_still_while_torque_is_off(twin):
    twin.advance(0.0)
    twin.advance(3.0)
    assert twin.held
    assert twin.tilt < 0.02
    assert np.linalg.norm(twin.imu().angular_velocity) < 0.05


def test_the_hand_lets_go_only_when_every_servo_has_torque(twin):
    twin.advance(0.0)
    twin.drive(0, "current", 0.0)
    twin.advance(0.5)
    assert twin.held
    twin.drive(1, "current", 0.0)
    twin.advance(3.0)
    assert not twin.held
    assert twin.fallen


def test_the_hand_takes_it_up_again_after_torque_off(twin):
    twin.advance(0.0)
    drive(twin, "current", (0.0, 0.0))
    twin.advance(3.0)
    assert twin.fallen
    drive(twin, "off", (0.0, 0.0))
    twin.advance(6.0)
    assert twin.held
    assert twin.tilt < 0.05


def test_a_current_gives_the_torque_of_the_data_sheet_in_the_servos_sense(twin):
    motor = load_model("xl330-m077").motor
    twin.advance(0.0)
    drive(twin, "current", (0.3, 0.3))
    twin.advance(0.003)
    left, right = (twin.data.actuator_force[twin.model.actuator(n).id] for n in twin.robot.joints)
    assert left == pytest.approx(0.3 * motor.torque_constant, rel=1e-6)
    assert right == pytest.approx(-left)
    assert twin.motor(0)[2] == pytest.approx(0.3)
    assert twin.motor(1)[2] == pytest.approx(0.3)


def test_no_load_speed_is_the_data_sheets_within_three_percent():
    """Wheels off the ground: full voltage, no torque asked but friction."""
    robot = load_robot("balancer")
    twin = Twin(robot, latency=0.0, battery_resistance=0.0)
    motor = load_model("xl330-m077").motor
    twin.model.opt.gravity[:] = 0.0
    twin.model.geom_contype[:] = 0
    twin.model.geom_conaffinity[:] = 0
    twin.model.dof_frictionloss[:] = 0.0
    twin.model.dof_damping[:] = 0.0
    twin.advance(0.0)
    twin.drive(0, "voltage", motor.voltage)  # one servo off: the hand holds the body
    twin.advance(5.0)
    assert twin.motor(0)[1] == pytest.approx(motor.no_load_speed, rel=0.03)


def test_a_push_is_an_impulse_on_the_body(twin):
    twin.model.geom_contype[:] = 0
    twin.model.opt.gravity[:] = 0.0
    twin.advance(0.0)
    drive(twin, "current", (0.0, 0.0))
    twin.advance(0.01)
    before = momentum(twin)
    twin.push((0.15, 0.0, 0.0))
    twin.advance(0.05)
    np.testing.assert_allclose(momentum(twin) - before, [0.15, 0.0, 0.0], atol=0.005)


def momentum(twin):
    import mujoco

    mujoco.mj_subtreeVel(twin.model, twin.data)
    return twin.data.subtree_linvel[0] * twin.model.body_subtreemass[0]


def test_latency_delays_torque_by_that_time():
    twin = Twin(load_robot("balancer"), latency=0.01)
    twin.advance(0.0)
    drive(twin, "current", (0.5, -0.5))
    twin.advance(0.009)
    assert twin.motor(0)[2] == pytest.approx(0.0, abs=1e-9)
    twin.advance(0.013)
    assert twin.motor(0)[2] == pytest.approx(0.5)


def test_the_same_calls_give_the_same_bits():
    poses = []
    for _ in range(2):
        twin = Twin(load_robot("balancer"), seed=4)
        twin.advance(0.0)
        drive(twin, "current", (0.1, 0.12))
        twin.advance(0.4)
        poses.append(twin.pose())
    np.testing.assert_array_equal(*poses)


def test_a_hand_turns_holds_and_loads_a_shaft(twin):
    twin.advance(0.0)
    twin.turn(1, 0.5)
    assert twin.motor(1)[0] == pytest.approx(0.5)
    twin.block(1)
    twin.load(1, 0.05)
    twin.advance(0.2)
    assert twin.motor(1)[:2] == pytest.approx((0.5, 0.0))
    twin.block(1, False)
    twin.advance(0.3)
    assert twin.motor(1)[0] > 0.51


def test_a_robot_on_a_fixed_base_needs_no_hand_and_sinks_without_torque():
    arm = Twin(load_robot("arm6"), seed=0, latency=0.0)
    before = arm.pose()
    arm.advance(0.0)
    arm.advance(1.0)
    assert not arm.held
    assert not arm.fallen
    lowered = arm.data.site("grip").xpos[2]
    arm.data.qpos[:] = before
    arm.advance(1.001)
    assert lowered < arm.data.site("grip").xpos[2] - 0.02


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROBOTS.glob("*/robot.toml")))
def test_a_joint_leaning_on_its_stop_is_within_its_limits(name):
    robot = load_robot(name)
    model = load_mjcf(robot)
    for joint in robot.joint:
        stop = model.joint(joint.name)
        if model.jnt_limited[stop.id]:
            low, high = stop.range
            slack = 5 * 2 * np.pi / 4096  # a stop gives a little, an encoder errs
            assert joint.limits.position_min <= low - slack, joint.name
            assert high + slack <= joint.limits.position_max, joint.name
