"""A virtual robot behind pseudo-terminals, in real time, for any program that opens a port."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from ..clock import Clock, RealClock
from ..errors import PortError
from .control import ControlServer
from .robot import VirtualRobot
from .terminal import Terminal

STEP = 2e-3  # [s] the robot is never left further behind real time while nobody speaks
NEAR = 1e-3  # [s] something this soon after is waited for instead
AHEAD = 1e-3  # [s] the robot may be ahead of real time
STALL = 1e-2  # [s] waking later than this, bytes that wait are older than they look
LAG = 0.25  # [s] behind real time the robot's time is not made up for: it stood still
FIRST = 3e-4  # [s] before an answer's end the client gets what there is of it by then
SPIN = 1e-4  # [s] before an answer's end the line is watched instead of slept on
REST = 2e-4  # [s] behind an answer the processor is left to others
BACKLOG = 0.02  # [s] of bytes on the wire; a client that writes more waits, as on a UART
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Emulator:
    """Serves ``virtual`` on a pseudo-terminal per line until told to stop.

    Clients may come and go and send what they like. Replies leave when their last byte would have
    arrived; a line runs at the baud rate its client has set, so that one set wrongly gets no
    answer, as on a real line.

    Args:
        virtual: the robot; its time runs with ``clock`` while served.
        link: a symbolic link to make to the pseudo-terminal, removed at the end; a robot with
            several lines gets one link each, ``link`` with a dash and the line's name.
        clock: real time.
        control: a Unix socket to take commands on; see control.py.

    Attributes:
        ports: what to open, by the line's name.

    Raises:
        PortError: a link or the socket cannot be made.
    """

    def __init__(
        self,
        virtual: VirtualRobot,
        link: str | Path | None = None,
        clock: Clock | None = None,
        control: str | Path | None = None,
    ) -> None:
        self.virtual = virtual
        self._clock = clock or RealClock()
        self._stopping = False
        self._terminals: dict[str, Terminal] = {}
        self._control: ControlServer | None = None
        self._waker, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        try:
            for name, line in virtual.lines.items():
                place = _place(link, name, len(virtual.lines))
                self._terminals[name] = Terminal(line, place)
            if control is not None:
                self._control = ControlServer(virtual, Path(control), self._follow)
        except PortError:
            self._close()
            raise

    @property
    def ports(self) -> dict[str, str]:
        return {name: terminal.name for name, terminal in self._terminals.items()}

    @property
    def path(self) -> str:
        """The pseudo-terminal of a robot's only line."""
        (terminal,) = self._terminals.values()
        return terminal.path

    def serve(self, ready: Callable[[dict[str, str]], None] | None = None) -> None:
        """Serve until ``stop``; then everything is closed.

        Args:
            ready: called once with ``ports``.
        """
        virtual, terminals = self.virtual, tuple(self._terminals.values())
        start = self._clock.now() - virtual.time
        if ready is not None:
            ready(self.ports)
        try:
            last = virtual.time
            while not self._stopping:
                readable = self._wait(last, start)
                now = self._clock.now() - start
                if now - last > LAG:
                    start += now - last - LAG
                    now = last + LAG
                stalled = now - last > STALL
                # First of all: physics may take a while.
                if any([terminal.deliver(now) for terminal in terminals]) and not readable:
                    self._rest(now)
                for terminal in terminals:
                    if terminal.master in readable and (data := terminal.receive()):
                        terminal.line.write(data, last if stalled else now, earliest=last)
                # What is on the wire is heard ahead of time: one wake-up less before the answer.
                virtual.advance(max(now, min(virtual.next_heard(), now + AHEAD)))
                if self._control is not None:
                    self._control.serve(readable)
                self._follow()
                for terminal in terminals:
                    terminal.deliver(now)
                last = now
        finally:
            self._close()

    def serve_until_signal(self, ready: Callable[[dict[str, str]], None] | None = None) -> None:
        """``serve`` until SIGINT, SIGTERM or SIGHUP; for the main thread of a process."""
        previous = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self.stop())
        try:
            self.serve(ready)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """End ``serve`` soon; from any thread or signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):
            os.write(self._wake, b"\0")

    def _rest(self, now: float) -> None:
        """After bytes were delivered: let the system's own thread, which takes them on to the
        client, have this processor; while we keep it, that waits."""
        coming = min(terminal.line.next_arrival() for terminal in self._terminals.values())
        if coming > now + NEAR:
            select.select(self._wanted(now), [], [], REST)

    def _wait(self, last: float, start: float) -> list[int]:
        """Until something is due or somebody speaks; the descriptors to read from."""
        lines = [terminal.line for terminal in self._terminals.values()]
        heard = min(line.next_heard() for line in lines)
        answer = min(line.next_arrival() for line in lines)
        due = min(heard, answer)
        if due > last + STEP + NEAR:  # else physics would make the answer late
            due = last + STEP
        wanted = self._wanted(self._clock.now() - start)

        def sleep(until: float) -> list[int]:
            seconds = max(0.0, until - (self._clock.now() - start))
            return select.select(wanted, [], [], seconds)[0]

        if answer > due:
            return sleep(due)
        if readable := sleep(due - FIRST):
            return readable
        if (now := self._clock.now() - start) < due:
            # The bytes on the wire by now: what they pass through is awake when the last one comes.
            for terminal in self._terminals.values():
                terminal.deliver(now)
        if readable := sleep(due - SPIN):
            return readable
        while self._clock.now() - start < due:
            if readable := select.select(wanted, [], [], 0.0)[0]:
                return readable
        return []

    def _wanted(self, now: float) -> list[int]:
        """The descriptors that something to read may come from."""
        wanted = [self._waker]
        for terminal in self._terminals.values():
            if terminal.master >= 0 and terminal.line.backlog(now) < BACKLOG:
                wanted.append(terminal.master)
        if self._control is not None:
            wanted += self._control.descriptors
        return wanted

    def _follow(self) -> None:
        for terminal in self._terminals.values():
            terminal.follow()

    def _close(self) -> None:
        for terminal in self._terminals.values():
            terminal.close()
        if self._control is not None:
            self._control.close()
        for descriptor in (self._waker, self._wake):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._wake = -1  # a late stop() must not write to whoever has the number next


def _place(link: str | Path | None, line: str, lines: int) -> Path | None:
    if link is None:
        return None
    link = Path(link)
    return link if lines == 1 else link.with_name(f"{link.name}-{line}")
