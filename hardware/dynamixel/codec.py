"""DYNAMIXEL Protocol 2.0 frames, built. Pure functions; the parser is the way back.

Source: ROBOTIS e-manual, "DYNAMIXEL Protocol 2.0".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from fastcrc.crc16 import umts as crc16

HEADER = b"\xff\xff\xfd\x00"
BROADCAST = 0xFE
STATUS = 0x55
ALERT = 0x80  # of a status' error byte: the device's hardware error register is not 0
OVERHEAD = 10  # bytes of a frame without parameters: header, id, length, instruction, crc


class Instruction(enum.IntEnum):
    """What a host can ask."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    FACTORY_RESET = 0x06
    REBOOT = 0x08
    CLEAR = 0x10
    CONTROL_TABLE_BACKUP = 0x20
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A
    BULK_READ = 0x92
    BULK_WRITE = 0x93
    FAST_BULK_READ = 0x9A


class Reset(enum.IntEnum):
    """What a factory reset puts back to the maker's defaults."""

    ALL = 0xFF  # ignored by every device when broadcast
    ALL_BUT_ID = 0x01
    ALL_BUT_ID_AND_BAUD = 0x02


class Backup(enum.IntEnum):
    """What becomes of the copy of its control table that a device keeps."""

    STORE = 0x01
    RESTORE = 0x02


CLEAR_TURNS = b"\x01\x44\x58\x4c\x22"  # parameters of CLEAR: forget whole turns
BACKUP_KEY = b"\x43\x54\x52\x4c"  # behind the option of CONTROL_TABLE_BACKUP


class Error(enum.IntEnum):
    """The low seven bits of a status' error byte."""

    NONE = 0
    RESULT_FAIL = 1
    INSTRUCTION = 2
    CRC = 3
    DATA_RANGE = 4
    DATA_LENGTH = 5
    DATA_LIMIT = 6
    ACCESS = 7


ERROR_TEXTS: dict[int, str] = {
    Error.RESULT_FAIL: "it could not carry out the instruction",
    Error.INSTRUCTION: "it does not know the instruction",
    Error.CRC: "it received a damaged packet",
    Error.DATA_RANGE: "the value is outside the register's range, or its bus watchdog has tripped",
    Error.DATA_LENGTH: "the data is shorter than the register",
    Error.DATA_LIMIT: "the value is beyond the device's own limit registers",
    Error.ACCESS: "the register is read-only, or locked while torque is on",
}

HARDWARE_ERRORS: dict[int, str] = {  # by bit of the hardware error register
    0: "supply voltage outside its limits",
    2: "overheating",
    3: "encoder fault",
    4: "electrical shock",
    5: "overload",
}


def hardware_error_text(bits: int) -> str:
    """What the hardware error register says, in words."""
    names = [text for bit, text in HARDWARE_ERRORS.items() if bits >> bit & 1]
    return ", ".join(names) or f"error {bits}"


def frame(id: int, instruction: int, parameters: bytes = b"") -> bytes:
    """A whole packet: header, id, length, stuffed body, CRC."""
    body = stuff(bytes((instruction,)) + parameters)
    length = len(body) + 2
    head = HEADER + bytes((id, length & 0xFF, length >> 8)) + body
    return head + crc16(head).to_bytes(2, "little")


def stuff(body: bytes) -> bytes:
    """Insert ``FD`` after every ``FF FF FD`` so that no header can stand inside a packet."""
    return body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")


def unstuff(body: bytes) -> bytes:
    """The inverse of ``stuff``."""
    return body.replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")


def ping(id: int) -> bytes:
    return frame(id, Instruction.PING)


def read(id: int, address: int, length: int) -> bytes:
    return frame(id, Instruction.READ, _words(address, length))


def write(id: int, address: int, data: bytes) -> bytes:
    return frame(id, Instruction.WRITE, _words(address) + data)


def reg_write(id: int, address: int, data: bytes) -> bytes:
    """As ``write``, but held back until ``action``."""
    return frame(id, Instruction.REG_WRITE, _words(address) + data)


