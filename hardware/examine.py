"""One id looked at closely: what is there, how it feels, and whether it is one device or two.

Two devices with one id answer at once, and what the host hears is neither answer, or now the one
and now the other. Either shows in repeated reads of registers that differ between any two devices.
"""

from __future__ import annotations

import dataclasses

from .alerts import alert_text
from .dialect import Listener
from .line import PATIENCE
from .model_table import ModelTable

PINGS = 12  # at most, until one is answered intact
READS = 10
CLEAN_READS = 5  # equal ones with nothing amiss are enough
DAMAGED = 4  # answers are no longer chance, even on a poor line
DOUBLED = 2  # answers to one question: once, an earlier one may have come late
TAIL = 3e-3  # [s]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What answers to one id at one baud rate."""

    protocol: str
    baud: int  # [bit/s]
    id: int
    number: int | None  # model number; None: no intact answer
    model: str  # a table in hardware/models, or "unknown (number 1234)"
    firmware: str
    alert: str = ""  # the hardware error register in words
    notes: tuple[str, ...] = ()  # what else somebody who will use it should know
    clash: str = ""  # what shows that there are two

    @property
    def at_rest(self) -> bool:
        """One device, with nothing to say."""
        return not (self.alert or self.notes or self.clash)


def examine(listener: Listener, id: int) -> Found | None:
    """What answers to ``id``; None if nothing does."""
    dialect, line = listener.dialect, listener.line
    number, firmware, heard_anything, damaged, doubled = None, "", False, 0, 0
    for attempt in range(PINGS):
        heard = listener.hear(dialect.ping(id), dialect.answer, PATIENCE, TAIL)
        answers = [a for a in heard.answers if a.id == id and len(a.data) == dialect.answer]
        heard_anything |= bool(answers) or heard.strays > 0
        doubled += len(answers) > 1
        damaged += not answers and heard.strays > 0
        if answers:
            number, firmware = dialect.identity(answers[0].data)
            break
        if attempt >= 2 and not heard_anything:
            return None
    if number is None and damaged < DAMAGED:  # noise
        return None
    tables = dialect.tables(number) if number is not None else []
    length = max((_end(table) for table in tables), default=dialect.spoken)
    contents, more_damaged, more_doubled = _read_again(listener, id, length)
    found = Found(
        protocol=dialect.protocol,
        baud=line.port.baud,
        id=id,
        number=number,
        model="?" if number is None else f"unknown (number {number})",
        firmware=firmware,
    )
    content = contents[0] if contents else b""
    table = _table(tables, firmware, content)
    if table is not None:
        registers = _decode(table, content)
        found = dataclasses.replace(
            found,
            model=table.name,
            alert=alert_text(dialect.protocol, registers.get("hardware_error", 0)),
            notes=_notes(registers) if content or more_damaged else ("answers pings only",),
        )
    clash = _clash(table, contents, damaged + more_damaged, doubled + more_doubled)
    return dataclasses.replace(found, clash=clash)


def _read_again(listener: Listener, id: int, length: int) -> tuple[list[bytes], int, int]:
    """The same registers again and again: contents, damaged and doubled answers."""
    contents: list[bytes] = []
    damaged = doubled = reads = 0
    packet = listener.dialect.read(id, 0, length)
    while reads < READS and not (len(contents) == CLEAN_READS and not damaged and not doubled):
        reads += 1
        heard = listener.hear(packet, length, PATIENCE, TAIL)
        intact = [a.data for a in heard.answers if a.id == id and len(a.data) == length]
        doubled += len(intact) > 1
        damaged += not intact and heard.strays > 0
        contents += intact
    return contents, damaged, doubled


def _clash(table: ModelTable | None, contents: list[bytes], damaged: int, doubled: int) -> str:
    """What shows that there are two devices; empty if nothing does."""
    if table is not None and len(contents) > 1:
        kept = [
            {name: value for name, value in _decode(table, data).items() if _is_kept(table, name)}
            for data in contents
        ]
        for other in kept[1:]:
            for name, value in other.items():
                if value != kept[0][name]:
                    return f"two devices: {name} reads {kept[0][name]} and {value}"
    if doubled >= DOUBLED:
        return "two devices: one question gets two answers"
    if damaged >= DAMAGED:
        return (
            f"two devices, or a bad cable: {damaged} answers came damaged, {len(contents)} intact"
        )
    return ""


def _notes(registers: dict[str, int]) -> tuple[str, ...]:
    notes = []
    if registers.get("torque_enable") == 1:
        notes.append("torque is on")
    if registers.get("secondary_id", 255) <= 252:
        notes.append(f"also obeys id {registers['secondary_id']}")
    if registers.get("startup_configuration", 0) & 1:
        notes.append("switches torque on at power-up")
    if registers.get("bus_watchdog") == -1:
        notes.append("its bus watchdog has tripped")
    return tuple(notes)


def _table(tables: list[ModelTable], firmware: str, data: bytes) -> ModelTable | None:
    """The one of a model's tables that fits the firmware and the supply it is made for."""
    if not tables:
        return None
    minor = int(firmware.rpartition(".")[2])
    in_range = [t for t in tables if t.firmware_range[0] <= minor <= t.firmware_range[1]]
    for table in in_range:
        limit = _decode(table, data).get("max_voltage_limit")
        nominal = table.motor.voltage if table.motor else 0.0
        if limit is None or nominal <= 0.1 * limit <= 1.5 * nominal:
            return table
    return (in_range or tables)[0]


def _decode(table: ModelTable, data: bytes) -> dict[str, int]:
    return {
        name: r.decode(data[r.address : r.address + r.size])
        for name, r in table.registers.items()
        if r.address + r.size <= len(data)
    }


def _is_kept(table: ModelTable, name: str) -> bool:
    """Whether a register stays as it is while nobody writes."""
    return table.registers[name].area == "eeprom"


def _end(table: ModelTable) -> int:
    """Behind the last register there is for certain: indirect ones move with the firmware."""
    return max(r.address + r.size for name, r in table.registers.items() if "indirect" not in name)
