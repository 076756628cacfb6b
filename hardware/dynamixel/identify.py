"""What devices on a DYNAMIXEL line say of themselves, judged against robot.toml. Writes nothing."""

from __future__ import annotations

import dataclasses
import math

from ..bus import DeviceReport
from ..gains import GAINS
from ..identity import bare_report, position_problems, servo_report, stranger
from ..line import Line
from ..line_driver import Device
from ..model_table import ModelTable, model_by_number
from ..robot import Joint
from .codec import hardware_error_text

MODES = {0: "effort", 1: "velocity", 3: "position", 4: "position", 5: "position", 16: "pwm"}
MODE_CODES = {"effort": 0, "velocity": 1, "position": 3}


def report(line: Line, device: Device, number: int, firmware: int) -> DeviceReport:
    """Read a device that has answered a ping with ``number`` and ``firmware``.

    Raises:
        DeviceError: it stops answering.
    """
    if (other := stranger(device, number, firmware)) is not None:
        return other
    registers = {
        name: line.read(device.id, device.table, name)
        for name in device.table.registers
        if name in _ASKED
    }
    problems = _firmware(device, number, firmware)
    alert = registers["hardware_error"] != 0
    if device.joint is None:
        problems += [_hardware_error(device, registers)] if alert else []
        made = bare_report(device, device.table.name, firmware, *problems)
        return dataclasses.replace(made, alert=alert)
    limits = _limits(device.table, registers)
    problems += _problems(device, device.joint, registers, limits)
    return servo_report(device, firmware, registers, MODES, GAINS, limits, problems)


_ASKED = {
    "operating_mode",
    "drive_mode",
    "secondary_id",
    "startup_configuration",
    "temperature_limit",
    "current_limit",
    "velocity_limit",
    "max_position_limit",
    "min_position_limit",
    "torque_enable",
    "hardware_error",
    *GAINS,
}


def _firmware(device: Device, number: int, firmware: int) -> list[str]:
    """A problem if another table is the right one for this firmware."""
    first, last = device.table.firmware_range
    other = model_by_number(number, firmware)
    if first <= firmware <= last or other is None:
        return []
    return [
        f"{device} has firmware {firmware}, {device.table.name} stands for {first} to {last}; "
        f'write servo = "{other.name}" in robot.toml'
    ]


def _limits(table: ModelTable, registers: dict[str, int]) -> dict[str, float]:
    """The servo's own limits in SI units; a servo's angle is its register's, not the joint's."""

    def si(name: str) -> float:
        return registers[name] * table.registers[name].unit

    assert table.motor is not None
    return {
        "position_min": si("min_position_limit"),
        "position_max": si("max_position_limit"),
        "velocity": si("velocity_limit"),
        "effort": (
            si("current_limit") * table.motor.torque_constant
            if "current_limit" in registers
            else table.motor.stall_torque
        ),
        "temperature": si("temperature_limit"),
    }


def _problems(
    device: Device, joint: Joint, registers: dict[str, int], limits: dict[str, float]
) -> list[str]:
    who = str(device)
    found = []
    mode = MODES.get(registers["operating_mode"], "")
    if mode != joint.mode:
        found.append(
            f"{who} is in operating mode {registers['operating_mode']} ({mode or 'unknown'}), "
            f"robot.toml says {joint.mode}; set its operating mode to {MODE_CODES[joint.mode]}"
        )
    if registers["drive_mode"] & 1:
        found.append(
            f"{who} is reversed by its drive mode; clear bit 0, direction is `sign` in robot.toml"
        )
    if registers["drive_mode"] & 8:
        found.append(
            f"{who} switches torque on at any goal write, so torque-off would not last; clear bit "
            "3 of its drive mode"
        )
    if registers["secondary_id"] <= 252:
        found.append(
            f"{who} also answers to the id {registers['secondary_id']}, so that what is meant for "
            "another moves it, too; set its secondary id to 255"
        )
    if registers["startup_configuration"] & 1:
        found.append(
            f"{who} switches torque on by itself at power-up; clear bit 0 of its startup "
            "configuration"
        )
    if registers["hardware_error"]:
        found.append(_hardware_error(device, registers))
    wanted = joint.limits
    for name, unit in (("effort", "N·m"), ("velocity", "rad/s")):
        want = getattr(wanted, name)
        if joint.mode == name and math.isfinite(want) and limits[name] < want:
            found.append(
                f"{who} limits itself to {limits[name]:.3g} {unit}, robot.toml allows {want:.3g}; "
                f"raise its limit register or lower `limits.{name}` in robot.toml"
            )
    if joint.mode == "position" and registers["operating_mode"] == 3:
        found += position_problems(device, joint, limits)
    return found


def _hardware_error(device: Device, registers: dict[str, int]) -> str:
    text = hardware_error_text(registers["hardware_error"])
    return f"{device} reports a hardware error ({text}); mend the cause, then reboot it"
