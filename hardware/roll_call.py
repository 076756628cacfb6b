"""Who is asked in a tick, in which order, and what came of it, counted per device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bus import DeviceCounters

SILENT_TICKS = 3  # silent this often in a row, a device is no longer asked in its place
PROBE_TICKS = 10  # between two probes of silent devices, in the end

ANSWERED, LATE, CORRUPT, MISSING, LOST_IN_TAIL, REFUSED, IMPLAUSIBLE = range(7)
_FIELDS = ("answered", "late", "corrupt", "missing", "lost_in_tail", "refused", "implausible")


class RollCall:
    """The devices of one line, by index in the order of robot.toml's ``[read] order``.

    In a chained read a silent device costs every device behind it. So one that was silent for
    ``SILENT_TICKS`` ticks is asked behind all others, where it costs nobody anything but waiting:
    in the next tick, and if it stays silent less and less often, down to every ``PROBE_TICKS``; of
    several silent ones, one in a tick. As soon as it answers it has its place back. Until then the
    order is that of robot.toml, which is what the simulation models: there losses are independent,
    and three in a row of one device as rare as they are on a line.

    Args:
        names: the devices' names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        n = len(self.names)
        self._everyone = tuple(range(n))
        self._counts = np.zeros((len(_FIELDS), n), dtype=np.int64)
        self._whole = 0  # ticks that all of ``_everyone`` have answered, not in ``_counts``
        self._silent_ticks = [0] * n
        self._some_silent = False  # one of them is not 0
        self._silent: list[int] = []  # left their place, the next to be probed first
        self._present = self._everyone
        self._until_probe = self._probe_gap = 1  # [ticks]

    @property
    def counters(self) -> dict[str, DeviceCounters]:
        """What was counted since the bus was opened."""
        total = self._counts.copy()
        total[ANSWERED] += self._whole
        return {
            name: DeviceCounters(
                asked=int(column.sum()), **dict(zip(_FIELDS, map(int, column), strict=True))
            )
            for name, column in zip(self.names, total.T, strict=True)
        }

    @property
    def silent(self) -> tuple[str, ...]:
        """Those that are only probed."""
        return tuple(self.names[index] for index in sorted(self._silent))

    def restore(self) -> None:
        """Everyone has their place again."""
        self._silent_ticks = [0] * len(self.names)
        self._some_silent = False
        self._silent = []
        self._present = self._everyone
        self._until_probe = self._probe_gap = 1

    def call(self) -> tuple[int, ...]:
        """The devices to ask in this tick, in order."""
        if not self._silent:
            return self._everyone
        self._until_probe -= 1
        if self._until_probe > 0 and self._present:
            return self._present
        self._until_probe = self._probe_gap
        self._probe_gap = min(2 * self._probe_gap, PROBE_TICKS)
        return (*self._present, self._silent[0])

    def all_answered(self, asked: tuple[int, ...]) -> None:
        """Everyone who was asked has answered."""
        if asked is self._everyone:
            self._whole += 1
            if self._some_silent:
                self._silent_ticks = [0] * len(self.names)
                self._some_silent = False
        else:
            self.count(asked, [ANSWERED] * len(asked))

    def count(self, asked: tuple[int, ...], outcomes: Sequence[int]) -> None:
        """Take over what came of asking, one of ``ANSWERED`` to ``IMPLAUSIBLE`` per device."""
        for index, outcome in zip(asked, outcomes, strict=True):
            self._counts[outcome, index] += 1
            if outcome == MISSING:
                self._silent_ticks[index] += 1
                self._some_silent = True
            elif outcome != LOST_IN_TAIL:  # that says nothing about the device itself
                self._silent_ticks[index] = 0
        for index in asked:
            silent = index in self._silent
            if silent and self._silent_ticks[index] == 0:
                self._silent.remove(index)
            elif silent:  # probed in vain: the next one's turn
                self._silent.remove(index)
                self._silent.append(index)
            elif self._silent_ticks[index] >= SILENT_TICKS:
                self._silent.insert(0, index)
                self._until_probe = self._probe_gap = 1
        self._present = tuple(i for i in self._everyone if i not in self._silent)


def outcomes_in_chain(
    fresh: Sequence[bool],
    late: Sequence[bool],
    refused: Sequence[bool],
    reached: int,
    separate: bool = False,
) -> list[int]:
    """What came of a chained read, where devices answer in order and wait for the one before.

    A device without an answer before one with is corrupt: it has spoken, or the next would not
    have. The first behind the last answer is corrupt if all its bytes came, else missing (a reply
    cut by the deadline is not corrupt); those behind it are lost in its tail.

    Args:
        fresh: per device asked, in order: a usable answer came.
        late: an answer to an earlier request came instead.
        refused: it answered with an error.
        reached: how many devices' bytes came in whole.
        separate: every answer has a checksum of its own, so that it can be corrupt wherever it
            stands; otherwise nothing behind a corrupt one can be told.
    """
    spoke = [a or b for a, b in zip(fresh, refused, strict=True)]
    last = max((i for i, yes in enumerate(spoke) if yes), default=-1)
    outcomes = []
    for i in range(len(spoke)):
        if fresh[i]:
            outcomes.append(ANSWERED)
        elif refused[i]:
            outcomes.append(REFUSED)
        elif late[i]:
            outcomes.append(LATE)
        elif i < last or (reached > i and (separate or i == last + 1)):
            outcomes.append(CORRUPT)
        elif i == last + 1 or (separate and i == reached):
            outcomes.append(MISSING)
        else:
            outcomes.append(LOST_IN_TAIL)
    return outcomes
