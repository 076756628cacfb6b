"""One virtual line's pseudo-terminal: what a client opens, unplugs from and comes back to."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import tty
from pathlib import Path

from ..errors import PortError
from .line import VirtualLine

_TCGETS2 = 0x802C542A


class Terminal:
    """The master side, and a link to the slave side that clients open.

    Unplugged, it is gone for the client as an adapter is; plugged in again there is a new one
    behind the same link, mostly with another number.

    Args:
        line: what is behind it.
        link: a symbolic link to make to it; none if None.

    Raises:
        PortError: ``link`` is a file or leads to a port that is there, or cannot be made.
    """

    def __init__(self, line: VirtualLine, link: Path | None) -> None:
        self.line = line
        self.link = link
        self.master = -1
        self.path = ""
        self._slave = -1
        self._plugs = 0
        if line.plugged:
            self._open()
            try:
                self._make_link()
            except PortError:
                self.close()
                raise

    @property
    def name(self) -> str:
        """What to open: the link if there is one."""
        return str(self.link or self.path)

    def follow(self) -> None:
        """Be there or not, as the line's adapter is."""
        if self.master >= 0 and (not self.line.plugged or self.line.plugs != self._plugs):
            self.close()
        if self.master < 0 and self.line.plugged:
            self._open()
            with contextlib.suppress(PortError):  # somebody took its name: it is there without
                self._make_link()

    def receive(self) -> bytes:
        """What the client has written; empty if nothing."""
        try:
            data = os.read(self.master, 4096)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EIO):
                return b""
            raise
        self.line.baud = self._client_baud() or self.line.baud
        return data

    def deliver(self, time: float) -> bool:
        """Hand the client what has arrived by ``time`` [s]; what it does not read is lost.

        Returns:
            Whether there was anything.
        """
        if self.master < 0:
            return False
        data = self.line.take(time)
        if data:
            with contextlib.suppress(BlockingIOError):
                os.write(self.master, data)
        return bool(data)

    def close(self) -> None:
        """Take it away, link and all."""
        if self.link is not None:
            with contextlib.suppress(OSError):
                if os.readlink(self.link) == self.path:
                    self.link.unlink()
        for descriptor in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.master = self._slave = -1

    def _open(self) -> None:
        self.master, self._slave = os.openpty()  # held open: the line outlives its clients
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self._slave)
        self._plugs = self.line.plugs

    def _make_link(self) -> None:
        if self.link is None:
            return
        # One that leads nowhere is left over, and so is one to the number that this port was given.
        left_over = not self.link.exists() or os.path.realpath(self.link) == self.path
        if self.link.is_symlink() and not left_over:
            raise PortError(
                f"{self.link} already leads to {os.path.realpath(self.link)}; end what serves it, "
                "remove the link, or choose another name"
            )
        if self.link.exists() and not self.link.is_symlink():
            raise PortError(f"{self.link} exists and is not a link; choose another name for it")
        try:
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(self.path)
        except OSError as error:
            raise PortError(f"the link {self.link} cannot be made: {error.strerror}") from error

    def _client_baud(self) -> int:
        """The rate the client has set [bit/s]; 0 if the system does not tell."""
        settings = array.array("I", [0] * 11)  # struct termios2, output speed last
        try:
            fcntl.ioctl(self.master, _TCGETS2, settings)
        except OSError:
            return 0
        return settings[10]
