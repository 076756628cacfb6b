"""One line, one device at a time: ping, registers by name, reboot. What the verbs use.

For everything outside a control tick: it asks again when an answer is lost. Each protocol has a
subclass (``dynamixel/line.py``) that builds its packets; the tick's own are its driver's.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from .clock import Clock
from .errors import DeviceError
from .model_table import ModelTable
from .port import Port

Direction = Literal["out", "in"]
Tap = Callable[[float, Direction, bytes], None]

PATIENCE = 0.03  # [s] beyond the wire's own time: the longest return delay, a USB adapter's timer
ATTEMPTS = 3
LONGEST = 300  # [bytes] of an answer


class Status(NamedTuple):
    """What one device answered."""

    id: int
    error: int
    data: bytes


class StatusParser(Protocol):
    """Bytes to answers. Never raises, whatever comes in."""

    @property
    def needs(self) -> int:
        """Bytes that must still come before anything can be complete; at least 1."""
        ...

    def feed(self, data: bytes) -> Sequence[Status]:
        """Every answer that ``data`` completes, in order of arrival."""
        ...

    def flush(self) -> Sequence[Status]:
        """Nothing more will come: what stands behind a packet that never ended."""
        ...


class Line(abc.ABC):
    """One port and the devices on it.

    Args:
        port: the byte pipe.
        clock: the port's time.
        tap: sees every byte as (time, "out" or "in", bytes), those thrown away included.
        echo: the adapter gives back every byte the host sends.
    """

    def __init__(
        self, port: Port, clock: Clock, tap: Tap | None = None, echo: bool = False
    ) -> None:
        self.port = port
        self.clock = clock
        self.tap = tap
        self._echo = echo
        self._echoes = b""  # sent, and not yet come back
        self._owed: dict[int, float] = {}  # by id: until when a late answer may come [s]

    @abc.abstractmethod
    def ping(self, id: int, attempts: int = ATTEMPTS) -> tuple[int, int] | None:
        """Model number and firmware of the device with ``id``; None if it does not answer."""

    @abc.abstractmethod
    def read_bytes(self, id: int, address: int, length: int, what: str = "reading") -> bytes:
        """``length`` bytes from ``address``.

        Raises:
            DeviceError: no answer, an error, or fewer bytes; ``what`` says what was tried.
        """

    @abc.abstractmethod
    def write_bytes(self, id: int, address: int, data: bytes, what: str = "writing") -> None:
        """Write ``data`` at ``address``; the device has confirmed it on return.

        Raises:
            DeviceError: no answer, or an error; ``what`` says what was tried.
        """

    @abc.abstractmethod
    def reboot(self, id: int) -> None:
        """Restart a device: it loses its RAM registers and is deaf for a moment.

        Raises:
            DeviceError: no answer, an error, or a protocol that has no such instruction.
        """

    def read(self, id: int, table: ModelTable, name: str) -> int:
        """A register's value.

        Raises:
            DeviceError: no answer, or an error.
        """
        register = table.register(name)
        return register.decode(
            self.read_bytes(id, register.address, register.size, f"reading {name}")
        )

    def write(self, id: int, table: ModelTable, name: str, value: int) -> None:
        """Write a register; the device has confirmed it on return.

        Raises:
            DeviceError: no answer, or an error.
        """
        register = table.register(name)
        self.write_bytes(id, register.address, register.encode(value), f"writing {value} to {name}")

    def write_checked(self, id: int, table: ModelTable, name: str, value: int, who: str) -> None:
        """Write a register and read it back.

        Raises:
            DeviceError: no answer, an error, or it holds something else.
        """
        self.write(id, table, name, value)
        got = self.read(id, table, name)
        if got != value:
            raise DeviceError(
                f"{who}: {name} holds {got} after {value} was written; power-cycle the device"
            )

    def send(self, packet: bytes) -> None:
        """Put a packet on the wire."""
        if self.tap is not None:
            self.tap(self.clock.now(), "out", packet)
        self.port.write(packet)
        if self._echo:
            self._echoes += packet

    def receive(self, size: int, deadline: float) -> bytes:
        """Up to ``size`` bytes by ``deadline``; the host's own echo is none of them."""
        if self._echoes:
            heard = self._read(len(self._echoes), deadline)
            expected, self._echoes = self._echoes, b""
            if heard != expected:  # damaged, or none: the parser passes over what is left of it
                return heard
        return self._read(size, deadline)

    def drain(self) -> bytes:
        """Take what has arrived unasked off the line; that is what it was."""
        data = self.port.discard()
        self._echoes = b""
        if data and self.tap is not None:
            self.tap(self.clock.now(), "in", data)
        return data

    def wire_time(self, size: int) -> float:
        """What ``size`` bytes take on the wire [s]."""
        return size * 10.0 / self.port.baud

    def settle(self, id: int) -> None:
        """Listen until an answer that the device with ``id`` may still owe has come, or cannot come
        any more. ``exchange`` does so first; whoever needs to know when it sends does so before.
        """
        owed = self._owed.pop(id, 0.0)
        if self.clock.now() < owed:
            self._read(ATTEMPTS * LONGEST, owed)

    def exchange(
        self, packet: bytes, id: int, parser: Callable[[], StatusParser], attempts: int = ATTEMPTS
    ) -> Status | None:
        """Send ``packet`` until the device with ``id`` answers; None if it never does.

        An answer to an earlier attempt may only be late. Where there was one, the line is listened
        to until what may still come has come: it would pass for the next question's answer.

        Args:
            packet: for that one device.
            id: whose answer is wanted.
            parser: makes a parser for one attempt.
            attempts: how often to send.
        """
        self.settle(id)
        patience = self.wire_time(len(packet) + LONGEST) + PATIENCE
        for number in range(attempts):
            self.drain()
            self.send(packet)
            deadline = self.clock.now() + patience
            attempt = parser()
            while self.clock.now() < deadline:
                data = self.receive(attempt.needs, deadline)
                for status in attempt.feed(data) if data else attempt.flush():
                    if status.id == id:
                        if number:
                            self._read(number * LONGEST, self.clock.now() + patience)
                        return status
                if not data:
                    break
        self._owed[id] = self.clock.now() + patience
        return None

    def _read(self, size: int, deadline: float) -> bytes:
        data = self.port.read(size, deadline)
        if data and self.tap is not None:
            self.tap(self.clock.now(), "in", data)
        return data


def no_answer(id: int, what: str) -> DeviceError:
    """The error of a device that stays silent."""
    return DeviceError(
        f"device {id} does not answer, {what}; check its power, its cable and its id"
    )
