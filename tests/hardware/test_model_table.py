"""Register tables: against the manufacturer's own, and as files."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import dynamixel_easy_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware import RobotFileError, load_model
from retort.hardware.model_table import Register, model_by_number

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


FILES = {
    "xl330-m077": "xl330_m077_fw52",
    "xl330-m077-fw53": "xl330_m077",
    "xl330-m288": "xl330_m288_fw52",
    "xl330-m288-fw53": "xl330_m288",
    "xl430-w250": "xl430_w250",
    "xm430-w350": "xm430_w350",
}


def manufacturers_table(file: str) -> dict[str, tuple[int, int]]:
    text = (ORACLE / f"{file}.model").read_text()
    rows = [line.split("\t") for line in text.split("[control table]")[1].splitlines()]
    table = {}
    for address, size, title in (row for row in rows if len(row) == 3 and row[0].isdigit()):
        key = re.sub(r"\W+", "_", title.strip().lower()).strip("_")
        if re.fullmatch("indirect_.*_(read|write)", key):
            continue  # names of a use, not of registers
        key = RENAMED.get(key, key.removesuffix("_gain"))
        table[key] = (int(address), int(size))
    return table


@pytest.mark.parametrize("name", sorted(FILES))
def test_addresses_and_sizes_are_the_manufacturers(name):
    ours, theirs = load_model(name).registers, manufacturers_table(FILES[name])
    shared = ours.keys() & theirs.keys()
    assert {key: (ours[key].address, ours[key].size) for key in shared} == {
        key: theirs[key] for key in shared
    }
    assert theirs.keys() - ours.keys() == set()
    unknown = {key for key in ours.keys() - theirs.keys() if not key.startswith("indirect_")}
    assert unknown <= {"startup_configuration", "backup_ready"}  # younger than their files


@pytest.mark.parametrize("name", sorted(FILES))
def test_units_are_the_manufacturers(name):
    text = (ORACLE / f"{FILES[name]}.model").read_text().split("[unit info]")[1]
    velocity = re.search(r"Present Velocity\t([\d.]+)\trad/s", text)
    assert velocity is not None
    registers = load_model(name).registers
    # Theirs has 0.2289 rpm, the manual 0.229.
    assert registers["present_velocity"].unit == pytest.approx(float(velocity[1]), rel=1e-3)
    assert registers["present_position"].unit == pytest.approx(math.tau / 4096)


def test_every_firmware_of_a_model_has_its_own_table():
    for name in FILES:
        table = load_model(name)
        assert model_by_number(table.number, table.firmware) is table
    assert model_by_number(1190, 53) is load_model("xl330-m077-fw53")
    assert model_by_number(1190) is load_model("xl330-m077")
    assert model_by_number(9999) is None


def test_indirect_data_moved_with_firmware_53():
    old, new = load_model("xl330-m288"), load_model("xl330-m288-fw53")
    assert old.register("indirect_data_1").address == 208
    assert new.register("indirect_data_1").address == 224
    assert old.register("indirect_address_20") == dataclasses.replace(
        new.register("indirect_address_20"), default=227, max=227
    )
    assert load_model("xm430-w350").register("indirect_data_56").address == 661


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


sign_magnitude = Register(address=0, size=2, sign_bit=10)


@given(st.integers(-1023, 1023))
def test_sign_and_magnitude_survive_the_way_there_and_back(value):
    assert sign_magnitude.decode(sign_magnitude.encode(value)) == value
    assert int.from_bytes(sign_magnitude.encode(value), "little") == abs(value) | (value < 0) << 10


def test_sign_and_magnitude_know_their_span():
    assert sign_magnitude.span == (-1023, 1023)
    assert not sign_magnitude.allows(1024)
    with pytest.raises(OverflowError):
        sign_magnitude.encode(-1024)


# Of the e-manual: Velocity Limit, Velocity I and P, Position D, I and P.
@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("xl330-m077", (1620, 400, 40, 0, 400, 400)),
        ("xl330-m288", (445, 1600, 180, 0, 0, 400)),
        ("xl330-m288-fw53", (445, 1600, 180, 0, 0, 400)),
        ("xl430-w250", (265, 1000, 100, 4000, 0, 640)),
        ("xm430-w350", (200, 1920, 100, 0, 0, 800)),
    ],
)
def test_what_a_model_begins_with_is_the_manuals(name, defaults):
    registers = load_model(name).registers
    gains = ("velocity_i", "velocity_p", "position_d", "position_i", "position_p")
    assert tuple(registers[key].default for key in ("velocity_limit", *gains)) == defaults


def test_a_motor_between_and_beyond_its_data_sheets_points():
    motor = load_model("xl330-m077").motor
    assert motor.at(5.0).stall_torque == motor.stall_torque
    between = motor.at(5.5)
    assert between.stall_torque == pytest.approx((0.215 + 0.228) / 2)
    assert between.resistance == pytest.approx(5.5 / ((1.47 + 1.74) / 2))
    beyond = motor.at(2 * 6.0)
    assert beyond.stall_torque == pytest.approx(2 * 0.228)
    assert beyond.back_emf == pytest.approx(motor.at(6.0).back_emf)
