"""The wire between a host and virtual devices, with the time every byte takes. No protocol here.

Ten bits per byte at the line's baud rate. What the host writes is heard by the line's responders,
one per protocol; what they answer passes the faults and reaches the host byte by byte.
Answers wait for the one before them, but for those of devices that share an id and speak at once.
A host that speaks while devices do is heard well: that collision is not modelled.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..errors import PortError
from .injection import Fate, Injector
from .uart import overlay

SKEW = 10e-6  # [s] at most between devices that answer at once
HELD = 16e-3  # [s] an adapter that waits for more delivers what it has


class LineDevice(Protocol):
    """What the wire must know of a device, whatever its protocol."""

    name: str  # joint name or "imu"

    @property
    def baud(self) -> int:
        """The rate it listens at [bit/s]."""
        ...

    @property
    def return_delay(self) -> float:
        """Between the end of what it waits for and its answer [s]."""
        ...

    def listening(self, time: float) -> bool:
        """False while it boots or has no power."""
        ...


class Responder(Protocol):
    """The devices of one protocol on a line: understands the host and answers.

    It is built with its line and devices and joined to the line by ``VirtualLine.attach``. In
    ``hear`` it cuts packets from the host's bytes; for each it asks ``line.hears(device, time)`` of
    every device once, lets those act that do, and hands each answer to ``line.send``. What damages
    or delays an answer on its way is the line's business.

    Attributes:
        devices: all of its protocol on the line, whether they listen or not.
        packet_gap: a longer pause within a packet ends it [s].
        burst_bits: how far a ``corrupt`` fault reaches, so that the protocol's check notices it.
    """

    packet_gap: float
    burst_bits: int

    @property
    def devices(self) -> Sequence[LineDevice]: ...

    def hear(self, data: bytes, time: float) -> None:
        """The host's next bytes, the last of which ended at ``time`` [s]; any bytes at all."""
        ...

    def forget(self) -> None:
        """The line paused for longer than ``packet_gap``: an unfinished packet is dropped."""
        ...


@dataclasses.dataclass
class _Sent:
    """Bytes on their way to the host."""

    start: float  # [s]
    data: bytes
    byte_time: float  # [s]; 0: all arrive at ``start``
    held: bool = False  # by the adapter, until the next come or ``start``

    @property
    def end(self) -> float:
        return self.start + len(self.data) * self.byte_time


