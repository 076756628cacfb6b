"""Feetech bytes to frames, incrementally. Never raises, whatever comes in.

Time is linear in the bytes fed: a header stands at most at every second byte, and each costs at
most one checksum over the bytes its length claims, which are at most 259.
"""

from __future__ import annotations

from typing import NamedTuple

from ..line import Status
from .codec import BROADCAST, HEADER, MAX_ID, OVERHEAD


class Packet(NamedTuple):
    """One intact instruction."""

    id: int
    instruction: int
    parameters: bytes


class InstructionParser:
    """Packets as a device hears them: behind an intact one the next begins."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Every intact packet that ``data`` completes."""
        buffer, packets = self._buffer, []
        buffer += data
        while True:
            at = buffer.find(HEADER)
            if at < 0:
                del buffer[: max(0, len(buffer) - 1)]
                return packets
            del buffer[:at]
            if len(buffer) < 4:
                return packets
            size = buffer[3] + 4
            if buffer[2] > BROADCAST or size < OVERHEAD:
                del buffer[:1]
            elif len(buffer) < size:
                return packets
            elif sum(buffer[2:size]) & 0xFF == 0xFF:
                packets.append(Packet(buffer[2], buffer[4], bytes(buffer[5 : size - 1])))
                del buffer[:size]
            else:
                del buffer[:1]


class StatusParser:
    """Answers as the host hears them.

    The checksum has 8 bits and ``FF FF`` may stand inside a frame, so that a damaged frame can pass
    for another one that reaches over its end. Every intact frame is delivered all the same: the
    search goes on inside those already delivered.

    An adapter's echo of the host's own packet looks like an answer; the line takes it out before.

    Args:
        lengths: how many data bytes an answer can have; any number if none is given.
    """

    def __init__(self, *lengths: int) -> None:
        self._buffer = bytearray()
        self.expect(*lengths)

    def expect(self, *lengths: int) -> None:
        """Forget every byte that has been fed; now answers of these lengths are awaited."""
        self.lengths = lengths
        self._shortest = OVERHEAD + min(lengths, default=0)
        self._buffer.clear()
        self._end = 0  # behind the last answer delivered
        self._needs = self._shortest

    @property
    def needs(self) -> int:
        """Bytes that must still come before anything more can be complete; at least 1."""
        return max(1, self._needs - len(self._buffer))

    def feed(self, data: bytes) -> list[Status]:
        """Every answer that ``data`` completes, in order of arrival."""
        self._buffer += data
        return self._scan(flushing=False)

    def flush(self) -> list[Status]:
        """Nothing more will come: give up what is under way and deliver what stands behind it.

        A damaged length can claim bytes that never come; an intact answer may hide there.
        """
        answers = self._scan(flushing=True)
        self.expect(*self.lengths)
        return answers

    def _scan(self, *, flushing: bool) -> list[Status]:
        buffer, answers = self._buffer, []
        at, have, claimed = 0, len(self._buffer), 0
        while True:
            found = buffer.find(HEADER, at)
            if found < 0:
                at = max(at, have - 1)  # the last byte may be the half of a header
                break
            at = found
            if at + 4 > have:
                break
            size = buffer[at + 3] + 4
            if self._believable(buffer[at + 2], size):
                if at + size > have:
                    if not flushing:
                        claimed = at + size
                        break
                elif sum(buffer[at + 2 : at + size]) & 0xFF == 0xFF:
                    data = bytes(buffer[at + 5 : at + size - 1])
                    answers.append(Status(buffer[at + 2], buffer[at + 4], data))
                    self._end = at + size
            at += 1
        del buffer[:at]
        self._end = max(0, self._end - at)
        # Behind an answer the next begins, whatever in it looks like a header.
        self._needs = claimed - at if claimed else self._end + self._shortest
        return answers

    def _believable(self, id: int, size: int) -> bool:
        if self.lengths:
            return id <= MAX_ID and size - OVERHEAD in self.lengths
        return id <= MAX_ID and size >= OVERHEAD
