"""What every virtual DYNAMIXEL device does: access rules, and instructions for one device."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from ..dynamixel.codec import ALERT, Error, Instruction, Reset
from ..model_table import ModelTable
from .registers import RegisterFile

# By register code; 4.5 Mbit/s is known to the X430 and larger.
BAUDS = (9_600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 4_500_000)
TICK_WRAP = 32_768  # the realtime tick counts 0 to 32767 ms
BOOT = 0.3  # [s] a rebooting device is deaf
LIVE = 120  # registers from this address on change by themselves


class Answer(NamedTuple):
    """What a device has to say: its error byte, alert included, and its data."""

    error: int
    data: bytes = b""


class VirtualDevice:
    """Base of the virtual servo and sensor board. Time comes with every call [s].

    Args:
        name: joint name or "imu".
        table: its model.
        id: on the line.
        baud: of the line [bit/s].
        watched: see ``RegisterFile``.

    Attributes:
        registers: the control table; EEPROM survives ``reboot``, RAM does not.
        booted: when the device began to listen, where its realtime tick is 0 [s].
    """

    def __init__(
        self, name: str, table: ModelTable, id: int, baud: int, watched: Collection[str] = ()
    ) -> None:
        self.name = name
        self.table = table
        self.registers = RegisterFile(table, watched)
        self.registers["id"] = id
        self.registers["baud_rate"] = BAUDS.index(baud)
        self.registers["return_delay"] = 0
        self.booted = 0.0
        self._registered: tuple[int, bytes] | None = None

    @property
    def id(self) -> int:
        return self.registers["id"]

    @property
    def shadow_id(self) -> int | None:
        """The second id it obeys, without answering; None if it has none."""
        if "secondary_id" not in self.registers:
            return None
        id = self.registers["secondary_id"]
        return id if id <= 252 and id != self.id else None

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
        self._registered = None
        self.booted = time + BOOT

    def execute(
        self,
        instruction: int,
        parameters: bytes,
        time: float,
        broadcast: bool = False,
        shadow: bool = False,
    ) -> Answer | None:
        """Carry out one instruction.

        Args:
            instruction, parameters: of the packet.
            time: when it ended [s].
            broadcast: it was for everyone.
            shadow: it was for ``shadow_id``.

        Returns:
            The answer; None where the device must not give one.
        """
        alert = self.answer(Error.NONE).error
        if instruction == Instruction.PING:
            number, firmware = self.table.registers["model_number"], self.registers["firmware"]
            model = number.encode(self.registers["model_number"])
            return None if shadow else Answer(alert, model + bytes((firmware,)))
        silent = broadcast or shadow
        level = self.registers["status_return_level"]
        if instruction == Instruction.READ:
            if silent or level < 1:
                return None
            if len(parameters) != 4:
                return self.answer(Error.DATA_LENGTH)
            return self.read(_word(parameters, 0), _word(parameters, 2), time)
        error = self.act(instruction, parameters, time, broadcast, shadow)
        return None if silent or level < 2 else Answer(error | alert)

    def act(
        self, instruction: int, parameters: bytes, time: float, broadcast: bool, shadow: bool
    ) -> int:
        """Carry out an instruction that is answered by an ``Error`` alone."""
        if instruction in (Instruction.WRITE, Instruction.REG_WRITE):
            if len(parameters) < 3:
                return Error.DATA_LENGTH
            address, data = _word(parameters, 0), parameters[2:]
            if instruction == Instruction.WRITE:
                return self.write(address, data, time, shadow)
            error, _ = self._changes(address, data, shadow)
            if not error:
                self._register((address, data))
            return error
        if instruction == Instruction.ACTION:
            if self._registered is None:
                return Error.INSTRUCTION
            address, data = self._registered
            self._register(None)
            return self.write(address, data, time, shadow)
        if instruction == Instruction.REBOOT:
            self.reboot(time)
            return Error.NONE
        if instruction == Instruction.FACTORY_RESET:
            if len(parameters) != 1:
                return Error.DATA_LENGTH
            if parameters[0] not in list(Reset):
                return Error.DATA_RANGE
            if shadow:
                return Error.ACCESS
            if not (broadcast and parameters[0] == Reset.ALL):
                self.factory_reset(Reset(parameters[0]), time)
            return Error.NONE
        return Error.INSTRUCTION

    def factory_reset(self, what: Reset, time: float) -> None:
        """Every register to its default, but for what is spared; then a reboot."""
        spared = {
            Reset.ALL: (),
            Reset.ALL_BUT_ID: ("id",),
            Reset.ALL_BUT_ID_AND_BAUD: ("id", "baud_rate"),
        }[what]
        for name, register in self.table.registers.items():
            if name not in spared:
                self.registers[name] = register.default
        self.reboot(time)

    def answer(self, error: int, data: bytes = b"") -> Answer:
        """An answer with the alert bit as the hardware error register has it."""
        return Answer(error | (ALERT if self.registers["hardware_error"] else 0), data)

    def read(self, address: int, length: int, time: float) -> Answer:
        """``length`` bytes from ``address``; addresses between registers hold 0."""
        if length == 0:
            return self.answer(Error.DATA_LENGTH)
        if address + length > len(self.registers.data):
            return self.answer(Error.ACCESS)
        if address + length > LIVE:
            self.refresh(time)
        return self.answer(Error.NONE, self.registers.read(address, length))

    def write(self, address: int, data: bytes, time: float, shadow: bool = False) -> int:
        """Write ``data`` at ``address`` if every register it touches agrees; an ``Error``."""
        error, changes = self._changes(address, data, shadow)
        if error:
            return error
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

    def _changes(
        self, address: int, data: bytes, shadow: bool
    ) -> tuple[int, list[tuple[str, int]]]:
        found = self.registers.touched(address, data)
        if not found:
            return Error.ACCESS, []
        changes = []
        for name, register, new in found:
            if new is None:
                return Error.DATA_LENGTH, []
            if register.access == "r" or (register.area == "eeprom" and (self.locked or shadow)):
                return Error.ACCESS, []
            value = register.decode(new)
            error = self.refuse(name, value)
            if error:
                return error, []
            changes.append((name, value))
        return Error.NONE, changes

    def _register(self, instruction: tuple[int, bytes] | None) -> None:
        self._registered = instruction
        if "registered_instruction" in self.registers:
            self.registers["registered_instruction"] = int(instruction is not None)


def _word(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8
