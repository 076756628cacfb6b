"""What identifying a line has in common, whatever its protocol: who is there, and whether it fits.

What a protocol's own registers say is judged in its folder (``dynamixel/identify.py``).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from .bus import DeviceReport
from .errors import DeviceError
from .line import Line
from .line_driver import Device
from .model_table import model_by_number
from .robot import Joint


def ping_all(line: Line, devices: Sequence[Device]) -> list[tuple[Device, int, int]]:
    """Every device with the model number and firmware it answers with.

    Raises:
        DeviceError: devices do not answer; the message names all of them.
    """
    found = [(device, line.ping(device.id)) for device in devices]
    silent = [str(device) for device, answer in found if answer is None]
    if silent:
        raise DeviceError(
            f"{', '.join(silent)} {'does' if len(silent) == 1 else 'do'} not answer at "
            f"{line.port.baud} bit/s; check power, cable, id and baud rate"
        )
    return [(device, *answer) for device, answer in found if answer is not None]


def bare_report(device: Device, model: str, firmware: int, *problems: str) -> DeviceReport:
    """The report of a device of which no registers are known, or that is no servo."""
    return DeviceReport(device.name, device.id, model, firmware, "", {}, {}, False, False, problems)


def servo_report(
    device: Device,
    firmware: int,
    registers: Mapping[str, int],
    modes: Mapping[int, str],
    gains: Sequence[str],
    limits: dict[str, float],
    problems: Sequence[str],
) -> DeviceReport:
    """The report of a servo whose registers were read.

    Args:
        device, firmware: which.
        registers: its values by name.
        modes: what the protocol's operating modes are called.
        gains: names of its gains.
        limits: its own, SI.
        problems: what must be mended before torque.
    """
    mode = registers["operating_mode"]
    return DeviceReport(
        name=device.name,
        id=device.id,
        model=device.table.name,
        firmware=firmware,
        mode=modes.get(mode, f"mode {mode}"),
        limits=limits,
        gains={name: registers[name] for name in gains},
        torque=registers["torque_enable"] == 1,
        alert=registers["hardware_error"] != 0,
        problems=tuple(problems),
    )


def stranger(device: Device, number: int, firmware: int) -> DeviceReport | None:
    """The report of a device that is another model than robot.toml says; None if it is not."""
    if number == device.table.number:
        return None
    model = model_by_number(number)
    name = model.name if model else f"unknown (number {number})"
    return bare_report(
        device,
        name,
        firmware,
        f"{device} is a {name}, robot.toml says {device.table.name}; "
        "fit that model or change robot.toml",
    )


def return_delays(
    line: Line, devices: Sequence[Device], reports: Sequence[DeviceReport]
) -> list[float]:
    """What each device of the model robot.toml names waits before it answers [s].

    Raises:
        DeviceError: one stops answering.
    """
    return [
        line.read(device.id, device.table, "return_delay")
        * device.table.registers["return_delay"].unit
        for device, made in zip(devices, reports, strict=True)
        if made.model == device.table.name
    ]


def position_problems(device: Device, joint: Joint, limits: dict[str, float]) -> list[str]:
    """Where the servo's own position limits are narrower than robot.toml's.

    Args:
        device, joint: which.
        limits: the servo's own, SI, of its register's angle.
    """
    found = []
    ends = [joint.sign * (limits[f"position_{end}"] - joint.zero) for end in ("min", "max")]
    step = device.table.registers["present_position"].unit
    for end, own, want in (
        ("lower", min(ends), joint.limits.position_min),
        ("upper", max(ends), joint.limits.position_max),
    ):
        beyond = own - want if end == "lower" else want - own
        if math.isfinite(want) and beyond > step:
            found.append(
                f"{device} has its {end} position limit at {own:.3f} rad of the joint, robot.toml "
                f"at {want:.3f} rad; widen the servo's limit or narrow robot.toml's"
            )
    return found


def with_problem(reports: Sequence[DeviceReport], problem: str) -> list[DeviceReport]:
    """``reports``, with a problem of the whole line in the first."""
    first = reports[0]
    return [dataclasses.replace(first, problems=(*first.problems, problem)), *reports[1:]]
