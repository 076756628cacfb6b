"""A virtual robot in-process, in virtual time: deterministic, faster than real time."""

from __future__ import annotations

from ..clock import VirtualClock
from .robot import VirtualRobot


class LockstepClock(VirtualClock):
    """The virtual robot's own time: waiting on it lets the robot live on."""

    def __init__(self, virtual: VirtualRobot) -> None:
        super().__init__(virtual.time)
        self._virtual = virtual

    def now(self) -> float:
        return self._virtual.time

    def sleep_until(self, deadline: float) -> None:
        self._virtual.advance(deadline)


class LockstepPort:
    """A ``Port`` on a virtual robot's wire; reading moves time to the byte waited for.

    ``clock`` must be that robot's ``LockstepClock``.
    """

    def __init__(self, virtual: VirtualRobot, clock: LockstepClock) -> None:
        self.baud = virtual.line.baud
        self.clock = clock
        self._virtual = virtual

    def write(self, data: bytes) -> None:
        self._virtual.write(data)

    def read(self, size: int, deadline: float) -> bytes:
        virtual, line = self._virtual, self._virtual.line
        while True:
            arrival = line.arrival(size)
            heard = line.next_heard()
            if arrival <= min(deadline, heard):
                virtual.advance(arrival)
                break
            if heard > deadline:
                virtual.advance(deadline)
                break
            virtual.advance(heard)
        return line.take(virtual.time, size)

    def discard(self) -> bytes:
        return self._virtual.line.take(self._virtual.time)

    def close(self) -> None:
        """Nothing to let go of: another port may be opened on the same robot."""