class VirtualLine:
    """One half-duplex line.

    Args:
        baud: the host's rate [bit/s]; a device set to another hears only noise.
        injector: decides what goes wrong.
        random: of the skew between answers that collide.
        echo: the host hears itself, as on an adapter that leaves its receiver on.

    Attributes:
        plugged: whether the host's adapter is there.
        plugs: how often it has been plugged in; a host's handle is good for one.
        connected: names of the devices whose cable is plugged; None: all.
    """

    def __init__(
        self, baud: int, injector: Injector, random: np.random.Generator, echo: bool = False
    ) -> None:
        self.baud = baud
        self.echo = echo
        self.plugged = True
        self.plugs = 1
        self.connected: frozenset[str] | None = None
        self.responders: list[Responder] = []
        self._injector = injector
        self._random = random
        self._heard: deque[tuple[float, float, bytes]] = deque()  # pause before, end, bytes
        self._sent: deque[_Sent] = deque()
        self._host_until = 0.0  # the host's last byte ends [s]
        self._device_until = 0.0  # the devices' last byte ends [s]

    @property
    def byte_time(self) -> float:
        """[s]"""
        return 10.0 / self.baud

    def attach(self, responder: Responder) -> None:
        """Let ``responder`` hear what the host writes."""
        self.responders.append(responder)

    # The host's side

    def unplug(self) -> None:
        """Take the host's adapter away, with all that is on its way to and from it."""
        self.plugged = False
        self._heard.clear()
        self._sent.clear()

    def replug(self) -> None:
        """Plug it in again; whoever holds the port of before has to open the new one."""
        if not self.plugged:
            self.plugged = True
            self.plugs += 1

    def write(self, data: bytes, time: float, earliest: float | None = None) -> None:
        """The host puts ``data`` on the wire.

        Args:
            data: any bytes.
            time: when [s].
            earliest: when it may have been at the earliest [s], where that is not known exactly.

        Raises:
            PortError: the host's adapter is unplugged.
        """
        if not self.plugged:
            raise PortError("the virtual port is unplugged")
        start = max(time, self._host_until)
        pause = (start if earliest is None else min(start, earliest)) - self._host_until
        self._host_until = start + len(data) * self.byte_time
        self._heard.append((pause, self._host_until, data))
        if self.echo:
            self._put(_Sent(start, data, self.byte_time))

    def backlog(self, time: float) -> float:
        """How much longer at ``time`` [s] the host's bytes keep the wire busy [s]."""
        return self._host_until - time

    def next_heard(self) -> float:
        """When devices will next have heard all of a write [s]; inf if nothing is on its way."""
        return self._heard[0][1] if self._heard else float("inf")

    def hear(self) -> None:
        """Devices act on the earliest write; to be called when its time has come."""
        pause, time, data = self._heard.popleft()
        for responder in self.responders:
            if pause > responder.packet_gap:
                responder.forget()
            responder.hear(data, time)

    def arrival(self, count: int) -> float:
        """When the ``count``-th byte not yet taken reaches the host [s]; inf if none is coming."""
        latest = 0.0
        for sent in self._sent:
            if count <= len(sent.data):
                return max(latest, sent.start + count * sent.byte_time)
            latest = max(latest, sent.end)
            count -= len(sent.data)
        return float("inf")

    def next_arrival(self) -> float:
        """When all that follows without a gap has reached the host [s]; inf if nothing is on
        its way."""
        end = float("inf")
        for sent in self._sent:
            if sent.start > end + self.byte_time:
                break
            end = sent.end
        return end

    def take(self, time: float, limit: int | None = None) -> bytes:
        """Remove up to ``limit`` bytes that have reached the host by ``time`` [s]."""
        taken = bytearray()
        while self._sent and (limit is None or len(taken) < limit):
            sent = self._sent[0]
            if sent.byte_time:
                arrived = int((time - sent.start) / sent.byte_time + 1e-6)
            else:
                arrived = len(sent.data) if time >= sent.start - 1e-9 else 0
            count = min(max(arrived, 0), len(sent.data))
            if limit is not None:
                count = min(count, limit - len(taken))
            if count == 0:
                break
            taken += sent.data[:count]
            if count < len(sent.data):
                sent.data = sent.data[count:]
                sent.start += count * sent.byte_time
                break
            self._sent.popleft()
        return bytes(taken)

    # The responders' side

    def hears(self, device: LineDevice, time: float) -> bool:
        """Whether ``device`` hears a packet that ended at ``time`` [s]; ask once per packet."""
        if device.baud != self.baud or not device.listening(time):
            return False
        if self.connected is not None and device.name not in self.connected:
            return False
        return not self._injector.silent(device.name, time)

    def send(
        self,
        answers: Sequence[tuple[LineDevice, bytes]],
        asked: float,
        *,
        continues: bool = False,
    ) -> bool:
        """Put an answer on the wire behind whatever is on it.

        Args:
            answers: usually one; those of devices that share an id begin together.
            asked: when the request ended [s].
            continues: it continues the frame of the answer before it, with no gap, instead of
                beginning after the device's return delay.

        Returns:
            Whether a device that waits for this answer to end will hear it.
        """
        begun: list[tuple[float, Fate]] = []
        for device, data in answers:
            bits = self._burst_bits(device)
            fate = self._injector.befall(device.name, data, asked, bits, continues)
            if fate is None:
                continue
            gap = 0.0 if continues else device.return_delay
            if len(answers) > 1:
                gap += SKEW * self._random.random()
            begun.append((max(asked + fate.delay, self._device_until) + gap, fate))
        if not begun:
            return False
        start, fate = min(begun, key=lambda item: item[0])
        data, whole = fate.data, fate.whole
        if len(begun) > 1:
            data = overlay([(start, fate.data) for start, fate in begun], self.byte_time / 10)
            whole = all(fate.whole and fate.data == data for _, fate in begun)
        self._device_until = max(start + len(fate.data) * self.byte_time for start, fate in begun)
        if self.plugged and data:
            self._put(_Sent(start, data, self.byte_time), held=fate.merge)
        return whole

    def _put(self, sent: _Sent, held: bool = False) -> None:
        """Let bytes travel to the host behind all others."""
        last = self._sent[-1] if self._sent else None
        if last is not None and last.held and sent.start < last.start:
            self._sent.pop()  # what the adapter held comes with the new ones, in one piece
            sent = _Sent(sent.end, last.data + sent.data, 0.0)
        elif last is not None and last.byte_time and sent.start < last.end - 1e-9:
            self._sent.pop()  # the host's echo, under a device's answer
            senders = [(last.start, last.data), (sent.start, sent.data)]
            start = min(last.start, sent.start)
            sent = _Sent(start, overlay(senders, self.byte_time / 10), self.byte_time)
        if held:
            sent = _Sent(sent.end + HELD, sent.data, 0.0, held=True)
        if sent.data:
            self._sent.append(sent)

    def _burst_bits(self, device: LineDevice) -> int:
        return next((r.burst_bits for r in self.responders if device in r.devices), 1)
