"""Time as an argument: nothing else in retort reads the wall clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock that can be waited on."""

    def now(self) -> float:
        """Monotonic time [s]."""
        ...

    def sleep_until(self, deadline: float) -> None:
        """Return at ``deadline`` [s]; at once if it has passed."""
        ...


class RealClock:
    """The machine's monotonic clock, shared by every process on it."""

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        while remaining > 0.0:
            time.sleep(remaining)  # an absolute clock_nanosleep inside, since CPython 3.11
            remaining = deadline - time.monotonic()


class VirtualClock:
    """Time that moves only when somebody waits: deterministic, faster than real time."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = float(start)

    def now(self) -> float:
        return self._now

    def sleep_until(self, deadline: float) -> None:
        self._now = max(self._now, float(deadline))
