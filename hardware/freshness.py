"""Telling a fresh answer from a late one by the devices' own clocks."""

from __future__ import annotations

import numpy as np

WRAP = 32_768.0  # a realtime tick counts 0 to 32767 ms
GAIN = 0.05  # of an accepted sample's age, taken over into the offset: follows a clock that drifts


class TickTracker:
    """The offsets between devices' realtime ticks and the host's clock.

    ``age = heard - tick - offset`` (modulo 32.768 s): how much older a sample is than the request
    it seems to answer. The offset slowly follows the device's clock, and only along samples that
    were accepted: a train of late ones cannot drag it. At 100 Hz a clock that is off by 1 % lags
    by 2 ms.

    Args:
        tolerance: largest age of a sample that answers the present request [s].
        devices: how many.
    """

    def __init__(self, tolerance: float, devices: int) -> None:
        self._tolerance = 1000.0 * tolerance
        self._offset = np.full(devices, np.nan)  # [ms]

    def synchronise(self, device: int, heard: float, tick: int) -> None:
        """Start from one exchange known to be in step; of several, the freshest counts."""
        offset = 1000.0 * heard - tick
        behind = (offset - self._offset[device] + WRAP / 2) % WRAP - WRAP / 2
        if not behind >= 0.0:  # also where nothing is known yet
            self._offset[device] = offset

    def forget(self, device: int) -> None:
        """Start anew, for instance before ``synchronise`` after a reboot."""
        self._offset[device] = np.nan

    def accept(
        self, devices: slice | np.ndarray, ticks: np.ndarray, heard: float, received: float
    ) -> np.ndarray:
        """Which samples belong to the present request; follows the clocks of those that do.

        A device that was never synchronised is believed, and known from then on.

        Args:
            devices: whose samples they are.
            ticks: (n,) the devices' realtime ticks [ms].
            heard: when the request's last byte left the host [s].
            received: now [s]; a sample cannot be newer.

        Returns:
            (n,) bool; false for a sample older than ``tolerance``, or from a clock that has jumped.
        """
        offset = self._offset[devices]
        age = 1000.0 * heard - ticks
        difference = age - offset
        difference += WRAP / 2
        difference %= WRAP
        difference -= WRAP / 2
        newest = -1000.0 * max(0.0, received - heard) - self._tolerance
        fresh = (difference <= self._tolerance) & (difference >= newest)
        if fresh.all():
            difference *= GAIN
            difference += offset
            self._offset[devices] = difference
            return fresh
        unknown = np.isnan(offset)
        self._offset[devices] = np.where(
            unknown, age, np.where(fresh, offset + GAIN * difference, offset)
        )
        return fresh | unknown
