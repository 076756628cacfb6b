"""DYNAMIXEL Protocol 2.0 bytes to packets, incrementally. Never raises, whatever comes in.

Time is linear in the bytes fed: a byte is searched once, and a damaged packet costs at most
``MAX_LENGTH`` bytes of CRC before the search goes on behind its header.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fastcrc.crc16 import umts as crc16

from ..line import Status
from .codec import BROADCAST, HEADER, STATUS, unstuff

MAX_LENGTH = 2048  # longest believable length field: about 60 devices of 30 bytes
_SHORTEST = 11  # bytes of a status without data
_START = 7  # where the instruction stands


class Packet(NamedTuple):
    """One intact packet."""

    id: int
    instruction: int
    parameters: bytes


class _Stream:
    """The bytes not yet consumed, with the next header at their front.

    Args:
        longest: length field that is believed; a longer one is damage.
    """

    def __init__(self, longest: int = MAX_LENGTH) -> None:
        self.buffer = bytearray()
        self._longest = longest
        self.damaged = 0  # packets or blocks whose CRC was wrong

    def seek(self) -> int:
        """Bring the next header to the front; its packet's total size, or 0 if unknown yet."""
        buffer = self.buffer
        while True:
            at = buffer.find(HEADER)
            if at < 0:
                self.drop(max(0, len(buffer) - 3))
                return 0
            if at:
                self.drop(at)
            if len(buffer) < _START + 1:
                return 0
            length = buffer[5] | buffer[6] << 8
            if 3 <= length <= self._longest:
                return _START + length
            self.drop(4)

    def drop(self, count: int) -> None:
        """Give up ``count`` bytes."""
        del self.buffer[:count]

    def consume(self, size: int) -> None:
        """Be done with ``size`` bytes; a header may begin in the last of them all the same.

        A packet that lost its last byte borrows the next one's first, and may be right with it.
        """
        tail = bytes(self.buffer[size - 3 : size])
        overlap = next((n for n in (3, 2, 1) if tail.endswith(HEADER[:n])), 0)
        self.drop(size - overlap)

    def take(self, size: int, stuffed: bool) -> Packet | None:
        """Consume the packet of ``size`` bytes at the front; None if it is damaged.

        Where everybody stuffs, a packet with a header inside is one that reaches into the next.
        """
        packet = bytes(self.buffer[:size])
        wrong = crc16(packet[:-2]) != packet[-2] | packet[-1] << 8
        if wrong or (stuffed and HEADER in packet[_START:-2]):
            self.damaged += 1
            self.drop(4)
            return None
        self.consume(size)
        body = unstuff(packet[_START:-2])
        return Packet(packet[4], body[0], body[1:])


class InstructionParser:
    """Packets as a device hears them. Not every host stuffs: ``dynamixel-sdk`` forgets it at the
    end of a packet."""

    def __init__(self) -> None:
        self._stream = _Stream()

    def feed(self, data: bytes) -> list[Packet]:
        """Every intact packet that ``data`` completes."""
        stream, packets = self._stream, []
        stream.buffer += data
        while (size := stream.seek()) and len(stream.buffer) >= size:
            packet = stream.take(size, stuffed=False)
            if packet is not None:
                packets.append(packet)
        return packets


class StatusParser:
    """Answers as the host hears them, those to fast reads included.

    Args:
        fast_length: data bytes per device of the fast sync reads that are asked, whoever answers;
            0 if none is.
        fast_lengths: of each fast read that is asked, the data bytes of every device in order. A
            fast status of any other length is damage.
        longest: data bytes of the longest plain answer that is asked for; None: any.
    """

    def __init__(
        self,
        fast_length: int = 0,
        fast_lengths: Iterable[tuple[int, ...]] = (),
        longest: int | None = None,
    ) -> None:
        self.fast_length = fast_length
        self._fast = {1 + sum(lengths) + 4 * len(lengths): lengths for lengths in fast_lengths}
        believed = MAX_LENGTH
        if longest is not None and not fast_length:
            # Instruction, error and data, a third more if all of it is stuffed; then the CRC.
            believed = max((longest + 2) * 4 // 3 + 2, *self._fast, 0)
        self._stream = _Stream(believed)
        self._blocks: tuple[int, ...] = ()  # data bytes per block of the fast status under way
        self._next = 0  # the block that comes next
        self._block = 0  # where it begins; 0 before the first
        self._crc = 0  # over everything before it
        self._needs = _SHORTEST

    @property
    def needs(self) -> int:
        """Bytes that must still come before anything can be complete; at least 1."""
        return max(1, self._needs - len(self._stream.buffer))

    @property
    def damaged(self) -> int:
        """Packets and blocks whose CRC was wrong, so far."""
        return self._stream.damaged

    def reset(self) -> None:
        """Forget every byte that has been fed."""
        self._stream.drop(len(self._stream.buffer))
        self._block = 0
        self._needs = _SHORTEST

    def feed(self, data: bytes) -> list[Status]:
        """Every answer that ``data`` completes, in order of arrival."""
        stream, answers = self._stream, []
        stream.buffer += data
        while size := stream.seek():
            buffer = stream.buffer
            if buffer[_START] != STATUS:  # the host's own packet, echoed by its adapter
                stream.drop(4)
            elif buffer[4] == BROADCAST and (self.fast_length or self._fast):
                if not self._take_blocks(size, answers):
                    return answers
            elif len(buffer) < size:
                self._needs = size
                return answers
            else:
                packet = stream.take(size, stuffed=True)
                if packet is not None and packet.parameters:
                    answers.append(
                        Status(packet.id, packet.parameters[0], bytes(packet.parameters[1:]))
                    )
        self._needs = _SHORTEST
        return answers

    def flush(self) -> list[Status]:
        """Nothing more will come: give up the packet under way and deliver what stands behind.

        A damaged length field can claim bytes that never come; an intact answer may hide there.
        """
        answers = []
        while len(self._stream.buffer) >= 4:
            if self._block:
                self._stream.consume(self._block)
            else:
                self._stream.drop(4)
            self._block = 0
            answers += self.feed(b"")
        self.reset()
        return answers

    def _take_blocks(self, size: int, answers: list[Status]) -> bool:
        """Deliver the intact blocks there are; whether the packet is done with."""
        stream, buffer = self._stream, self._stream.buffer
        if self._block == 0:
            self._blocks = self._blocks_of(size - _START)
            self._next = 0
            if not self._blocks:
                stream.drop(4)
                stream.damaged += 1
                return True
            self._block = _START + 1
            self._crc = crc16(bytes(buffer[: self._block]))
        while self._next < len(self._blocks):
            end = self._block + 4 + self._blocks[self._next]
            if len(buffer) < end:
                self._needs = size
                return False
            data = bytes(buffer[self._block : end])
            own = crc16(data[:-2], self._crc)
            if own != data[-2] | data[-1] << 8:  # CRCs behind it build on it: all lost
                stream.damaged += 1
                stream.consume(self._block)
                self._block = 0
                return True
            answers.append(Status(data[1], data[0], data[2:-2]))
            self._crc = crc16(data[-2:], own)
            self._block = end
            self._next += 1
        stream.consume(size)
        self._block = 0
        return True

    def _blocks_of(self, length: int) -> tuple[int, ...]:
        """Data bytes of each block of a fast status with this length field; () if not asked for."""
        if self._fast:
            return self._fast.get(length, ())
        count, rest = divmod(length - 1, self.fast_length + 4)
        return (self.fast_length,) * count if rest == 0 else ()
