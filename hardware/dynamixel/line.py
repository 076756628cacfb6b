"""A DYNAMIXEL 2.0 line, one device at a time."""

from __future__ import annotations

from ..errors import DeviceError
from ..line import ATTEMPTS, Line, Status, no_answer
from . import codec
from .codec import ALERT, ERROR_TEXTS
from .parser import StatusParser


class DynamixelLine(Line):
    """See ``Line``."""

    def ask(self, packet: bytes, attempts: int = ATTEMPTS) -> Status | None:
        """The answer of the one device ``packet`` is for; None if none came."""
        return self.exchange(packet, packet[4], StatusParser, attempts)

    def ping(self, id: int, attempts: int = ATTEMPTS) -> tuple[int, int] | None:
        status = self.ask(codec.ping(id), attempts)
        if status is None or len(status.data) != 3:
            return None
        return int.from_bytes(status.data[:2], "little"), status.data[2]

    def read_bytes(self, id: int, address: int, length: int, what: str = "reading") -> bytes:
        status = self._answered(id, codec.read(id, address, length), what)
        if len(status.data) != length:
            raise DeviceError(
                f"device {id}, {what}: got {len(status.data)} bytes instead of {length}; is it the "
                "model robot.toml names?"
            )
        return status.data

    def write_bytes(self, id: int, address: int, data: bytes, what: str = "writing") -> None:
        self._answered(id, codec.write(id, address, data), what)

    def reboot(self, id: int) -> None:
        self._answered(id, codec.reboot(id), "rebooting")

    def _answered(self, id: int, packet: bytes, what: str) -> Status:
        status = self.ask(packet)
        if status is None:
            raise no_answer(id, what)
        error = status.error & ~ALERT
        if error:
            text = ERROR_TEXTS.get(error, f"error {error}")
            raise DeviceError(f"device {id}, {what}: {text}")
        return status