def action(id: int = BROADCAST) -> bytes:
    """Carry out what ``reg_write`` registered; by default everywhere at once."""
    return frame(id, Instruction.ACTION)


def factory_reset(id: int, what: Reset) -> bytes:
    """Back to the maker's defaults; the device reboots."""
    return frame(id, Instruction.FACTORY_RESET, bytes((what,)))


def reboot(id: int) -> bytes:
    return frame(id, Instruction.REBOOT)


def clear_turns(id: int) -> bytes:
    """Bring the present position of a servo at rest back into one turn."""
    return frame(id, Instruction.CLEAR, CLEAR_TURNS)


def backup(id: int, what: Backup) -> bytes:
    """Store the control table beside itself, or restore it from there."""
    return frame(id, Instruction.CONTROL_TABLE_BACKUP, bytes((what,)) + BACKUP_KEY)


def sync_read(ids: Iterable[int], address: int, length: int) -> bytes:
    """Ask every device of ``ids``, in this order, for the same registers; a status from each."""
    return frame(BROADCAST, Instruction.SYNC_READ, _words(address, length) + bytes(ids))


def fast_sync_read(ids: Iterable[int], address: int, length: int) -> bytes:
    """As ``sync_read``, answered by one status to which every device adds its block."""
    return frame(BROADCAST, Instruction.FAST_SYNC_READ, _words(address, length) + bytes(ids))


def sync_write(address: int, data: Sequence[tuple[int, bytes]]) -> bytes:
    """Write the same registers of several devices: (id, bytes) each, all of one length."""
    length = len(data[0][1])
    blocks = b"".join(bytes((id,)) + value for id, value in data)
    return frame(BROADCAST, Instruction.SYNC_WRITE, _words(address, length) + blocks)


def bulk_read(spans: Iterable[tuple[int, int, int]]) -> bytes:
    """Ask each device for registers of its own: (id, address, length) each; a status from each."""
    return frame(BROADCAST, Instruction.BULK_READ, _spans(spans))


def fast_bulk_read(spans: Iterable[tuple[int, int, int]]) -> bytes:
    """As ``bulk_read``, answered by one status to which every device adds its block."""
    return frame(BROADCAST, Instruction.FAST_BULK_READ, _spans(spans))


def bulk_write(data: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Write to each device registers of its own: (id, address, bytes) each."""
    blocks = (bytes((id,)) + _words(address, len(value)) + value for id, address, value in data)
    return frame(BROADCAST, Instruction.BULK_WRITE, b"".join(blocks))


def status(id: int, error: int, parameters: bytes = b"") -> bytes:
    """A device's answer."""
    return frame(id, STATUS, bytes((error,)) + parameters)


def fast_status_head(devices: int, length: int) -> bytes:
    """What the first device of a fast sync read sends before its block."""
    return fast_bulk_status_head([length] * devices)


def fast_bulk_status_head(lengths: Sequence[int]) -> bytes:
    """What the first device of a fast bulk read sends before its block.

    Args:
        lengths: data bytes of every device, in the order asked.
    """
    total = 1 + sum(4 + length for length in lengths)
    return HEADER + bytes((BROADCAST, total & 0xFF, total >> 8, STATUS))


def fast_status_block(id: int, error: int, data: bytes, crc: int) -> tuple[bytes, int]:
    """One device's part of a fast read's status; never stuffed.

    Args:
        id, error, data: the device's answer.
        crc: over everything from the header on that stands before this block.

    Returns:
        The block, and the CRC over everything up to its end, for the next device.
    """
    body = bytes((error, id)) + data
    own = crc16(body, crc)
    tail = own.to_bytes(2, "little")
    return body + tail, crc16(tail, own)


def _spans(spans: Iterable[tuple[int, int, int]]) -> bytes:
    return b"".join(bytes((id,)) + _words(address, length) for id, address, length in spans)


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)
