"""A Feetech line, one device at a time."""

from __future__ import annotations

from ..errors import DeviceError
from ..line import ATTEMPTS, Line, Status, no_answer
from . import codec
from .parser import StatusParser

_VERSION, _VERSION_LENGTH = 0, 5  # firmware major, minor, byte order, model number


class FeetechLine(Line):
    """See ``Line``. An error byte tells of the servo's state, never of the instruction: nothing is
    refused, so what matters is read back."""

    def ping(self, id: int, attempts: int = ATTEMPTS) -> tuple[int, int] | None:
        """Model number and minor firmware version; None if the device does not answer.

        Reads them: a ping's own answer is empty.
        """
        packet = codec.read(id, _VERSION, _VERSION_LENGTH)
        status = self._ask(id, packet, _VERSION_LENGTH, attempts)
        if status is None:
            return None
        return int.from_bytes(status.data[3:5], "little"), status.data[1]

    def read_bytes(self, id: int, address: int, length: int, what: str = "reading") -> bytes:
        status = self._ask(id, codec.read(id, address, length), length)
        if status is None:
            raise no_answer(id, what)
        return status.data

    def write_bytes(self, id: int, address: int, data: bytes, what: str = "writing") -> None:
        if self._ask(id, codec.write(id, address, data), 0) is None:
            raise no_answer(id, what)

    def reboot(self, id: int) -> None:
        """There is no confirmed instruction for it.

        Raises:
            DeviceError: always; it says what to do by hand.
        """
        raise DeviceError(
            f"device {id} is a Feetech servo, which no instruction reboots; switch its torque off "
            "to clear an overload, or cut its power and give it back"
        )

    def _ask(self, id: int, packet: bytes, length: int, attempts: int = ATTEMPTS) -> Status | None:
        """The answer, of ``length`` data bytes, of the one device ``packet`` is for."""
        return self.exchange(packet, id, lambda: StatusParser(length), attempts)
