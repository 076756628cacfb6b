"""A real serial port (or anything pyserial opens by URL) as a ``Port``."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import select
import termios
import time
from typing import Any

import serial

from .errors import PortError
from .find_port import find_port

_GONE = (serial.SerialException, OSError, termios.error, TypeError)  # what an unplugged port raises


class SerialPort:
    """An exclusively opened port; waits on the monotonic clock of ``RealClock``.

    Args:
        url: what ``find_port`` knows: a path, a URL, a name by id, VID:PID:SERIAL.
        baud: [bit/s]

    Raises:
        PortError: it does not exist, is held by another program, or may not be opened.
    """

    def __init__(self, url: str, baud: int) -> None:
        self.url = url
        self.baud = baud
        self._ahead = b""  # read while waiting, not yet delivered
        try:
            self._serial: Any = serial.serial_for_url(
                find_port(url), baudrate=baud, timeout=0, write_timeout=1.0, exclusive=True
            )
        except (*_GONE, ValueError) as error:
            raise PortError(_why_not_opened(url, baud, error)) from error
        self._descriptor = _descriptor(self._serial)
        if self._descriptor is not None and _is_device(self._descriptor):
            # pyserial locks with flock, which only asks; this keeps out those that do not ask.
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._descriptor, termios.TIOCEXCL)
            # USB adapters otherwise hold data back for up to 16 ms.
            with contextlib.suppress(*_GONE, AttributeError, NotImplementedError, ValueError):
                self._serial.set_low_latency_mode(True)
        self.discard()

    def write(self, data: bytes) -> None:
        try:
            if self._descriptor is not None:  # what fits goes at once, several times faster
                with contextlib.suppress(BlockingIOError):
                    data = data[os.write(self._descriptor, data) :]
            if data:
                self._serial.write(data)
        except _GONE as error:
            raise self._gone(error) from error

    def read(self, size: int, deadline: float) -> bytes:
        received = bytearray()
        try:
            while len(received) < size:
                if not self._wait(max(0.0, deadline - time.monotonic())):
                    break
                received += self._take(size - len(received))
        except _GONE as error:
            raise self._gone(error) from error
        return bytes(received)

    def discard(self) -> bytes:
        stale = bytearray()
        try:
            while self._wait(0.0):
                stale += self._take(4096)
        except _GONE as error:
            raise self._gone(error) from error
        return bytes(stale)

    def close(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._descriptor, termios.TIOCNXCL)
        with contextlib.suppress(*_GONE):
            self._serial.close()
        self._descriptor = None  # another file may get its number; pyserial knows that it is closed

    def _wait(self, seconds: float) -> bool:
        """Whether bytes can be taken, after at most ``seconds``."""
        if self._descriptor is None:  # pyserial's own ports, such as loop://
            if not self._serial.in_waiting and seconds > 0.0:
                self._serial.timeout = seconds
                self._ahead = self._serial.read(1)
                self._serial.timeout = 0
                return bool(self._ahead)
            return bool(self._serial.in_waiting)
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def _take(self, size: int) -> bytes:
        if self._descriptor is None:
            ahead, self._ahead = self._ahead, b""
            return ahead + self._serial.read(size - len(ahead))
        data = os.read(self._descriptor, size)
        if not data:
            raise OSError(errno.EIO, "the port reads as ended")
        return data

    def _gone(self, error: BaseException) -> PortError:
        return PortError(
            f"the port {self.url} has gone away ({error}); plug it in again and check its name, "
            "which may have changed"
        )


def _descriptor(port: Any) -> int | None:
    """The port's file descriptor if it can be waited on."""
    try:
        return port.fileno()
    except (AttributeError, io.UnsupportedOperation, *_GONE):
        return None


def _is_device(descriptor: int) -> bool:
    """A terminal that is no pseudo-terminal: those keep an exclusive flag after their client."""
    try:
        return not os.ttyname(descriptor).startswith("/dev/pts/")
    except OSError:
        return False


def _why_not_opened(url: str, baud: int, error: BaseException) -> str:
    code = getattr(error, "errno", None)
    if code in (errno.EWOULDBLOCK, errno.EBUSY, errno.EAGAIN):
        return f"the port {url} is held by another program; close it (`fuser {url}` names it)"
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"the port {url} may not be opened by this user; join its group "
            "(`sudo usermod -aG dialout $USER`, then log in again)"
        )
    if os.path.isfile(url) or os.path.isdir(url):
        kind = "folder" if os.path.isdir(url) else "file"
        return f"the port {url} cannot be opened: it is a {kind}, no device; name a serial port"
    if isinstance(error.__context__, termios.error) and error.__context__.args[0] == errno.ENOTTY:
        return f"the port {url} cannot be opened: it is a device, but no serial port; name "
        "one that is"
    return f"the port {url} cannot be opened at {baud} bit/s: {error}"
