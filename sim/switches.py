"""Lasting changes of a robot in the middle of an episode: what changes, when, and to what."""

from __future__ import annotations

import dataclasses

from ..hardware.errors import RetortError

QUANTITIES = ("payload", "motor_strength", "friction")


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
