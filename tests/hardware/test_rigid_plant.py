"""The flywheel plant keeps the motors' data sheet."""

from __future__ import annotations

import pytest
from retort.hardware import load_model
from retort.hardware.virtual import RigidPlant

MOTOR = load_model("xl330-m077").motor


@pytest.fixture
def plant(robot) -> RigidPlant:
    return RigidPlant(robot, friction=0.0, damping=0.0)


def test_full_voltage_reaches_the_no_load_speed(plant):
    plant.drive(0, "voltage", MOTOR.voltage)
    plant.advance(2.0)
    assert plant.motor(0)[1] == pytest.approx(MOTOR.no_load_speed, rel=1e-3)
    assert plant.motor(1)[1] == 0.0


def test_current_at_standstill_is_at_most_the_stall_current(plant):
    plant.drive(0, "current", 10.0)
    plant.advance(1e-4)
    assert plant.motor(0)[2] == pytest.approx(MOTOR.stall_current)


def test_current_makes_torque(plant):
    plant.drive(0, "current", 0.5)
    plant.advance(0.01)
    expected = MOTOR.torque_constant * 0.5 / plant.inertia * 0.01
    assert plant.motor(0)[1] == pytest.approx(expected, rel=1e-6)


def test_friction_holds_below_its_torque_and_stops_what_turns(robot):
    plant = RigidPlant(robot, friction=0.01)
    plant.drive(0, "current", 0.9 * 0.01 / MOTOR.torque_constant)
    plant.turn(1, 0.0, 5.0)
    plant.advance(1.0)
    assert plant.motor(0)[:2] == (0.0, 0.0)
    assert plant.motor(1)[1] == 0.0


def test_an_open_bridge_coasts(plant):
    plant.turn(0, 0.0, 3.0)
    plant.advance(1.0)
    assert plant.motor(0) == pytest.approx((3.0, 3.0, 0.0))
