"""A virtual robot behind a pseudo-terminal, in real time, for any program that opens a port."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import select
import signal
import tty
from collections.abc import Callable
from pathlib import Path

from ..clock import Clock, RealClock
from ..errors import PortError
from .robot import VirtualRobot

STEP = 2e-3  # [s] the robot is never left further behind real time while nobody speaks
AHEAD = 1e-3  # [s] the robot may be ahead of real time
STALL = 1e-2  # [s] waking later than this, bytes that wait are older than they look
_TCGETS2 = 0x802C542A
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Emulator:
    """Serves ``virtual`` on a pseudo-terminal until told to stop.

    Clients may come and go. Replies leave when their last byte would have arrived; the line runs at
    the baud rate the client has set, so that one set wrongly gets no answer, as on a real line.

    Args:
        virtual: the robot; its time runs with ``clock`` while served.
        link: a symbolic link to make to the pseudo-terminal, removed at the end.
        clock: real time.

    Raises:
        PortError: ``link`` exists and is not a symbolic link, or cannot be made.
    """

    def __init__(
        self, virtual: VirtualRobot, link: str | Path | None = None, clock: Clock | None = None
    ) -> None:
        self.virtual = virtual
        self.link = Path(link) if link is not None else None
        self._clock = clock or RealClock()
        self._stopping = False
        self._master, self._slave = os.openpty()  # held open: the line outlives its clients
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._waker, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self.path = os.ttyname(self._slave)
        try:
            self._make_link()
        except PortError:
            self._close()
            raise

    def serve(self, ready: Callable[[str], None] | None = None) -> None:
        """Serve until ``stop``; then everything is closed.

        Args:
            ready: called once with the path to open (the link if there is one).
        """
        virtual, line = self.virtual, self.virtual.line
        start = self._clock.now() - virtual.time
        if ready is not None:
            ready(str(self.link or self.path))
        try:
            last = virtual.time
            while not self._stopping:
                due = min(last + STEP, line.next_heard(), line.next_arrival())
                wait = max(0.0, due - (self._clock.now() - start))
                readable, _, _ = select.select([self._master, self._waker], [], [], wait)
                now = self._clock.now() - start
                stalled = now - last > STALL
                if self._master in readable and (data := self._receive()):
                    line.baud = self._client_baud() or line.baud
                    line.write(data, last if stalled else now)
                # What is on the wire is heard ahead of time: one wake-up less before the answer.
                virtual.advance(max(now, min(line.next_heard(), now + AHEAD)))
                self._send(line.take(now))
                last = now
        finally:
            self._close()

    def serve_until_signal(self, ready: Callable[[str], None] | None = None) -> None:
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

    def _receive(self) -> bytes:
        try:
            return os.read(self._master, 4096)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EIO):
                return b""
            raise

    def _send(self, data: bytes) -> None:
        if data:
            # Nobody reads and the buffer is full: lost, as in a UART.
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, data)

    def _client_baud(self) -> int:
        """The rate the client has set [bit/s]; 0 if the system does not tell."""
        settings = array.array("I", [0] * 11)  # struct termios2, output speed last
        try:
            fcntl.ioctl(self._master, _TCGETS2, settings)
        except OSError:
            return 0
        return settings[10]

    def _make_link(self) -> None:
        if self.link is None:
            return
        if self.link.exists() and not self.link.is_symlink():
            raise PortError(f"{self.link} exists and is not a link; choose another name for it")
        try:
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(self.path)
        except OSError as error:
            raise PortError(f"the link {self.link} cannot be made: {error.strerror}") from error

    def _close(self) -> None:
        if self.link is not None and self.link.is_symlink():
            with contextlib.suppress(OSError):
                if os.readlink(self.link) == self.path:
                    self.link.unlink()
        for descriptor in (self._master, self._slave, self._waker, self._wake):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._wake = -1  # a late stop() must not write to whoever has the number next
