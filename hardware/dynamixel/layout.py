"""Which bytes of which registers a tick reads from every device of a DYNAMIXEL line."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from ..errors import RobotFileError
from ..line_driver import Device
from ..robot import Read

# Of a servo, by the name `[read] values` gives it; where it has no current, its load says it.
VALUES = {
    "tick": ("realtime_tick",),
    "effort": ("present_current", "present_load"),
    "velocity": ("present_velocity",),
    "position": ("present_position",),
    "voltage": ("present_voltage",),
    "temperature": ("present_temperature",),
}
_AXES = ("x", "y", "z")
IMU_VALUES = (
    *(f"orientation_{axis}" for axis in ("w", *_AXES)),
    *(f"angular_velocity_{axis}" for axis in _AXES),
    *(f"linear_acceleration_{axis}" for axis in _AXES),
)
HALF = 1 << 16  # what a 16-bit value is multiplied by, standing in the upper half of a word
_WORD = 4


@dataclasses.dataclass(frozen=True)
class Block:
    """What one device is asked for in a tick.

    A value of fewer than 4 bytes is taken as a 32-bit word all the same: one byte in its lowest
    byte, two in its upper half, which extends their sign; ``HALF`` takes that back.

    Attributes:
        address, length: the span read.
        words: (values, 4), for each byte of each value its place in the span; -1: zero. A servo's
            are those ``[read] values`` names, in the order of ``VALUES``; the sensor's
            ``IMU_VALUES``.
        tick: place of the device's clock; -1: not read.
        flags: place of the sensor's status flags.
        windows: addresses that indirect data must show, from its first window on; () if direct.
    """

    address: int
    length: int
    words: np.ndarray
    tick: int = -1
    flags: int = -1
    windows: tuple[int, ...] = ()

    def widened(self, address: int, length: int) -> Block:
        """The same values out of a longer span."""
        shift = self.address - address
        return dataclasses.replace(
            self,
            address=address,
            length=length,
            words=np.where(self.words >= 0, self.words + shift, -1),
            tick=self.tick + shift if self.tick >= 0 else -1,
            flags=self.flags + shift if self.flags >= 0 else -1,
        )


def blocks_of(devices: Sequence[Device], read: Read) -> list[Block]:
    """What to ask of every device, in the order of ``devices``.

    With equal spans one sync read serves all; otherwise it takes a bulk read, whose request names
    a span per device. If the spans differ, they are made equal where that costs fewer bytes.

    Raises:
        RobotFileError: a device lacks what ``read`` wants.
    """
    blocks = [_block_of(device, read) for device in devices]
    if len({(block.address, block.length) for block in blocks}) == 1:
        return blocks
    if any(block.windows for block in blocks):
        return blocks
    first = min(block.address for block in blocks)
    length = max(block.address + block.length for block in blocks) - first
    extra = length * len(blocks) - sum(block.length for block in blocks)
    named = 5 * len(blocks) - (4 + len(blocks))  # bytes of the two requests
    return [block.widened(first, length) for block in blocks] if extra <= named else blocks


def register_of(device: Device, value: str) -> str:
    """The register that holds ``value``.

    Raises:
        RobotFileError: the model has none.
    """
    for name in VALUES[value]:
        if name in device.table.registers:
            return name
    raise RobotFileError(
        f"{device.name}: a {device.table.name} does not report its {value}; take it out of "
        "[read] values"
    )


def _block_of(device: Device, read: Read) -> Block:
    registers = device.table.registers
    tick = ("realtime_tick",) if "tick" in read.values else ()
    if device.joint is None:
        names = [*tick, "status_flags", *IMU_VALUES]
    else:
        names = [register_of(device, value) for value in VALUES if value in read.values]
    spans = [(registers[name].address, registers[name].size) for name in names]
    if any(size not in (1, 2, 4) for _, size in spans):
        raise RobotFileError(f"{device.name}: registers of a {device.table.name} do not fit a tick")
    if device.joint is None or read.layout == "direct":
        first = min(address for address, _ in spans)
        length = max(address + size for address, size in spans) - first
        places = [address - first for address, _ in spans]
        windows: tuple[int, ...] = ()
    else:
        windows = tuple(at + byte for at, size in spans for byte in range(size))
        first, length = _indirect_data(device, len(windows)), len(windows)
        places = list(itertools.accumulate((size for _, size in spans), initial=0))[:-1]
    at = dict(zip(names, places, strict=True))
    values = [name for name in names if name not in ("realtime_tick", "status_flags")]
    return Block(
        first,
        length,
        np.array([_word(at[name], registers[name].size) for name in values]),
        at.get("realtime_tick", -1),
        at.get("status_flags", -1),
        windows,
    )


def _indirect_data(device: Device, count: int) -> int:
    """Where the first of ``count`` windows of indirect data stands."""
    indirect = device.table.indirect
    if not indirect or indirect[0].count < count:
        raise RobotFileError(
            f"{device.name}: a {device.table.name} has "
            f"{indirect[0].count if indirect else 'no'} indirect registers in one block, {count} "
            'are needed; set [read] layout = "direct"'
        )
    return indirect[0].data


def _word(place: int, size: int) -> list[int]:
    """The places of a word's bytes."""
    own = list(range(place, place + size))
    return [-1, -1, *own] if size == 2 else own + [-1] * (_WORD - size)
