"""When ticks are due and how long their parts took."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..hardware.clock import Clock


class Slot(NamedTuple):
    """One turn of the loop."""

    number: int  # slots since the start, skipped ones included
    due: float  # [s]
    start: float  # [s], when it really began


class Slots:
    """Absolute deadlines ``start + number * period``: slots that were missed are skipped and
    counted, so the phase is kept and two ticks are never closer than planned."""

    def __init__(self, start: float, period: float) -> None:
        self._start, self._period = start, period
        self._next = 0
        self.overruns = 0

    def wait(self, clock: Clock) -> Slot:
        """Sleep until the next slot that can still be met."""
        self.overruns += self._skip_past(clock.now())
        due = self._start + self._next * self._period
        clock.sleep_until(due)
        start = clock.now()
        # Woken a whole period or more too late: these slots are lost as well.
        lost = max(0, math.floor((start - due) / self._period + 1e-9))
        self.overruns += lost
        number = self._next + lost
        self._next = number + 1
        return Slot(number, self._start + number * self._period, start)

    def realign(self, clock: Clock) -> None:
        """Go on at the next slot after a pause made on purpose; nothing is counted."""
        self._skip_past(clock.now())

    def _skip_past(self, now: float) -> int:
        """Leave out slots that were due before ``now``; how many."""
        first = math.ceil((now - self._start) / self._period - 1e-9)
        skipped = max(0, first - self._next)
        self._next += skipped
        return skipped


class Spread(NamedTuple):
    """Percentiles of a duration [s]; NaN if nothing was measured."""

    p50: float
    p99: float
    max: float


class Timings:
    """Durations of every tick, percentiles over the last ``capacity`` of them."""

    PARTS = ("lateness", "read", "compute", "write")

    def __init__(self, capacity: int = 360_000) -> None:
        self._rows = np.zeros((capacity, len(self.PARTS)))
        self.count = 0

    def add(self, lateness: float, read: float, compute: float, write: float) -> None:
        """Take over one tick's durations [s]."""
        self._rows[self.count % len(self._rows)] = (lateness, read, compute, write)
        self.count += 1

    def spread(self, part: str) -> Spread:
        """How one of ``PARTS`` was distributed."""
        values = self._rows[: min(self.count, len(self._rows)), self.PARTS.index(part)]
        if not len(values):
            return Spread(math.nan, math.nan, math.nan)
        p50, p99 = np.percentile(values, [50, 99])
        return Spread(float(p50), float(p99), float(values.max()))
