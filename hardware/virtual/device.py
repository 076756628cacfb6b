"""What every virtual device on a DYNAMIXEL line does: registers, access rules, instructions."""

from __future__ import annotations

from typing import NamedTuple

from ..dynamixel.codec import ALERT, Error, Instruction
from ..model_table import ModelTable, Register

BAUDS = (9_600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000)  # by register code
TICK_WRAP = 32_768  # the realtime tick counts 0 to 32767 ms
BOOT = 0.3  # [s] a rebooting device is deaf


class Answer(NamedTuple):
    """What a device has to say: its error byte, alert included, and its data."""

    error: int
    data: bytes = b""


class RegisterFile:
    """A control table's bytes."""

    def __init__(self, table: ModelTable) -> None:
        self.table = table
        self.data = bytearray(max(r.address + r.size for r in table.registers.values()))
        for name, register in table.registers.items():
            self[name] = register.default

    def __getitem__(self, name: str) -> int:
        register = self.table.registers[name]
        return register.decode(
            bytes(self.data[register.address : register.address + register.size])
        )

    def __setitem__(self, name: str, value: int) -> None:
        register = self.table.registers[name]
        self.data[register.address : register.address + register.size] = register.encode(value)

    def __contains__(self, name: str) -> bool:
        return name in self.table.registers

    def within(self, address: int, length: int) -> list[tuple[str, Register]]:
        """The registers any byte of which lies in a span."""
        return [
            (name, register)
            for name, register in self.table.registers.items()
            if register.address < address + length and address < register.address + register.size
        ]


class VirtualDevice:
    """Base of the virtual servo and sensor board. Time comes with every call [s].

    Attributes:
        name: joint name or "imu".
        registers: the control table; EEPROM survives ``reboot``, RAM does not.
        booted: when the device began to listen, where its realtime tick is 0 [s].
    """

    def __init__(self, name: str, table: ModelTable, id: int, baud: int) -> None:
        self.name = name
        self.table = table
        self.registers = RegisterFile(table)
        self.registers["id"] = id
        self.registers["baud_rate"] = BAUDS.index(baud)
        self.registers["return_delay"] = 0
        self.booted = 0.0

    @property
    def id(self) -> int:
        return self.registers["id"]

    @property
    def baud(self) -> int:
        """[bit/s]"""
        return BAUDS[self.registers["baud_rate"]]

    @property
    def return_delay(self) -> float:
        """Between the end of an instruction and the answer [s]."""
        return self.registers["return_delay"] * self.table.registers["return_delay"].unit

    def listening(self, time: float) -> bool:
        """False while the device boots."""
        return time >= self.booted

    def hear(self, time: float) -> None:
        """An intact instruction packet, for whichever id, ended at ``time``."""

    def refresh(self, time: float) -> None:
        """Bring the live registers up to ``time``; subclasses add theirs."""
        self.registers["realtime_tick"] = self.tick(time)

    def tick(self, time: float) -> int:
        """Milliseconds since boot, modulo 32768."""
        return int((time - self.booted) * 1000.0 + 1e-6) % TICK_WRAP

    def reboot(self, time: float) -> None:
        """Lose RAM, keep EEPROM, be deaf for a while."""
        for name, register in self.table.registers.items():
            if register.area == "ram":
                self.registers[name] = register.default
        self.booted = time + BOOT

    def execute(
        self, instruction: int, parameters: bytes, time: float, broadcast: bool
    ) -> Answer | None:
        """Carry out one instruction addressed to this device; None where it must not answer."""
        if instruction == Instruction.PING:
            number, firmware = self.table.registers["model_number"], self.registers["firmware"]
            return self.answer(
                Error.NONE, number.encode(self.registers["model_number"]) + bytes((firmware,))
            )
        level = self.registers["status_return_level"]
        if instruction == Instruction.READ:
            if len(parameters) != 4:
                answer = self.answer(Error.DATA_LENGTH)
            else:
                address, length = _words(parameters)
                answer = self.read(address, length, time)
            return None if broadcast or level < 1 else answer
        if instruction == Instruction.WRITE:
            if len(parameters) < 3:
                answer = self.answer(Error.DATA_LENGTH)
            else:
                error = self.write(_words(parameters[:2])[0], parameters[2:], time)
                answer = self.answer(error)
        elif instruction == Instruction.REBOOT:
            answer = self.answer(Error.NONE)
            self.reboot(time)
        else:
            answer = self.answer(Error.INSTRUCTION)
        return None if broadcast or level < 2 else answer

    def answer(self, error: int, data: bytes = b"") -> Answer:
        """An answer with the alert bit as the hardware error register has it."""
        return Answer(error | (ALERT if self.registers["hardware_error"] else 0), data)

    def read(self, address: int, length: int, time: float) -> Answer:
        """``length`` bytes from ``address``; addresses without a register hold 0."""
        self.refresh(time)
        data = self.registers.data
        if address + length > max(len(data), 256) or length == 0:
            return self.answer(Error.DATA_RANGE)
        return self.answer(Error.NONE, bytes(data[address : address + length]).ljust(length, b"\0"))

    def write(self, address: int, data: bytes, time: float) -> int:
        """Write ``data`` at ``address`` if every register it touches agrees; an ``Error``."""
        found = self.registers.within(address, len(data))
        if not found:
            return Error.ACCESS
        changes = []
        for name, register in found:
            start = register.address - address
            if start < 0 or start + register.size > len(data):
                return Error.DATA_LENGTH
            value = register.decode(data[start : start + register.size])
            if register.access == "r" or (register.area == "eeprom" and self.locked):
                return Error.ACCESS
            error = self.refuse(name, value)
            if error:
                return error
            changes.append((name, value))
        for name, value in changes:
            self.registers[name] = value
            self.written(name, value, time)
        return Error.NONE

    @property
    def locked(self) -> bool:
        """Whether EEPROM refuses writes."""
        return False

    def refuse(self, name: str, value: int) -> int:
        """Why ``value`` may not stand in ``name``; an ``Error``, 0 if it may."""
        return Error.NONE if self.table.registers[name].allows(value) else Error.DATA_RANGE

    def written(self, name: str, value: int, time: float) -> None:
        """``value`` was just written to ``name`` from the line."""


def _words(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[i : i + 2], "little") for i in range(0, len(data), 2))
