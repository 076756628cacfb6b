"""Feetech STS/SMS frames, built. Pure functions; the parser is the way back.

``FF FF id length instruction parameters checksum``, length = parameters + 2. A status has an error
byte in the instruction's place. No stuffing: ``FF FF`` may stand anywhere in a frame.

Source: Feetech, "SCS/STS communication protocol"; memory map of the STS series.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

HEADER = b"\xff\xff"
BROADCAST = 0xFE
MAX_ID = 253
OVERHEAD = 6  # bytes of a frame without parameters: header, id, length, instruction, checksum
LONGEST = 255  # what the length byte can say


class Instruction(enum.IntEnum):
    """What a host can ask. Sources disagree on 06 and 08, so neither is offered."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


class Error(enum.IntEnum):
    """Bits of a status' error byte and of the status register: what a servo says of itself."""

    NONE = 0
    VOLTAGE = 1
    ENCODER = 2
    OVERHEAT = 4
    CURRENT = 8
    OVERLOAD = 32


ERROR_TEXTS: dict[Error, str] = {
    Error.VOLTAGE: "supply voltage outside its limits",
    Error.ENCODER: "encoder fault",
    Error.OVERHEAT: "overheating",
    Error.CURRENT: "overcurrent",
    Error.OVERLOAD: "overload",
}


def error_text(error: int) -> str:
    """What an error byte says, in words."""
    texts = [text for bit, text in ERROR_TEXTS.items() if error & bit]
    return ", ".join(texts) or f"error {error}"


def checksum(body: bytes | bytearray) -> int:
    """Of everything between header and checksum."""
    return ~sum(body) & 0xFF


def frame(id: int, instruction: int, parameters: bytes = b"") -> bytes:
    """A whole packet: header, id, length, instruction, parameters, checksum.

    Raises:
        ValueError: more parameters than the length byte can count.
    """
    length = len(parameters) + 2
    if length > LONGEST:
        raise ValueError(
            f"a frame holds at most {LONGEST - 2} bytes of parameters, got {len(parameters)}; "
            "split it"
        )
    body = bytes((id, length, instruction)) + parameters
    return HEADER + body + bytes((checksum(body),))


def ping(id: int) -> bytes:
    return frame(id, Instruction.PING)


def read(id: int, address: int, length: int) -> bytes:
    return frame(id, Instruction.READ, bytes((address, length)))


def write(id: int, address: int, data: bytes) -> bytes:
    return frame(id, Instruction.WRITE, bytes((address,)) + data)


def reg_write(id: int, address: int, data: bytes) -> bytes:
    """A write that waits for ``action``."""
    return frame(id, Instruction.REG_WRITE, bytes((address,)) + data)


def action(id: int = BROADCAST) -> bytes:
    """Carry out what ``reg_write`` has left waiting."""
    return frame(id, Instruction.ACTION)


def sync_read(ids: Iterable[int], address: int, length: int) -> bytes:
    """Ask every device of ``ids``, in this order, for the same registers; a status from each."""
    return frame(BROADCAST, Instruction.SYNC_READ, bytes((address, length, *ids)))


def sync_write(address: int, data: Sequence[tuple[int, bytes]]) -> bytes:
    """Write the same registers of several devices: (id, bytes) each, all of one length."""
    blocks = b"".join(bytes((id,)) + value for id, value in data)
    return frame(BROADCAST, Instruction.SYNC_WRITE, bytes((address, len(data[0][1]))) + blocks)


def status(id: int, error: int, parameters: bytes = b"") -> bytes:
    """A device's answer."""
    return frame(id, error, parameters)
