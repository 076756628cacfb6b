"""A servo's position as its firmware counts it: encoder, direction, whole turns, homing offset."""

from __future__ import annotations

import math

from .registers import RegisterFile

POSITION = 3  # operating mode that knows one turn only
REVERSE = 1  # bit of Drive Mode
LARGEST_OFFSET = 1024  # [counts] that counts in that mode
WATCHED = ("drive_mode", "homing_offset", "operating_mode")


class Encoder:
    """``position = sense * angle * turn / 2 pi + turns + homing offset`` [counts].

    The firmware counts whole turns while it has power and forgets them when it is told to. The
    offset is never reversed.

    Args:
        registers: the servo's; read when ``load`` is called.

    Attributes:
        sense: -1 where Drive Mode reverses the direction, else 1.
        per_radian: counts per radian.
    """

    def __init__(self, registers: RegisterFile) -> None:
        self.sense = 1.0
        self.turn = registers.table.turn
        self.per_radian = self.turn / math.tau
        self._registers = registers
        self._counted = 0  # whole turns added to the encoder's angle [counts]
        self._offset = 0
        self.load()

    def load(self) -> None:
        """Take direction and offset over from the registers."""
        registers = self._registers
        self.sense = -1.0 if registers["drive_mode"] & REVERSE else 1.0
        offset = registers["homing_offset"]
        ignored = registers["operating_mode"] == POSITION and abs(offset) > LARGEST_OFFSET
        self._offset = 0 if ignored else offset

    def position(self, angle: float) -> int:
        """Present position [counts] with the shaft at ``angle`` [rad]."""
        return round(self.sense * angle * self.per_radian) + self._counted + self._offset

    def velocity(self, speed: float) -> float:
        """[counts/s] at the shaft's ``speed`` [rad/s]."""
        return self.sense * speed * self.per_radian

    def forget_turns(self, angle: float) -> int:
        """Count from within one turn again, the shaft at ``angle``; how the position changed."""
        turns = (self.position(angle) - self._offset) // self.turn
        self._counted -= turns * self.turn
        return -turns * self.turn
