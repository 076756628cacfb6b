"""What devices on a DYNAMIXEL line say of themselves, judged against robot.toml. Writes nothing."""

from __future__ import annotations

import dataclasses
import math

from ..bus import DeviceReport
from ..line import Line
from ..line_driver import Device
from ..model_table import ModelTable, model_by_number
from ..robot import Joint

MODES = {0: "effort", 1: "velocity", 3: "position", 4: "position", 5: "position", 16: "pwm"}
MODE_CODES = {"effort": 0, "velocity": 1, "position": 3}
GAINS = ("velocity_p", "velocity_i", "position_p", "position_i", "position_d")
HARDWARE_ERRORS = {
    0: "supply voltage outside its limits",
    2: "overheating",
    3: "encoder fault",
    4: "electrical shock",
    5: "overload",
}


def report(line: Line, device: Device, number: int, firmware: int) -> DeviceReport:
    """Read a device that has answered a ping with ``number`` and ``firmware``.

    Raises:
        DeviceError: it stops answering.
    """
    if number != device.table.number:
        model = model_by_number(number)
        name = model.name if model else f"unknown (number {number})"
        problem = (
            f"{device.name} (id {device.id}) is a {name}, robot.toml says {device.table.name}; "
            "fit that model or change robot.toml"
        )
        return _empty(device, name, firmware, (problem,))
    registers = {
        name: line.read(device.id, device.table, name)
        for name in device.table.registers
        if name in _ASKED
    }
    problems = _firmware(device, number, firmware)
    alert = registers["hardware_error"] != 0
    if device.joint is None:
        problems += [_hardware_error(device, registers)] if alert else []
        return dataclasses.replace(
            _empty(device, device.table.name, firmware, tuple(problems)), alert=alert
        )
    limits = _limits(device.table, registers)
    return DeviceReport(
        name=device.name,
        id=device.id,
        model=device.table.name,
        firmware=firmware,
        mode=MODES.get(registers["operating_mode"], f"mode {registers['operating_mode']}"),
        limits=limits,
        gains={name: registers[name] for name in GAINS},
        torque=registers["torque_enable"] == 1,
        alert=alert,
        problems=(*problems, *_problems(device, device.joint, registers, limits)),
    )


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


def _empty(device: Device, model: str, firmware: int, problems: tuple[str, ...]) -> DeviceReport:
    return DeviceReport(device.name, device.id, model, firmware, "", {}, {}, False, False, problems)


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
    who = f"{device.name} (id {device.id})"
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
                f"raise its limit register or lower `{name}` in robot.toml"
            )
    if joint.mode == "position" and registers["operating_mode"] == 3:
        ends = [joint.sign * (limits[f"position_{end}"] - joint.zero) for end in ("min", "max")]
        step = device.table.registers["present_position"].unit
        for end, own, want in (
            ("lower", min(ends), wanted.position_min),
            ("upper", max(ends), wanted.position_max),
        ):
            beyond = own - want if end == "lower" else want - own
            if math.isfinite(want) and beyond > step:
                found.append(
                    f"{who} has its {end} position limit at {own:.3f} rad of the joint, robot.toml "
                    f"at {want:.3f} rad; widen the servo's limit or narrow robot.toml's"
                )
    return found


def _hardware_error(device: Device, registers: dict[str, int]) -> str:
    bits = registers["hardware_error"]
    names = [text for bit, text in HARDWARE_ERRORS.items() if bits >> bit & 1]
    return (
        f"{device.name} (id {device.id}) reports a hardware error "
        f"({', '.join(names) or bits}); mend the cause, then reboot it"
    )
