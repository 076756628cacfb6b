"""What a joint can have done since its last reading.

An 8-bit checksum lets one in 256 answers with several damaged bytes through. What remains of those
is caught here: a jump faster than the joint can move is no reading.
"""

from __future__ import annotations

import math

import numpy as np

from ..readings import POSITION, TEMPERATURE, VELOCITY

SLACK = 8.0  # [counts] quantisation, backlash
WARMING = 3.0  # [°C] a temperature register may change between two readings
CONFIRMATIONS = 3  # readings in a row that fit one another outweigh the one before them

_KEPT = slice(POSITION, TEMPERATURE + 1, TEMPERATURE - POSITION)  # rows compared with the last ones


class Plausibility:
    """The last believed reading of a line's joints, and what may follow it.

    ``|x - x_last| <= fastest (t - t_last) + SLACK`` for positions, ``|v| <= fastest`` for
    velocities, ``WARMING`` for temperatures. A reading that breaks this is not believed, unless
    ``CONFIRMATIONS`` of them in a row follow from one another: then it was the last believed one
    that was wrong, or the joint was moved while nobody heard it.

    Args:
        fastest: what a joint can reach [counts/s], (joints,).
        turn: counts per turn of joints whose position begins anew with every turn, 0 of others;
            (joints,).
        period: between two readings as a rule [s].
    """

    def __init__(self, fastest: np.ndarray, turn: np.ndarray, period: float) -> None:
        n = len(fastest)
        self._fastest, self._turn = fastest, turn
        self._any_wraps = bool(turn.any())
        self._soon = 1.5 * period
        self._reach = np.full((5, n), math.inf)  # within ``_soon``
        self._reach[VELOCITY] = fastest
        self._reach[POSITION] = fastest * self._soon + SLACK
        self._reach[TEMPERATURE] = WARMING
        self._last = np.zeros((5, n))  # rows as in ``Readings``; 0 where only the size counts
        self._time = np.full(n, -math.inf)  # of ``_last`` [s]
        self._together: float | None = None  # if all of ``_last`` were read then, instead
        self._candidate = np.zeros((5, n))
        self._candidate_time = np.full(n, -math.inf)
        self._confirmed = np.zeros(n, dtype=int)

    def forget(self) -> None:
        """The next reading of every joint is believed, if its velocity can be."""
        self._together = None
        self._time.fill(-math.inf)
        self._confirmed.fill(0)

    def judge(
        self, joints: slice | np.ndarray, counts: np.ndarray, time: float
    ) -> np.ndarray | None:
        """Which readings are believed; None if all are.

        Args:
            joints: those that were read; ``slice(None)`` for all of the line.
            counts: (5, k) as in ``Readings``; positions get their turns counted, in place.
            time: of the reading [s].

        Returns:
            (k,) bool.
        """
        everyone = isinstance(joints, slice)
        if everyone and self._together is not None and time - self._together <= self._soon:
            reach = self._reach
        else:
            reach = self._reach_at(joints, time)
        change = counts - self._last[:, joints]
        if self._any_wraps:
            self._shorten(joints, counts, change)
        np.abs(change, out=change)
        possible = np.less_equal(change, reach)
        if np.count_nonzero(possible) < possible.size:
            return self._doubt(joints, counts, np.all(possible, axis=0), time)
        self._last[_KEPT, joints] = counts[_KEPT]
        if everyone:
            self._together = time
        else:
            self._time[joints] = time
        return None

    def _reach_at(self, joints: slice | np.ndarray, time: float) -> np.ndarray:
        if self._together is not None:
            self._time.fill(self._together)
            self._together = None
        reach = self._reach[:, joints].copy()
        reach[POSITION] = self._fastest[joints] * (time - self._time[joints]) + SLACK
        reach[TEMPERATURE, np.isinf(reach[POSITION])] = math.inf
        return reach

    def _doubt(
        self, joints: slice | np.ndarray, counts: np.ndarray, believed: np.ndarray, time: float
    ) -> np.ndarray:
        """Take over what is believed, and what has been confirmed often enough."""
        if self._together is not None:
            self._time.fill(self._together)
            self._together = None
        for k, joint in enumerate(np.arange(len(self._fastest))[joints].tolist()):
            if believed[k] or self._is_confirmed(joint, counts[:, k], time):
                believed[k] = True
                self._confirmed[joint] = 0
                self._last[_KEPT, joint] = counts[_KEPT, k]
                self._time[joint] = time
        return believed

    def _is_confirmed(self, joint: int, counts: np.ndarray, time: float) -> bool:
        change = counts[_KEPT] - self._candidate[_KEPT, joint]
        reach = self._fastest[joint] * (time - self._candidate_time[joint]) + SLACK
        possible = abs(counts[VELOCITY]) <= self._fastest[joint]
        follows = possible and abs(change[0]) <= reach and abs(change[1]) <= WARMING
        # In a row means: nothing was believed since.
        follows = follows and self._time[joint] <= self._candidate_time[joint] > -math.inf
        self._confirmed[joint] = self._confirmed[joint] + 1 if follows else int(possible)
        self._candidate[:, joint] = counts
        self._candidate_time[joint] = time
        return bool(self._confirmed[joint] >= CONFIRMATIONS)

    def _shorten(self, joints: slice | np.ndarray, counts: np.ndarray, change: np.ndarray) -> None:
        """Take the short way round where a position begins anew with every turn."""
        turn = self._turn[joints]
        turns = np.rint(np.divide(change[POSITION], turn, out=np.zeros(len(turn)), where=turn > 0))
        change[POSITION] -= turns * turn
        counts[POSITION] -= turns * turn
