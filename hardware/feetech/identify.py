"""What servos on a Feetech line say of themselves, judged against robot.toml. Writes nothing.

Gains, limits and mode of these servos are EEPROM, which wears and which survives: they are
compared, and a difference is refused. Nothing here or in the driver writes them.
"""

from __future__ import annotations

import math

from ..bus import DeviceReport
from ..gains import GAINS
from ..identity import position_problems, servo_report, stranger
from ..line_driver import Device, joint_of
from ..model_table import ModelTable
from ..robot import Joint
from .codec import error_text
from .line import FeetechLine

MODES = {0: "position", 1: "velocity", 2: "pwm", 3: "step"}
MODE_CODES = {"position": 0, "velocity": 1}
_HOW = "write it with the maker's tool (lock 0, the value, lock 1)"

# Bits of the phase register: what it must say, and what it means if it does not.
_PHASE_CLEAR = {
    1: "drives the other way round",
    16: "counts many turns in its position",
    128: "measures the other way round",
}
_PHASE_SET = {
    4: "gives speeds in units of 50 counts/s",
    8: "takes a speed of 0 for stop in position mode",
}


def report(line: FeetechLine, device: Device, number: int, firmware: int) -> DeviceReport:
    """Read a servo that has answered with model ``number`` and ``firmware``.

    Raises:
        DeviceError: it stops answering.
    """
    if (other := stranger(device, number, firmware)) is not None:
        return other
    registers = _registers(line, device)
    joint = joint_of(device)
    limits = _limits(device.table, registers)
    problems = _problems(device, joint, registers, limits)
    return servo_report(device, firmware, registers, MODES, GAINS, limits, problems)


def _registers(line: FeetechLine, device: Device) -> dict[str, int]:
    """Every register of a servo, in one read.

    Raises:
        DeviceError: it does not answer.
    """
    registers = device.table.registers
    end = max(r.address + r.size for r in registers.values())
    data = line.read_bytes(device.id, 0, end)
    return {
        name: register.decode(data[register.address : register.address + register.size])
        for name, register in registers.items()
    }


def _limits(table: ModelTable, registers: dict[str, int]) -> dict[str, float]:
    """The servo's own limits in SI units; a servo's angle is its register's, not the joint's."""
    assert table.motor is not None

    def si(name: str) -> float:
        return registers[name] * table.registers[name].unit

    endless = registers["min_position_limit"] == registers["max_position_limit"] == 0
    return {
        "position_min": -math.inf if endless else si("min_position_limit"),
        "position_max": math.inf if endless else si("max_position_limit"),
        "velocity": si("maximum_velocity"),
        "effort": si("max_torque") * table.motor.stall_torque,
        "temperature": si("temperature_limit"),
    }


def _problems(
    device: Device, joint: Joint, registers: dict[str, int], limits: dict[str, float]
) -> list[str]:
    found = []
    mode = registers["operating_mode"]
    if MODES.get(mode) != joint.mode:
        found.append(
            f"{device} is in operating mode {mode} ({MODES.get(mode, 'unknown')}), robot.toml says "
            f"{joint.mode}; set its operating mode to {MODE_CODES[joint.mode]}"
        )
    if registers["status_return_level"] != 1:
        found.append(f"{device} confirms no write; set its status return level to 1: {_HOW}")
    found += _phase_problems(device, registers["phase"])
    for name, value in joint.gains.items():
        if registers[name] != value:
            found.append(
                f"{device} has {name} {registers[name]} in its EEPROM, robot.toml says {value}; "
                f"{_HOW} or change robot.toml"
            )
    if registers["hardware_error"]:
        found.append(
            f"{device} reports a fault ({error_text(registers['hardware_error'])}); mend the "
            "cause, then switch its torque off or cut its power"
        )
    found += _supply_problems(device, registers)
    return found + _limit_problems(device, joint, limits)


def _phase_problems(device: Device, phase: int) -> list[str]:
    wrong = [text for bit, text in _PHASE_CLEAR.items() if phase & bit]
    wrong += [text for bit, text in _PHASE_SET.items() if not phase & bit]
    if not wrong:
        return []
    mended = phase & ~sum(_PHASE_CLEAR) | sum(_PHASE_SET)
    return [
        f"{device} has phase {phase}: it {', '.join(wrong)}; set its phase to {mended} "
        "(direction is `sign` in robot.toml)"
    ]


def _supply_problems(device: Device, registers: dict[str, int]) -> list[str]:
    """The model number does not tell a 7.4 V servo from a 12 V one; its voltage limit does."""
    assert device.table.motor is not None
    nominal, limit = device.table.motor.voltage, 0.1 * registers["max_voltage_limit"]
    if nominal <= limit <= 1.5 * nominal:
        return []
    return [
        f"{device} allows up to {limit:.1f} V, a {device.table.name} is made for {nominal:.1f} V; "
        "name the right variant in robot.toml or mend its max_voltage_limit"
    ]


def _limit_problems(device: Device, joint: Joint, limits: dict[str, float]) -> list[str]:
    found = []
    wanted = joint.limits
    if joint.mode == "velocity" and limits["velocity"] < wanted.velocity < math.inf:
        found.append(
            f"{device} limits itself to {limits['velocity']:.3g} rad/s, robot.toml allows "
            f"{wanted.velocity:.3g}; lower `limits.velocity` in robot.toml"
        )
    if limits["effort"] < wanted.effort < math.inf:
        found.append(
            f"{device} limits itself to {limits['effort']:.3g} N·m, robot.toml allows "
            f"{wanted.effort:.3g}; raise its max_torque or lower `limits.effort` in robot.toml"
        )
    if joint.mode != "position":
        return found
    if math.isinf(limits["position_max"]):
        found.append(
            f"{device} has no position limits, which lets it turn on and on; set its "
            f"max_position_limit to {device.table.turn - 1}"
        )
    return found + position_problems(device, joint, limits)
