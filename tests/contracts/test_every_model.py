"""What holds for every register table, whichever maker's; a new table is tested by being there."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware.dynamixel import codec as dynamixel
from retort.hardware.feetech import codec as feetech
from retort.hardware.model_table import ModelTable, load_model, model_by_number, model_names
from retort.hardware.robot import Robot
from retort.hardware.virtual import LockstepClock, LockstepPort, RigidPlant, VirtualRobot

from ..hardware.many_servos import robot_of

PING = {"dynamixel2": dynamixel.ping, "feetech": feetech.ping}
WITH_UNIT = {  # registers that carry a physical quantity: largest and smallest believable unit
    "present_position": (1e-5, 1e-2),  # [rad]
    "present_velocity": (1e-5, 0.2),  # [rad/s]
    "goal_position": (1e-5, 1e-2),
    "present_current": (1e-4, 0.1),  # [A]
    "present_load": (1e-4, 0.01),  # [1]
    "present_voltage": (0.01, 0.2),  # [V]
    "present_temperature": (0.1, 1.0),  # [°C]
}


@pytest.fixture(params=model_names())
def table(request) -> ModelTable:
    return load_model(request.param)


def one_of(table: ModelTable) -> Robot:
    """A robot of one joint with a servo of this model, or of one servo and this sensor."""
    if table.kind == "servo":
        return robot_of((table.name,), protocols=(table.protocol,))
    robot = robot_of(("xl330-m077",), imu="a")
    assert robot.imu is not None
    return dataclasses.replace(robot, imu=dataclasses.replace(robot.imu, model=table.name))


def test_registers_do_not_overlap(table):
    spans = sorted((r.address, r.address + r.size) for r in table.registers.values())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_defaults_are_allowed_and_limits_fit(table):
    for name, register in table.registers.items():
        low, high = register.span
        assert register.allows(register.default), name
        bounds = [register.min, register.max, *register.values]
        assert all(low <= bound <= high for bound in bounds if bound is not None), name


def test_it_reports_its_own_number(table):
    assert table.registers["model_number"].default == table.number
    assert table.registers["firmware"].default == table.firmware
    first, last = table.firmware_range
    assert first <= table.firmware <= last
    found = model_by_number(table.number, table.firmware)
    assert found is not None
    assert found.number == table.number
    assert found.protocol == table.protocol


def test_physical_quantities_have_units(table):
    for name, (low, high) in WITH_UNIT.items():
        if name in table.registers:
            assert low <= table.registers[name].unit <= high, name


def test_a_servo_can_be_driven_and_gets_warm(table):
    if table.kind != "servo":
        assert table.motor is None
        return
    assert table.motor is not None
    assert table.thermal is not None
    assert table.turn > 0
    assert table.registers["present_position"].unit * table.turn == pytest.approx(6.2831853)
    for name in ("id", "baud_rate", "torque_enable", "operating_mode", "goal_position"):
        assert table.registers[name].access == "rw"
    for name in ("present_position", "present_velocity", "present_voltage"):
        assert table.registers[name].access == "r"


def test_one_short_read_serves_a_tick(table):
    live = [r for name, r in table.registers.items() if name.startswith("present_")]
    first, last = min(r.address for r in live), max(r.address + r.size for r in live)
    assert last - first <= 32


@given(st.sampled_from(model_names()), st.data())
def test_values_survive_the_way_to_bytes_and_back(name, data):
    registers = load_model(name).registers
    register = registers[data.draw(st.sampled_from(sorted(registers)))]
    value = data.draw(st.integers(*register.span))
    assert len(register.encode(value)) == register.size
    assert register.decode(register.encode(value)) == value


def test_a_virtual_device_of_it_answers_a_ping(table):
    robot = one_of(table)
    virtual = VirtualRobot(robot, RigidPlant(robot))
    clock = LockstepClock(virtual)
    port = LockstepPort(virtual, clock)
    id = robot.imu.id if robot.imu else 1
    port.write(PING[table.protocol](id))
    answer = port.read(100, 0.1)
    assert len(answer) >= 6
    if table.protocol == "dynamixel2":
        assert answer[9:12] == table.number.to_bytes(2, "little") + bytes((table.firmware,))
