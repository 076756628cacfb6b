"""Between a tick's bytes and register counts: the answers of all servos, and their goals.

A servo's angle [rad] is its position register times the register's unit; robot.toml's sign and
zero make it the joint's. Torque is current times the model's torque constant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..line_driver import Device, joint_of
from ..readings import EFFORT, POSITION, TEMPERATURE, VELOCITY, VOLTAGE, Readings
from . import codec
from .codec import BROADCAST, HEADER, OVERHEAD, Instruction

ADDRESS, LENGTH = 56, 15  # present position to present current
GOALS = {"position": "goal_position", "velocity": "goal_velocity"}
_MOTION = slice(POSITION, VELOCITY - 1, VELOCITY - POSITION)  # rows of position and velocity
_SIGN = 0x8000  # of positions, velocities and currents
_RAW = np.arange(2 * _SIGN)
_SIGNED = np.where(_RAW < _SIGN, _RAW, _SIGN - _RAW).astype(float)  # by what stands on the wire


class BlockReader:
    """Reads the answers of ``ids`` when all came, one behind the other, as they should.

    Args:
        ids: in the order asked.
        length: data bytes of each, at least ``LENGTH``.

    Attributes:
        size: bytes of all answers.
        counts: (5, k) what the last ``read`` gave, rows as in ``Readings``.
        errors: (k,) the error bytes of the last ``read``.
    """

    def __init__(self, ids: Sequence[int], length: int) -> None:
        each = OVERHEAD + length
        self.size = len(ids) * each
        self.counts = np.zeros((5, len(ids)))
        self._buffer = bytearray(self.size)
        frames = np.frombuffer(self._buffer, np.uint8).reshape(-1, each)
        self._heads, self._bodies, self.errors = frames[:, :4], frames[:, 2:], frames[:, 4]
        self._motion = self._words(each, 5, 2).T  # position, velocity
        self._current = self._words(each, 18, 1)[:, 0]
        self._health = frames[:, 11:13].T  # voltage, temperature
        self._expected = b"".join(HEADER + bytes((id, length + 2)) for id in ids)
        self._sums = b"\xff" * len(ids)

    def read(self, data: bytes) -> bool:
        """Take ``size`` bytes of answers; false if a head or a checksum is wrong, so that the
        parser must look for what there is."""
        self._buffer[:] = data
        if self._heads.tobytes() != self._expected:
            return False
        if np.add.reduce(self._bodies, 1, np.uint8).tobytes() != self._sums:
            return False
        counts = self.counts
        counts[_MOTION] = _SIGNED.take(self._motion)
        counts[EFFORT] = _SIGNED.take(self._current)
        counts[VOLTAGE:] = self._health
        return True

    def _words(self, each: int, offset: int, count: int) -> np.ndarray:
        """A view of ``count`` words at ``offset`` of every frame, (k, count)."""
        rows = self.size // each
        return np.ndarray((rows, count), "<u2", self._buffer, offset, (each, 2))


class Request:
    """One prebuilt way of asking some servos for their present block.

    Args:
        devices: in the order asked.
        own: their places among the line's devices; ``slice(None)`` for all.
        length: data bytes of each answer.

    Attributes:
        packet: what to send.
        reader: what reads the answers.
        joints: what picks their joints of the robot.
    """

    def __init__(self, devices: Sequence[Device], own: slice | np.ndarray, length: int) -> None:
        ids = [device.id for device in devices]
        self.own, self.length = own, length
        self.packet = codec.sync_read(ids, ADDRESS, length)
        self.reader = BlockReader(ids, length)
        self.joints = _span_of([device.index for device in devices])


class Goals:
    """The sync write of all joints in one mode, prebuilt but for the values.

    Args:
        mode: "position" or "velocity".
        servos: of one line.
    """

    def __init__(self, mode: str, servos: Sequence[Device]) -> None:
        self.mode = mode
        chosen = [device for device in servos if joint_of(device).mode == mode]
        self._chosen = chosen
        registers = [device.table.register(GOALS[mode]) for device in chosen]
        self._joints = _span_of([device.index for device in chosen])
        joints = [joint_of(device) for device in chosen]
        self._factor = np.array([j.sign / r.unit for j, r in zip(joints, registers, strict=True)])
        self._bias = np.zeros(len(chosen))
        if mode == "position":  # within the one turn that the present position has
            # Plus a half: positions are rounded by cutting off.
            self._bias[:] = [j.zero / r.unit + 0.5 for j, r in zip(joints, registers, strict=True)]
            self._low = np.zeros(len(chosen))
            self._high = np.array([float(device.table.turn - 1) for device in chosen])
        else:
            self._low = np.array([float(r.min or 0) for r in registers])
            self._high = np.array([float(r.max or 0) for r in registers])
        size = registers[0].size
        blocks = [(device.id, bytes(size)) for device in chosen]
        self._packet = bytearray(codec.sync_write(registers[0].address, blocks))
        self._values = np.frombuffer(
            memoryview(self._packet)[7:-1],
            np.dtype({"names": ["value"], "formats": ["<u2"], "offsets": [1], "itemsize": 3}),
        )["value"]

    def packet(self, target: np.ndarray) -> bytes:
        """The packet for targets of the whole robot, (joints,) SI, cut to what registers take."""
        counts = target[self._joints] * self._factor
        counts += self._bias
        np.maximum(counts, self._low, out=counts)
        np.minimum(counts, self._high, out=counts)
        if self.mode == "velocity":
            counts = np.rint(counts)
            counts = np.where(counts < 0.0, _SIGN - counts, counts)
        self._values[:] = counts  # which cuts off what is behind the point
        packet = self._packet
        packet[-1] = codec.checksum(packet[2:-1])
        return bytes(packet)

    def packet_for(self, target: np.ndarray, armed: np.ndarray) -> bytes | None:
        """As ``packet``, for the armed joints alone; None if there is none.

        Args:
            target: (joints,) SI.
            armed: (joints,) bool.
        """
        whole = self.packet(target)
        blocks = [
            whole[7 + 3 * k : 10 + 3 * k]
            for k, device in enumerate(self._chosen)
            if armed[device.index]
        ]
        if not blocks:
            return None
        return codec.frame(BROADCAST, Instruction.SYNC_WRITE, whole[5:7] + b"".join(blocks))


def scale(readings: Readings, servos: Sequence[Device]) -> None:
    """Set what makes the counts of ``servos`` SI."""
    for device in servos:
        joint, motor = joint_of(device), device.table.motor
        assert motor is not None
        unit = {name: register.unit for name, register in device.table.registers.items()}
        factors = {
            EFFORT: joint.sign * unit["present_current"] * motor.torque_constant,
            VELOCITY: joint.sign * unit["present_velocity"],
            POSITION: joint.sign * unit["present_position"],
            VOLTAGE: unit["present_voltage"],
            TEMPERATURE: unit["present_temperature"],
        }
        for row, factor in factors.items():
            bias = -joint.sign * joint.zero if row == POSITION else 0.0
            readings.scale(device.index, row, factor, bias)


def _span_of(indices: Sequence[int]) -> slice | np.ndarray:
    """What picks ``indices`` of an array, a slice where they follow one another."""
    first = indices[0] if indices else 0
    if list(indices) == list(range(first, first + len(indices))):
        return slice(first, first + len(indices))
    return np.array(indices)
