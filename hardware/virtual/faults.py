"""Faults a virtual line can be asked for. All off by default; a real port never sees this file."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delay:
    """The answers a device owes within a span of time come ``seconds`` late, old data and all."""

    device: str  # joint name or "imu"
    start: float  # [s]
    end: float  # [s]
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silence:
    """A device neither hears nor answers within a span of time."""

    device: str  # joint name or "imu"
    start: float  # [s]
    end: float = float("inf")  # [s]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faults:
    """A profile of faults; with the line's seed it is the same in every run.

    ``drop`` and ``corrupt`` are probabilities per answer: a dropped answer is never sent; a
    corrupted one has one burst of at most 16 bits inverted.
    """

    drop: float = 0.0
    corrupt: float = 0.0
    delay: tuple[Delay, ...] = ()
    silence: tuple[Silence, ...] = ()

    def __post_init__(self) -> None:
        for name in ("drop", "corrupt"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}; it is a probability, 0 to 1")

    def delayed(self, device: str, time: float) -> float:
        """How late an answer asked for at ``time`` comes [s]."""
        return sum(d.seconds for d in self.delay if d.device == device and d.start <= time < d.end)

    def silent(self, device: str, time: float) -> bool:
        """Whether ``device`` is silent at ``time`` [s]."""
        return any(s.device == device and s.start <= time < s.end for s in self.silence)


@dataclasses.dataclass
class FaultCounts:
    """What has been injected."""

    dropped: int = 0
    corrupted: int = 0
    delayed: int = 0
    silenced: int = 0  # packets a silent device did not hear


def burst(data: bytes, random: np.random.Generator) -> bytes:
    """``data`` with one burst of 1 to 16 bits damaged: its first and last bit are inverted."""
    bits = 8 * len(data)
    length = min(int(random.integers(1, 17)), bits)
    start = int(random.integers(0, bits - length + 1))
    pattern = 1 | 1 << (length - 1) | int(random.integers(0, 1 << length))
    damaged = int.from_bytes(data, "little") ^ pattern << start
    return damaged.to_bytes(len(data), "little")
