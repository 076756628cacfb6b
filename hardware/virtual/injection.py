"""Faults at work: what becomes of an answer on the wire, and of devices, encoders and ports.

Every fault draws from a generator of its own, so that one more leaves the others as they were.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .faults import (
    AnswerFault,
    BrownOut,
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    Fault,
    Garbage,
    IdClash,
    JumpingEncoder,
    Merge,
    Overheat,
    Overload,
    Silence,
    StaleImu,
    StuckEncoder,
    Truncate,
    Unplug,
)

if TYPE_CHECKING:
    from .robot import VirtualRobot


@dataclasses.dataclass
class FaultCounts:
    """What has been injected: answers by what befell them, unheard packets, and events."""

    dropped: int = 0
    corrupted: int = 0
    truncated: int = 0
    merged: int = 0
    delayed: int = 0
    duplicated: int = 0
    garbage: int = 0  # answers with random bytes before them
    silenced: int = 0  # packets a silent device did not hear
    events: int = 0  # brown-outs, overloads, unplugged ports and so on that have begun


class Fate(NamedTuple):
    """What becomes of one answer."""

    data: bytes
    delay: float = 0.0  # [s]
    merge: bool = False  # the adapter keeps it until the next
    whole: bool = True  # a device that waits for it hears it end


class Injector:
    """Decides the fate of answers by the faults added to it.

    Args:
        seed: of all chances.
    """

    def __init__(self, *seed: int) -> None:
        self.counts = FaultCounts()
        self._seed = seed
        self._answer: list[tuple[AnswerFault, np.random.Generator]] = []
        self._silence: list[Silence] = []
        self._added = 0

    def add(self, fault: Fault) -> None:
        """Let ``fault`` act on answers from now on; other kinds are the virtual robot's."""
        random = np.random.default_rng([*self._seed, self._added])
        self._added += 1
        if isinstance(fault, AnswerFault):
            self._answer.append((fault, random))
        elif isinstance(fault, Silence):
            self._silence.append(fault)

    def clear(self) -> None:
        """No answer is befallen by anything any more."""
        self._answer.clear()
        self._silence.clear()

    def silent(self, device: str, time: float) -> bool:
        """Whether ``device`` does not hear a packet that ended at ``time`` [s]."""
        if any(fault.device == device and fault.during(time) for fault in self._silence):
            self.counts.silenced += 1
            return True
        return False

    def befall(
        self, device: str, data: bytes, asked: float, bits: int, continues: bool
    ) -> Fate | None:
        """What becomes of ``data``, which ``device`` answers to what was asked at ``asked`` [s].

        Args:
            bits: the longest burst ``Corrupt`` may damage.
            continues: ``data`` continues a frame.

        Returns:
            None if the answer is not sent.
        """
        fate, counts = Fate(data), self.counts
        for fault, random in self._answer:
            if not fault.during(asked) or fault.device not in ("", device):
                continue
            if fault.rate < 1.0 and random.random() >= fault.rate:
                continue
            if isinstance(fault, Drop):
                counts.dropped += 1
                return None
            if isinstance(fault, Corrupt):
                counts.corrupted += 1
                fate = fate._replace(data=burst(fate.data, random, bits))
            elif isinstance(fault, Truncate):
                counts.truncated += 1
                kept = int(random.integers(1, max(2, len(data))))
                fate = fate._replace(data=fate.data[:kept], whole=False)
            elif isinstance(fault, Delay):
                counts.delayed += 1
                fate = fate._replace(delay=fate.delay + fault.seconds)
            elif isinstance(fault, Duplicate):
                counts.duplicated += 1
                fate = fate._replace(data=fate.data + fate.data)
            elif isinstance(fault, Merge):
                counts.merged += 1
                fate = fate._replace(merge=True)
            elif isinstance(fault, Garbage) and not continues:
                counts.garbage += 1
                noise = random.bytes(int(random.integers(1, fault.size + 1)))
                fate = fate._replace(data=noise + fate.data)
        return fate


def burst(data: bytes, random: np.random.Generator, longest: int = 16) -> bytes:
    """``data`` with one burst of 1 to ``longest`` bits damaged: its first and last bit inverted."""
    bits = 8 * len(data)
    length = min(int(random.integers(1, longest + 1)), bits)
    start = int(random.integers(0, bits - length + 1))
    pattern = 1 | 1 << (length - 1) | int(random.integers(0, 1 << length))
    damaged = int.from_bytes(data, "little") ^ pattern << start
    return damaged.to_bytes(len(data), "little")


BEYOND = 5.0  # [°C] above its limit is where an overheated servo is


def _brown_out(robot: VirtualRobot, fault: BrownOut, on: bool) -> None:
    (robot.power_off if on else robot.power_on)(fault.device)


def _overload(robot: VirtualRobot, fault: Overload, on: bool) -> None:
    robot.device(fault.device).overload()


def _overheat(robot: VirtualRobot, fault: Overheat, on: bool) -> None:
    servo = robot.device(fault.device)
    servo.temperature = servo.registers["temperature_limit"] + BEYOND


def _unplug(robot: VirtualRobot, fault: Unplug, on: bool) -> None:
    (robot.unplug if on else robot.replug)(fault.line)


def _encoder(robot: VirtualRobot, fault: StuckEncoder | JumpingEncoder, on: bool) -> None:
    joint = robot.robot.joints.index(fault.device)
    if not on:
        robot.encoders.mend(joint)
    elif isinstance(fault, StuckEncoder):
        robot.encoders.stick(joint)
    else:
        robot.encoders.offset(joint, fault.angle)


def _stale_imu(robot: VirtualRobot, fault: StaleImu, on: bool) -> None:
    assert robot.imu is not None
    robot.imu.frozen = on


def _id_clash(robot: VirtualRobot, fault: IdClash, on: bool) -> None:
    id = robot.ids[fault.other if on else fault.device]
    robot.device(fault.device).registers["id"] = id


# What a fault does to the whole robot when it begins (True) and ends (False).
ACTIONS: dict[type[Fault], Callable[[VirtualRobot, Any, bool], None]] = {
    BrownOut: _brown_out,
    Overload: _overload,
    Overheat: _overheat,
    Unplug: _unplug,
    StuckEncoder: _encoder,
    JumpingEncoder: _encoder,
    StaleImu: _stale_imu,
    IdClash: _id_clash,
}
