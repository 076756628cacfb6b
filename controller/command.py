"""Where commands come from: what a person asks of the policy, as a function of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..hardware.errors import RetortError
from .contract import CommandSpec, Contract


class CommandError(RetortError):
    """A script of commands is not as it must be."""


class CommandSource(Protocol):
    """Somebody who says what the policy should follow."""

    def command(self, time: float) -> np.ndarray:
        """The command (commands,) at ``time`` [s] since the policy took over. Must not block."""
        ...


class Schedule:
    """A script: each entry ``(time, values)`` holds from its time [s] on; ``resting`` before the
    first.

    Raises:
        CommandError: times do not increase, an entry has another number of values, or a value is
            outside the range seen in training.
    """

    def __init__(self, contract: Contract, entries: Sequence[tuple[float, Sequence[float]]]):
        size = len(contract.command)
        self._times = np.array([time for time, _ in entries], dtype=np.float64)
        if np.any(np.diff(self._times) <= 0):
            raise CommandError(f"command times must increase, got {self._times.tolist()}")
        for time, values in entries:
            if len(values) != size:
                raise CommandError(
                    f"the command at {time:g} s has {len(values)} values; this policy takes "
                    f"{size}: {_ranges(contract)}"
                )
            for spec, value in zip(contract.command, values, strict=True):
                if not spec.low <= value <= spec.high:
                    raise CommandError(
                        f"the command at {time:g} s asks for {spec.name} {value:g} {spec.unit}; "
                        f"this policy was trained with {_ranges(contract)}"
                    )
        self._values = np.array([resting(contract.command), *(values for _, values in entries)])

    def command(self, time: float) -> np.ndarray:
        return self._values[int(np.searchsorted(self._times, time, side="right"))]


def constant(contract: Contract, values: Sequence[float] | None = None) -> Schedule:
    """The same command all the time; ``resting`` if none is given."""
    return Schedule(contract, [(0.0, values)] if values is not None else [])


def resting(components: Sequence[CommandSpec]) -> np.ndarray:
    """What holds where nobody asks for anything, (commands,): 0 where that is in a component's
    range, or else the middle of it. Zero itself is the corner of an arm's workspace.
    """
    return np.array(
        [0.0 if spec.low <= 0 <= spec.high else (spec.low + spec.high) / 2 for spec in components]
    )


def described(contract: Contract, command: Sequence[float] | np.ndarray) -> str:
    """A command (commands,) in words, each value with its name and unit."""
    return ", ".join(
        f"{spec.name} {value:g} {spec.unit}"
        for spec, value in zip(contract.command, command, strict=True)
    )


def within_range(contract: Contract, command: np.ndarray) -> np.ndarray:
    """``command`` clipped to the ranges seen in training, (commands,) float32; NaN becomes 0."""
    low = np.array([spec.low for spec in contract.command], dtype=np.float32)
    high = np.array([spec.high for spec in contract.command], dtype=np.float32)
    return np.clip(np.nan_to_num(np.asarray(command, dtype=np.float32)), low, high)


def _ranges(contract: Contract) -> str:
    return (
        ", ".join(
            f"{spec.name} {spec.low:g} to {spec.high:g} {spec.unit}" for spec in contract.command
        )
        or "none"
    )
