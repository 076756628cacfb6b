"""DYNAMIXEL devices on a virtual line: instruction packets to devices, their answers to the line.

In a group read a device waits for the one before it, so that a silent one loses everything behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastcrc.crc16 import umts as crc16

from ..dynamixel import codec
from ..dynamixel.codec import BROADCAST, Instruction
from ..dynamixel.parser import InstructionParser, Packet
from .device import Answer, VirtualDevice
from .line import VirtualLine

FAST_LIMIT = 256  # bytes per device of a fast read; a longer one is not answered
MAX_ID = 252
PACKET_GAP = 1.5e-3  # [s]
PING_SLOT = 3e-3  # [s] per id: when a device's turn comes to answer a broadcast ping

_SYNC_READS = (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ)
_BULK_READS = (Instruction.BULK_READ, Instruction.FAST_BULK_READ)
_FAST = (Instruction.FAST_SYNC_READ, Instruction.FAST_BULK_READ)


class Span(NamedTuple):
    """What one device of a group read is asked for."""

    id: int
    address: int
    length: int


# The devices that hear a packet by the id they answer to, and whether it is only their shadow id.
Heard = dict[int, list[tuple[VirtualDevice, bool]]]


class DynamixelResponder:
    """See ``Responder``.

    Args:
        line: where answers go.
        devices: those of this protocol on it.
    """

    packet_gap = PACKET_GAP
    burst_bits = 16  # what a CRC-16 notices for certain

    def __init__(self, line: VirtualLine, devices: Sequence[VirtualDevice]) -> None:
        self.devices = list(devices)
        self._line = line
        self._parser = InstructionParser()

    def hear(self, data: bytes, time: float) -> None:
        for packet in self._parser.feed(data):
            heard: Heard = {}
            for device in self.devices:
                if self._line.hears(device, time):
                    device.hear(time)
                    heard.setdefault(device.id, []).append((device, False))
                    if device.shadow_id is not None:
                        heard.setdefault(device.shadow_id, []).append((device, True))
            self._carry_out(packet, heard, time)

    def forget(self) -> None:
        self._parser = InstructionParser()

    def _carry_out(self, packet: Packet, heard: Heard, time: float) -> None:
        instruction, parameters = packet.instruction, packet.parameters
        if instruction in _SYNC_READS or instruction in _BULK_READS:
            parse = _sync_spans if instruction in _SYNC_READS else _bulk_spans
            self._group_read(parse(parameters), instruction in _FAST, heard, time)
        elif instruction in (Instruction.SYNC_WRITE, Instruction.BULK_WRITE):
            parse = _sync_data if instruction == Instruction.SYNC_WRITE else _bulk_data
            for id, address, data in parse(parameters):
                for device, shadow in heard.get(id, ()):
                    device.write(address, data, time, shadow)
        else:
            broadcast = packet.id == BROADCAST
            for id in sorted(heard) if broadcast else [packet.id]:
                answers = []
                for device, shadow in heard.get(id, ()):
                    if broadcast and shadow:
                        continue
                    answer = device.execute(instruction, parameters, time, broadcast, shadow)
                    if answer is not None:
                        answers.append((device, _status(id, answer)))
                if answers:
                    self._line.send(answers, time + id * PING_SLOT if broadcast else time)

    def _group_read(self, spans: Sequence[Span], fast: bool, heard: Heard, time: float) -> None:
        if fast and (len(spans) > MAX_ID or any(span.length > FAST_LIMIT for span in spans)):
            return
        # Every device takes its values when the packet ends, whenever its turn to speak comes.
        answers = [
            [
                (device, device.read(span.address, span.length, time))
                for device, shadow in heard.get(span.id, ())
                if not shadow and _answers(device, fast)
            ]
            for span in spans
        ]
        head = codec.fast_bulk_status_head([span.length for span in spans]) if fast else b""
        crc = crc16(head)
        for index, span in enumerate(spans):
            if not answers[index]:
                return
            frames, crc_before = [], crc
            for device, answer in answers[index]:
                if fast:  # a refused read still fills its block
                    data = answer.data.ljust(span.length, b"\0")
                    block, crc = codec.fast_status_block(span.id, answer.error, data, crc_before)
                    frames.append((device, (b"" if index else head) + block))
                else:
                    frames.append((device, _status(span.id, answer)))
            if not self._line.send(frames, time, continues=fast and index > 0):
                return


def _sync_spans(parameters: bytes) -> list[Span]:
    if len(parameters) < 5:
        return []
    address, length = _word(parameters, 0), _word(parameters, 2)
    return [Span(id, address, length) for id in parameters[4:]]


def _bulk_spans(parameters: bytes) -> list[Span]:
    return [
        Span(parameters[at], _word(parameters, at + 1), _word(parameters, at + 3))
        for at in range(0, len(parameters) - 4, 5)
    ]


def _sync_data(parameters: bytes) -> Iterator[tuple[int, int, bytes]]:
    if len(parameters) < 4:
        return
    address, length = _word(parameters, 0), _word(parameters, 2)
    for at in range(4, len(parameters) - length, length + 1):
        yield parameters[at], address, parameters[at + 1 : at + 1 + length]


def _bulk_data(parameters: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + 5 <= len(parameters):
        id, address, length = parameters[at], _word(parameters, at + 1), _word(parameters, at + 3)
        at += 5 + length
        if at <= len(parameters):
            yield id, address, parameters[at - length : at]


def _status(id: int, answer: Answer) -> bytes:
    return codec.status(id, answer.error, answer.data)


def _answers(device: VirtualDevice, fast: bool) -> bool:
    """Whether status return level and firmware let a device answer a group read."""
    first = device.table.fast_sync_read
    knows = not fast or (first is not None and device.registers["firmware"] >= first)
    return knows and device.registers["status_return_level"] > 0


def _word(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8
