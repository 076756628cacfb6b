"""Lasting changes of a robot in the middle of an episode: what changes, when, and to what."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..hardware.errors import RetortError

QUANTITIES = ("payload", "motor_strength", "friction")
_NEVER = np.iinfo(np.int64).max


class SwitchError(RetortError):
    """A switch that cannot be."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Switch:
    """A lasting change at a random time of every episode.

    ``quantity`` is ``payload`` (fraction of the whole nominal mass), ``motor_strength`` or
    ``friction`` (both relative to nominal).
    """

    quantity: str
    time: tuple[float, float]  # [s] drawn between
    value: tuple[float, float]  # drawn between

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise SwitchError(
                f"there is no switch of {self.quantity!r}; there are {', '.join(QUANTITIES)}"
            )
        if not 0 <= self.time[0] <= self.time[1] or not 0 <= self.value[0] <= self.value[1]:
            raise SwitchError(
                f"a switch needs rising, non-negative time and value, got {self.time}, {self.value}"
            )


class SwitchTimes:
    """When each switch comes in each of the running episodes.

    ``ticks`` (num_envs, switches) are counted from the start of the episode.
    """

    def __init__(self, switches: tuple[Switch, ...], num_envs: int, period: float) -> None:
        self._switches, self._period = switches, period
        self.ticks = np.full((num_envs, len(switches)), _NEVER)

    def draw(self, ids: np.ndarray, rng: np.random.Generator) -> None:
        """Times in new episodes of ``ids``."""
        for number, switch in enumerate(self._switches):
            seconds = rng.uniform(*switch.time, len(ids))
            self.ticks[ids, number] = np.rint(seconds / self._period)

    def due(
        self, elapsed: np.ndarray, rng: np.random.Generator
    ) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """What changes now: a quantity, in which environments, (k,), and to which values, (k,).

        Args:
            elapsed: (num_envs,) ticks of the running episodes.
            rng: draws the values.
        """
        now = self.ticks == elapsed[:, None]
        changes = []
        for number in np.flatnonzero(now.any(axis=0)):
            switch, ids = self._switches[number], np.flatnonzero(now[:, number])
            changes.append((switch.quantity, ids, rng.uniform(*switch.value, len(ids))))
        return changes
