"""Where commands come from: what a person asks of the policy, as a function of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..hardware.errors import RetortError
from .contract import Contract


class CommandError(RetortError):
    """A script of commands is not as it must be."""


class CommandSource(Protocol):
    """Somebody who says what the policy should follow."""

    def command(self, time: float) -> np.ndarray:
        """The command (commands,) at ``time`` [s] since the policy took over. Must not block."""
        ...


class Schedule:
    """A script: each entry ``(time, values)`` holds from its time [s] on; zeros before the first.

    Raises:
        CommandError: times do not increase, or an entry has another number of values.
    """

    def __init__(self, contract: Contract, entries: Sequence[tuple[float, Sequence[float]]]):
        size = len(contract.command)
        names = ", ".join(f"{spec.name} [{spec.unit}]" for spec in contract.command) or "none"
        self._times = np.array([time for time, _ in entries], dtype=np.float64)
        if np.any(np.diff(self._times) <= 0):
            raise CommandError(f"command times must increase, got {self._times.tolist()}")
        for time, values in entries:
            if len(values) != size:
                raise CommandError(
                    f"the command at {time} s has {len(values)} values; this policy takes {size}: "
                    f"{names}"
                )
        self._values = np.zeros((len(entries) + 1, size))
        for i, (_, values) in enumerate(entries):
            self._values[i + 1] = values

    def command(self, time: float) -> np.ndarray:
        return self._values[int(np.searchsorted(self._times, time, side="right"))]


def constant(contract: Contract, values: Sequence[float] | None = None) -> Schedule:
    """The same command all the time; zeros if none is given."""
    return Schedule(contract, [(0.0, values)] if values is not None else [])


def within_range(contract: Contract, command: np.ndarray) -> np.ndarray:
    """``command`` clipped to the ranges seen in training, (commands,) float32; NaN becomes 0."""
    low = np.array([spec.low for spec in contract.command], dtype=np.float32)
    high = np.array([spec.high for spec in contract.command], dtype=np.float32)
    return np.clip(np.nan_to_num(np.asarray(command, dtype=np.float32)), low, high)
