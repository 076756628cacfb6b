"""One DYNAMIXEL line, one device at a time: ping, registers by name, reboot.

For everything outside a control tick: it asks again when an answer is lost. The tick's own
packets are the bus's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from .clock import Clock
from .dynamixel import codec
from .dynamixel.codec import ALERT, ERROR_TEXTS
from .dynamixel.parser import Status, StatusParser
from .errors import DeviceError
from .model_table import ModelTable
from .port import Port

Direction = Literal["out", "in"]
Tap = Callable[[float, Direction, bytes], None]

PATIENCE = 0.03  # [s] beyond the wire's own time: the longest return delay, a USB adapter's timer
ATTEMPTS = 3


class Line:
    """One port and the devices on it.

    Args:
        port: the byte pipe.
        clock: the port's time.
        tap: sees every byte as (time, "out" or "in", bytes), those thrown away included.
    """

    def __init__(self, port: Port, clock: Clock, tap: Tap | None = None) -> None:
        self.port = port
        self.clock = clock
        self.tap = tap

    def send(self, packet: bytes) -> None:
        """Put a packet on the wire."""
        if self.tap is not None:
            self.tap(self.clock.now(), "out", packet)
        self.port.write(packet)

    def receive(self, size: int, deadline: float) -> bytes:
        """Up to ``size`` bytes by ``deadline``."""
        data = self.port.read(size, deadline)
        if self.tap is not None and data:
            self.tap(self.clock.now(), "in", data)
        return data

    def drain(self) -> int:
        """Throw away what has arrived unasked; how many bytes it was."""
        data = self.port.discard()
        if self.tap is not None and data:
            self.tap(self.clock.now(), "in", data)
        return len(data)

    def wire_time(self, size: int) -> float:
        """What ``size`` bytes take on the wire [s]."""
        return size * 10.0 / self.port.baud

    def ask(self, packet: bytes, attempts: int = ATTEMPTS) -> Status | None:
        """The answer of the one device ``packet`` is for; None if none came."""
        for _ in range(attempts):
            self.drain()
            self.send(packet)
            deadline = self.clock.now() + self.wire_time(len(packet) + 300) + PATIENCE
            parser = StatusParser()
            while self.clock.now() < deadline:
                data = self.receive(parser.needs, deadline)
                for status in parser.feed(data):
                    if status.id == packet[4]:
                        return status
                if not data:
                    break
        return None

    def ping(self, id: int, attempts: int = ATTEMPTS) -> tuple[int, int] | None:
        """Model number and firmware of the device with ``id``; None if it does not answer."""
        status = self.ask(codec.ping(id), attempts)
        if status is None or len(status.data) != 3:
            return None
        return int.from_bytes(status.data[:2], "little"), status.data[2]

    def read(self, id: int, table: ModelTable, name: str) -> int:
        """A register's value.

        Raises:
            DeviceError: no answer, or an error.
        """
        register = table.register(name)
        what = f"reading {name}"
        status = self._answered(id, codec.read(id, register.address, register.size), what)
        if len(status.data) != register.size:
            raise DeviceError(
                f"device {id}, {what}: got {len(status.data)} bytes instead of {register.size}; "
                f"is it a {table.name}?"
            )
        return register.decode(status.data)

    def write(self, id: int, table: ModelTable, name: str, value: int) -> None:
        """Write a register; the device has confirmed it on return.

        Raises:
            DeviceError: no answer, or an error.
        """
        register = table.register(name)
        packet = codec.write(id, register.address, register.encode(value))
        self._answered(id, packet, f"writing {value} to {name}")

    def reboot(self, id: int) -> None:
        """Restart a device: it loses its RAM registers and is deaf for a moment.

        Raises:
            DeviceError: no answer, or an error.
        """
        self._answered(id, codec.reboot(id), "rebooting")

    def _answered(self, id: int, packet: bytes, what: str) -> Status:
        status = self.ask(packet)
        if status is None:
            raise DeviceError(
                f"device {id} does not answer, {what}; check its power, its cable and its id"
            )
        error = status.error & ~ALERT
        if error:
            text = ERROR_TEXTS.get(error, f"error {error}")
            raise DeviceError(f"device {id}, {what}: {text}")
        return status
