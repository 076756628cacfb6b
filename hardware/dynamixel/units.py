"""Between counts and SI units on a DYNAMIXEL line: what readings are worth, and goals.

A servo's angle [rad] is its position register times the register's unit; robot.toml's sign and
zero make it the joint's. Torque is current times the model's torque constant; a servo that reports
no current reports its load, a share of its stall torque.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fastcrc.crc16 import umts as crc16

from ..errors import RobotFileError
from ..line_driver import Device, joint_of
from ..readings import EFFORT, POSITION, TEMPERATURE, VELOCITY, VOLTAGE, Readings
from . import codec
from .codec import BROADCAST, Instruction
from .layout import HALF, IMU_VALUES, VALUES

GOALS = {"effort": "goal_current", "velocity": "goal_velocity", "position": "goal_position"}
ROWS = {
    "effort": EFFORT,
    "velocity": VELOCITY,
    "position": POSITION,
    "voltage": VOLTAGE,
    "temperature": TEMPERATURE,
}
_BODY = 7  # where what is stuffed begins
_BLOCKS = 12  # where the first block of a sync write begins


def scale(readings: Readings, devices: Sequence[Device]) -> None:
    """Tell ``readings`` what the devices' counts are worth."""
    for device in devices:
        registers = device.table.registers
        if device.joint is None:
            readings.imu_factor[:] = [registers[name].unit / HALF for name in IMU_VALUES]
            continue
        for value, row in ROWS.items():
            sizes = [registers[name].size for name in VALUES[value] if name in registers]
            if not sizes:
                continue
            factor = unit_of(device, value) / (HALF if sizes[0] == 2 else 1)
            bias = -device.joint.sign * device.joint.zero if value == "position" else 0.0
            readings.scale(device.index, row, factor, bias)


def unit_of(device: Device, value: str) -> float:
    """What a count of a value is worth, in SI units of the joint."""
    registers, motor = device.table.registers, device.table.motor
    assert motor is not None
    name = next(name for name in VALUES[value] if name in registers)
    unit = registers[name].unit
    if value not in GOALS:
        return unit
    if value == "effort":
        unit *= motor.stall_torque if name == "present_load" else motor.torque_constant
    return unit * joint_of(device).sign


class Goals:
    """The sync write of a line's joints in one mode, prebuilt but for the values and the CRC.

    A servo refuses a goal beyond its own limits and keeps to the one before, so goals are cut to
    what it takes: of its registers, and of its limits once they are known (``limit``).

    Raises:
        RobotFileError: a servo does not have the mode.
    """

    def __init__(self, mode: str, servos: Sequence[Device]) -> None:
        chosen = [device for device in servos if joint_of(device).mode == mode]
        for device in chosen:
            if GOALS[mode] not in device.table.registers:
                raise RobotFileError(
                    f"{device.name}: a {device.table.name} has no {mode} mode; its modes are "
                    f"{', '.join(m for m, r in GOALS.items() if r in device.table.registers)}"
                )
        registers = [device.table.registers[GOALS[mode]] for device in chosen]
        address, size = registers[0].address, registers[0].size
        if any((r.address, r.size) != (address, size) for r in registers):
            raise RobotFileError(f"goals of {mode} stand at different addresses on one line")
        indices = [device.index for device in chosen]
        everyone = indices == list(range(len(indices)))
        self._joints = slice(0, len(indices)) if everyone else np.array(indices)
        self._per_unit = 1.0 / np.array([unit_of(device, mode) for device in chosen])
        zeros = [joint_of(d).zero * joint_of(d).sign for d in chosen]
        self._shift = np.array(zeros if mode == "position" else [0.0] * len(chosen))
        self._shift *= self._per_unit
        self._low = np.array([r.span[0] if r.min is None else r.min for r in registers], float)
        self._high = np.array([r.span[1] if r.max is None else r.max for r in registers], float)
        self._places = {device.index: place for place, device in enumerate(chosen)}
        self._widest = self._low.copy(), self._high.copy()
        self._counts = np.empty(len(chosen))
        self._frame = bytearray(
            codec.sync_write(address, [(device.id, bytes(size)) for device in chosen])
        )
        self._body = memoryview(self._frame)[:-2]
        blocks = np.dtype([("id", "u1"), ("value", {2: "<i2", 4: "<i4"}[size])])
        self._values = np.frombuffer(self._frame, blocks, len(chosen), _BLOCKS)["value"]

    def limit(self, device: Device, own: tuple[int, int] | None) -> None:
        """Cut the goals of ``device`` to the lowest and highest it takes [counts]; None: to what
        its register takes."""
        place = self._places[device.index]
        low, high = (float(widest[place]) for widest in self._widest)
        if own is not None:
            low, high = max(low, own[0]), min(high, own[1])
        self._low[place], self._high[place] = low, high

    def packet(self, target: np.ndarray) -> bytes:
        """The packet for targets (joints,) in SI units, cut to what the servos take."""
        counts = self._counts
        np.multiply(target[self._joints], self._per_unit, counts)
        np.add(counts, self._shift, counts)
        np.rint(counts, counts)
        np.maximum(counts, self._low, out=counts)
        np.minimum(counts, self._high, out=counts)
        self._values[...] = counts
        body = bytes(self._body)
        if body.find(b"\xff\xff\xfd", _BODY) >= 0:
            return codec.frame(BROADCAST, Instruction.SYNC_WRITE, body[_BODY + 1 :])
        return body + crc16(body).to_bytes(2, "little")
