"""What a servo's position loop is in SI units, beside what a virtual firmware computes."""

import dataclasses
import math

import pytest
from retort.hardware import RobotFileError, load_robot
from retort.hardware.model_table import load_model
from retort.hardware.position_loop import position_loop
from retort.hardware.robot import Joint, Limits
from retort.hardware.virtual.feetech_loops import FeetechLoops
from retort.hardware.virtual.feetech_settings import Settings
from retort.hardware.virtual.loops import Loops
from retort.hardware.virtual.registers import RegisterFile

COUNT = math.tau / 4096  # [rad]


def joint(servo, **gains):
    return Joint(name="hip", line="main", id=1, servo=servo, mode="position", gains=gains)


def registers_of(each):
    registers = RegisterFile(load_model(each.servo))
    for name, value in each.gains.items():
        registers[name] = value
    return registers


@pytest.mark.parametrize("servo", ["xl330-m077", "xl430-w250", "xm430-w350"])
def test_it_is_what_an_x_series_firmware_computes(servo):
    each = joint(servo, position_p=640, position_i=0, position_d=160)
    loops, loop = Loops(registers_of(each)), position_loop(each)
    loops.rest(100.0)
    assert loops.position(60, 0.0, 885.0) / 885.0 == pytest.approx(loop.stiffness * 40 * COUNT)
    loops.rest(100.0)
    counts = 500.0  # [counts/s]
    assert -loops.position(100, counts, 885.0) / 885.0 == pytest.approx(
        loop.damping * counts * COUNT
    )
    assert loop.limit == 1.0


def test_it_is_what_an_sts_firmware_computes():
    each = joint("sts3215", position_p=20, position_i=0, position_d=48)
    registers, loops, loop = registers_of(each), FeetechLoops(), position_loop(each)
    settings = Settings.of(registers)
    loops.begin(1000)
    loops.plan(settings)
    loops.position_duty(settings, 960)
    # A second period at the same place: no change of the error, so that only P is left.
    assert loops.position_duty(settings, 960) / 1000.0 == pytest.approx(loop.stiffness * 40 * COUNT)
    moved = loops.position_duty(settings, 962) - settings.p * 38 / 4.0  # 2 counts in 1 ms
    assert -moved / 1000.0 == pytest.approx(loop.damping * 2000 * COUNT)


def test_the_factorys_gains_are_meant_where_none_are_named():
    assert position_loop(joint("sts3215")) == position_loop(
        joint("sts3215", position_p=32, position_d=32)
    )


def test_an_sts_servos_torque_limit_limits_its_voltage():
    motor = load_model("sts3215").motor
    assert motor is not None
    each = dataclasses.replace(
        joint("sts3215"), limits=Limits(effort=motor.stall_torque / 4, velocity=1.0)
    )
    assert position_loop(each).limit == pytest.approx(0.25)
    assert position_loop(joint("sts3215")).limit == 1.0


def test_what_is_not_simulated_is_refused():
    with pytest.raises(RobotFileError, match=r"hip: its servo's position loop integrates.*= 0 in"):
        position_loop(joint("xm430-w350", position_i=100))
    wheel = load_robot("balancer").joint[0]
    with pytest.raises(RobotFileError, match="left_wheel: it is in effort mode"):
        position_loop(wheel)
    with pytest.raises(RobotFileError, match="hip: gains has positon_p = 16; the gains are"):
        position_loop(joint("sts3215", positon_p=16))
    with pytest.raises(RobotFileError, match="position_p = 320; a sts3215 takes 0 to 254"):
        position_loop(joint("sts3215", position_p=320))
    with pytest.raises(RobotFileError, match="hip: retort-imu is not a servo"):
        position_loop(joint("retort-imu"))
    limp = dataclasses.replace(joint("sts3215"), limits=Limits(effort=0.0))
    with pytest.raises(RobotFileError, match="hip: its effort limit is 0"):
        position_loop(limp)
