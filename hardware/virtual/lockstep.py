"""A virtual robot in-process, in virtual time: deterministic, faster than real time."""

from __future__ import annotations

from ..clock import VirtualClock
from ..errors import PortError
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
    """A ``Port`` on one of a virtual robot's lines; reading moves time to the byte waited for.

    Args:
        virtual: the robot.
        clock: that robot's.
        line: its name; needed if there are several.

    Raises:
        PortError: the line is unplugged.
    """

    def __init__(self, virtual: VirtualRobot, clock: LockstepClock, line: str = "") -> None:
        self.clock = clock
        self._virtual = virtual
        self._line = virtual.lines[line] if line else virtual.line
        self._plugs = self._line.plugs
        self.baud = self._line.baud
        self._check()

    def write(self, data: bytes) -> None:
        self._check()
        self._line.write(data, self._virtual.time)

    def read(self, size: int, deadline: float) -> bytes:
        virtual, line = self._virtual, self._line
        while True:
            self._check()
            arrival = line.arrival(size)
            due = virtual.next_change()
            if arrival <= min(deadline, due):
                virtual.advance(arrival)
                break
            if due > deadline:
                virtual.advance(deadline)
                break
            virtual.advance(due)
        self._check()
        return line.take(virtual.time, size)

    def discard(self) -> bytes:
        self._check()
        return self._line.take(self._virtual.time)

    def close(self) -> None:
        """Nothing to let go of: another port may be opened on the same robot."""

    def _check(self) -> None:
        if not self._line.plugged or self._line.plugs != self._plugs:
            raise PortError("the virtual port has gone away; plug it in again and open it anew")
