"""Register tables: against the manufacturer's own, and as files."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import dynamixel_easy_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware import RobotFileError, load_model
from retort.hardware.model_table import model_by_number, model_names

ORACLE = Path(dynamixel_easy_sdk.__file__).parent / "control_table"
RENAMED = {
    "firmware_version": "firmware",
    "return_delay_time": "return_delay",
    "secondary_shadow_id": "secondary_id",
    "hardware_error_status": "hardware_error",
    "feedforward_1st_gain": "feedforward_velocity",
    "feedforward_2nd_gain": "feedforward_acceleration",
    "present_input_voltage": "present_voltage",
}


def manufacturers_table(name: str) -> dict[str, tuple[int, int]]:
    text = (ORACLE / f"{name.replace('-', '_')}.model").read_text()
    rows = [line.split("\t") for line in text.split("[control table]")[1].splitlines()]
    table = {}
    for address, size, title in (row for row in rows if len(row) == 3 and row[0].isdigit()):
        key = re.sub(r"\W+", "_", title.strip().lower()).strip("_")
        key = RENAMED.get(key, key.removesuffix("_gain"))
        table[key] = (int(address), int(size))
    return table


@pytest.mark.parametrize("name", ["xl330-m077", "xl330-m288"])
def test_addresses_and_sizes_are_the_manufacturers(name):
    ours, theirs = load_model(name).registers, manufacturers_table(name)
    shared = ours.keys() & theirs.keys()
    assert {key: (ours[key].address, ours[key].size) for key in shared} == {
        key: theirs[key] for key in shared
    }
    unknown = ours.keys() - theirs.keys()
    assert unknown <= {"startup_configuration", "backup_ready"}  # younger than their file


@pytest.mark.parametrize("name", model_names())
def test_every_table_is_consistent(name):
    table = load_model(name)
    assert table.registers["model_number"].default == table.number
    assert table.registers["firmware"].default == table.firmware
    assert model_by_number(table.number) is table
    assert all(register.allows(register.default) for register in table.registers.values())
    spans = sorted((r.address, r.address + r.size) for r in table.registers.values())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_sensor_and_servo_answer_the_same_span():
    for name in ("xl330-m077", "retort-imu"):
        live = [r for r in load_model(name).registers.values() if 120 <= r.address <= 146]
        assert min(r.address for r in live) == 120
        assert max(r.address + r.size for r in live) == 120 + 27


def test_torque_constant_is_stall_torque_over_stall_current():
    motor = load_model("xl330-m077").motor
    assert motor is not None
    assert motor.torque_constant * motor.stall_current == pytest.approx(0.215)
    assert motor.back_emf * motor.no_load_speed == pytest.approx(motor.voltage)


def test_unknown_names_are_answered_with_those_that_exist():
    with pytest.raises(RobotFileError, match="xl330-m077"):
        load_model("xl331")
    with pytest.raises(KeyError, match="goal_current"):
        load_model("xl330-m077").register("goal_torque")


@given(st.sampled_from(sorted(load_model("xl330-m077").registers)), st.data())
def test_values_survive_the_way_to_bytes_and_back(name, data):
    register = load_model("xl330-m077").registers[name]
    bits = 8 * register.size
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if register.signed else (0, 2**bits)
    value = data.draw(st.integers(low, high - 1))
    assert register.decode(register.encode(value)) == value
