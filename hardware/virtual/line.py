"""The wire between a host and virtual devices, with the time every byte takes.

Ten bits per byte at the line's baud rate; a device answers after its return delay, and in a sync
read after the device before it, so that a silent one loses everything behind it. Answers never
overlap: one that is late makes those behind it wait. Collisions are not modelled.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

import numpy as np
from fastcrc.crc16 import umts as crc16

from ..dynamixel import codec
from ..dynamixel.codec import BROADCAST, Instruction
from ..dynamixel.parser import InstructionParser, Packet
from .device import Answer, VirtualDevice
from .faults import FaultCounts, Faults, burst

FAST_LIMIT = 256  # bytes per device of a fast sync read; a longer one is not answered
MAX_ID = 252


@dataclasses.dataclass
class _Sent:
    """Bytes on their way to the host."""

    start: float  # [s]
    data: bytes


class VirtualLine:
    """One half-duplex line.

    Args:
        devices: those on it.
        baud: the host's rate [bit/s]; a device set to another hears only noise.
        faults: what goes wrong.
        random: for the faults.
    """

    def __init__(
        self,
        devices: Sequence[VirtualDevice],
        baud: int,
        faults: Faults,
        random: np.random.Generator,
    ) -> None:
        self.devices = tuple(devices)
        self.baud = baud
        self.faults = faults
        self.counts = FaultCounts()
        self._random = random
        self._parser = InstructionParser()
        self._heard: deque[tuple[float, bytes]] = deque()  # end of a write, its bytes
        self._sent: deque[_Sent] = deque()
        self._host_until = 0.0  # the host's last byte ends [s]
        self._device_until = 0.0  # the devices' last byte ends [s]

    @property
    def byte_time(self) -> float:
        """[s]"""
        return 10.0 / self.baud

    def write(self, data: bytes, time: float) -> None:
        """The host puts ``data`` on the wire at ``time`` [s]."""
        start = max(time, self._host_until)
        self._host_until = start + len(data) * self.byte_time
        self._heard.append((self._host_until, data))

    def next_heard(self) -> float:
        """When devices will next have heard all of a write [s]; inf if nothing is on its way."""
        return self._heard[0][0] if self._heard else float("inf")

    def hear(self) -> None:
        """Devices act on the earliest write; to be called when its time has come."""
        time, data = self._heard.popleft()
        for packet in self._parser.feed(data):
            listening = []
            for device in self.devices:
                if device.baud != self.baud or not device.listening(time):
                    continue
                if self.faults.silent(device.name, time):
                    self.counts.silenced += 1
                    continue
                device.hear(time)
                listening.append(device)
            self._carry_out(packet, listening, time)

    def arrival(self, count: int) -> float:
        """When the ``count``-th byte not yet taken reaches the host [s]; inf if none is coming."""
        for sent in self._sent:
            if count <= len(sent.data):
                return sent.start + count * self.byte_time
            count -= len(sent.data)
        return float("inf")

    def next_arrival(self) -> float:
        """When all that follows without a gap has reached the host [s]; inf if nothing is on
        its way."""
        end = float("inf")
        for sent in self._sent:
            if sent.start > end + self.byte_time:
                break
            end = sent.start + len(sent.data) * self.byte_time
        return end

    def take(self, time: float, limit: int | None = None) -> bytes:
        """Remove up to ``limit`` bytes that have reached the host by ``time`` [s]."""
        taken = bytearray()
        while self._sent and (limit is None or len(taken) < limit):
            sent = self._sent[0]
            arrived = int((time - sent.start) / self.byte_time + 1e-6)
            count = min(max(arrived, 0), len(sent.data))
            if limit is not None:
                count = min(count, limit - len(taken))
            if count == 0:
                break
            taken += sent.data[:count]
            if count < len(sent.data):
                sent.data = sent.data[count:]
                sent.start += count * self.byte_time
                break
            self._sent.popleft()
        return bytes(taken)

    def _carry_out(self, packet: Packet, listening: list[VirtualDevice], time: float) -> None:
        by_id = {device.id: device for device in listening}
        instruction, parameters = packet.instruction, packet.parameters
        if instruction in (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ):
            self._sync_read(packet, by_id, time)
        elif instruction == Instruction.SYNC_WRITE:
            self._sync_write(parameters, by_id, time)
        else:
            broadcast = packet.id == BROADCAST
            asked = sorted(by_id) if broadcast else [packet.id] if packet.id in by_id else []
            for id in asked:
                answer = by_id[id].execute(instruction, parameters, time, broadcast)
                if answer is not None:
                    self._answer(by_id[id], answer, time)

    def _sync_write(self, parameters: bytes, by_id: dict[int, VirtualDevice], time: float) -> None:
        if len(parameters) < 4:
            return
        address, length = _word(parameters, 0), _word(parameters, 2)
        for at in range(4, len(parameters) - length, length + 1):
            device = by_id.get(parameters[at])
            if device is not None:
                device.write(address, parameters[at + 1 : at + 1 + length], time)

    def _sync_read(self, packet: Packet, by_id: dict[int, VirtualDevice], time: float) -> None:
        if len(packet.parameters) < 5:
            return
        address, length = _word(packet.parameters, 0), _word(packet.parameters, 2)
        ids = packet.parameters[4:]
        fast = packet.instruction == Instruction.FAST_SYNC_READ
        if fast and (length > FAST_LIMIT or len(ids) > MAX_ID):
            return
        # Every device takes its values when the packet ends, whenever its turn to speak comes.
        answers = {id: by_id[id].read(address, length, time) for id in ids if id in by_id}
        head = codec.fast_status_head(len(ids), length) if fast else b""
        crc = crc16(head)
        for id in ids:
            device = by_id.get(id)
            if device is None or not _answers(device, fast):
                return
            answer = answers[id]
            if not fast:
                if not self._answer(device, answer, time):
                    return
                continue
            data = answer.data.ljust(length, b"\0")  # a refused read still fills its block
            block, crc = codec.fast_status_block(id, answer.error, data, crc)
            if not self._send(device, head + block, time, 0.0 if not head else None):
                return
            head = b""

    def _answer(self, device: VirtualDevice, answer: Answer, time: float) -> bool:
        return self._send(device, codec.status(device.id, answer.error, answer.data), time)

    def _send(
        self, device: VirtualDevice, data: bytes, asked: float, gap: float | None = None
    ) -> bool:
        """Put an answer on the wire behind whatever is on it; whether it was sent at all."""
        faults, counts = self.faults, self.counts
        if faults.drop and self._random.random() < faults.drop:
            counts.dropped += 1
            return False
        if faults.corrupt and self._random.random() < faults.corrupt:
            counts.corrupted += 1
            data = burst(data, self._random)
        delay = faults.delayed(device.name, asked)
        if delay:
            counts.delayed += 1
        gap = device.return_delay if gap is None else gap
        start = max(asked + delay, self._device_until) + gap
        self._sent.append(_Sent(start, data))
        self._device_until = start + len(data) * self.byte_time
        return True


def _answers(device: VirtualDevice, fast: bool) -> bool:
    """Whether status return level and firmware let a device answer a sync read."""
    first = device.table.fast_sync_read
    knows = not fast or (first is not None and device.registers["firmware"] >= first)
    return knows and device.registers["status_return_level"] > 0


def _word(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8
