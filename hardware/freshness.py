"""Telling a fresh answer from a late one by the device's own clock."""

from __future__ import annotations

WRAP = 32_768.0  # a realtime tick counts 0 to 32767 ms
GAIN = 0.05  # of an accepted sample's age, taken over into the offset: follows a clock that drifts


class TickTracker:
    """The offset between one device's realtime tick and the host's clock.

    ``age = heard - tick - offset`` (modulo 32.768 s): how much older a sample is than the request
    it seems to answer. The offset slowly follows the device's clock, and only along samples that
    were accepted: a train of late ones cannot drag it. At 100 Hz a clock that is off by 1 % lags
    by 2 ms.

    Args:
        tolerance: largest age of a sample that answers the present request [s].
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = 1000.0 * tolerance
        self._offset: float | None = None  # [ms]

    def synchronise(self, heard: float, tick: int) -> None:
        """Start from one exchange known to be in step; of several, the freshest counts."""
        if self._offset is None or self._difference(heard, tick) < 0.0:
            self._offset = 1000.0 * heard - tick

    def forget(self) -> None:
        """Start anew, for instance before ``synchronise`` after a reboot."""
        self._offset = None

    def accept(self, tick: int, heard: float, received: float) -> bool:
        """Whether a sample belongs to the present request; follows the clock if it does.

        Args:
            tick: the device's realtime tick [ms].
            heard: when the request's last byte left the host [s].
            received: now [s]; a sample cannot be newer.

        Returns:
            False for a sample older than ``tolerance``, or from a clock that has jumped.
        """
        if self._offset is None:
            self.synchronise(heard, tick)
            return True
        difference = self._difference(heard, tick)
        newest = -1000.0 * max(0.0, received - heard) - self._tolerance
        if not newest <= difference <= self._tolerance:
            return False
        self._offset += GAIN * difference
        return True

    def _difference(self, heard: float, tick: int) -> float:
        """Age [ms], between minus and plus half of the wrap."""
        assert self._offset is not None
        return (1000.0 * heard - tick - self._offset + WRAP / 2) % WRAP - WRAP / 2
