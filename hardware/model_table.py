"""Register tables of the devices retort knows: what stands at which address, in which unit."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from pathlib import Path
from typing import Literal

import numpy as np

from .errors import RobotFileError
from .parsing import parse

MODELS = Path(__file__).parent / "models"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Register:
    """One entry of a control table; values are little-endian."""

    address: int
    size: int  # [bytes]
    signed: bool = False  # two's complement
    sign_bit: int | None = None  # this bit set means minus: sign and magnitude, as Feetech has it
    area: Literal["eeprom", "ram"] = "ram"
    access: Literal["r", "rw"] = "rw"
    unit: float = 1.0  # SI value of one count
    default: int = 0
    min: int | None = None  # None: what the size holds
    max: int | None = None  # None: what the size holds
    values: tuple[int, ...] = ()  # if given, only these are allowed

    def encode(self, value: int) -> bytes:
        """The bytes of a register value.

        Raises:
            OverflowError: ``value`` does not fit the register's size.
        """
        if self.sign_bit is not None and value < 0:
            if -value >> self.sign_bit:
                raise OverflowError(f"{value} has more than the {self.sign_bit} bits there are")
            value = -value | 1 << self.sign_bit
        return int(value).to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes) -> int:
        """The register value in ``data``, (size,) bytes."""
        value = int.from_bytes(data, "little", signed=self.signed)
        if self.sign_bit is not None and value >> self.sign_bit & 1:
            return -(value & ~(1 << self.sign_bit))
        return value

    @property
    def span(self) -> tuple[int, int]:
        """The smallest and the largest value its bytes can hold."""
        if self.sign_bit is not None:
            return 1 - (1 << self.sign_bit), (1 << self.sign_bit) - 1
        bits = 8 * self.size
        return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.signed else (0, (1 << bits) - 1)

    def allows(self, value: int) -> bool:
        """Whether the device accepts ``value``, its own limit registers aside."""
        if self.values:
            return value in self.values
        low, high = self.span
        return (
            (low if self.min is None else self.min)
            <= value
            <= (high if self.max is None else self.max)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a data sheet says of a motor at one supply voltage."""

    voltage: float  # [V]
    stall_torque: float  # [N·m]
    stall_current: float  # [A]
    no_load_speed: float  # [rad/s]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Motor(OperatingPoint):
    """A servo's motor and gear at its output shaft, at the nominal voltage.

    ``others`` are the data sheet's points at other voltages, where it gives any: geared motors lose
    torque per current at higher ones.
    """

    others: tuple[OperatingPoint, ...] = ()

    def at(self, voltage: float) -> Motor:
        """The motor at a supply voltage [V], between the data sheet's points or in proportion to
        the nearest one beyond them.
        """
        points = sorted((self, *self.others), key=lambda point: point.voltage)
        names = ("stall_torque", "stall_current", "no_load_speed")
        nearest = min(max(voltage, points[0].voltage), points[-1].voltage)
        voltages = [point.voltage for point in points]
        values = {
            name: voltage
            / nearest
            * float(np.interp(nearest, voltages, [getattr(p, name) for p in points]))
            for name in names
        }
        return Motor(voltage=voltage, others=self.others, **values)

    @property
    def torque_constant(self) -> float:
        """Torque per current [N·m/A]."""
        return self.stall_torque / self.stall_current

    @property
    def resistance(self) -> float:
        """Of the winding [ohm]."""
        return self.voltage / self.stall_current

    @property
    def back_emf(self) -> float:
        """Voltage per speed of the output shaft [V·s/rad]."""
        return self.voltage / self.no_load_speed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thermal:
    """How a servo warms up: winding and case as two heat stores, air around them."""

    winding_capacity: float  # [J/K]
    case_capacity: float  # [J/K]
    winding_to_case: float  # thermal resistance [K/W]
    case_to_air: float  # thermal resistance [K/W]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overload:
    """What a servo's firmware takes for an overload."""

    current: float  # share of the stall current
    seconds: float  # that it must flow without a break [s]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Indirect:
    """Windows of one byte each: ``data + i`` shows the byte at the address in ``address + 2 i``."""

    count: int
    address: int
    data: int
    lowest: int = 64  # address a window can show
    highest: int

    def registers(self, first: int) -> dict[str, Register]:
        """Its registers, numbered from ``first``."""
        made = {}
        for i in range(self.count):
            made[f"indirect_address_{first + i}"] = Register(
                address=self.address + 2 * i,
                size=2,
                default=self.data + i,
                min=self.lowest,
                max=self.highest,
            )
            made[f"indirect_data_{first + i}"] = Register(address=self.data + i, size=1)
        return made


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelTable:
    """One device model, in one range of firmware."""

    name: str
    number: int
    kind: Literal["servo", "imu"]
    protocol: Literal["dynamixel2", "feetech"] = "dynamixel2"
    firmware: int  # of the virtual device
    firmware_range: tuple[int, int] = (0, 255)  # this table is right from the first to the last
    fast_sync_read: int | None = None  # first firmware that answers it
    turn: int = 0  # encoder counts per turn
    motor: Motor | None = None
    thermal: Thermal | None = None
    overload: Overload | None = None
    indirect: tuple[Indirect, ...] = ()
    registers: dict[str, Register]

    def register(self, name: str) -> Register:
        """A register by name.

        Raises:
            KeyError: the model has no such register; the message lists those it has.
        """
        if name not in self.registers:
            known = ", ".join(self.registers)
            raise KeyError(f"{self.name} has no register {name!r}; it has {known}")
        return self.registers[name]


@functools.cache
def load_model(name: str) -> ModelTable:
    """The table ``hardware/models/<name>.toml``.

    Raises:
        RobotFileError: no such model, or a table that is not as it must be.
    """
    path = MODELS / f"{name}.toml"
    if not path.is_file():
        raise RobotFileError(
            f"there is no servo model {name!r}; retort has {', '.join(model_names())}"
        )
    try:
        data = tomllib.loads(path.read_text())
        shared = data.pop("registers_of", None)
        table = parse(ModelTable, {"registers": {}, **data} if shared else data)
        registers = dict(table.registers)
        if shared is not None:
            named = load_model(shared).registers
            registers = {k: v for k, v in named.items() if not k.startswith("indirect_")}
            for key, value in (("model_number", table.number), ("firmware", table.firmware)):
                registers[key] = dataclasses.replace(registers[key], default=value)
            registers |= table.registers
        first = 1
        for block in table.indirect:
            registers |= block.registers(first)
            first += block.count
        return dataclasses.replace(table, registers=registers)
    except (tomllib.TOMLDecodeError, ValueError, KeyError) as error:
        raise RobotFileError(f"{path}: {error}") from error


@functools.cache
def model_names() -> tuple[str, ...]:
    """Every model there is a table for."""
    return tuple(sorted(path.stem for path in MODELS.glob("*.toml")))


def model_by_number(number: int, firmware: int | None = None) -> ModelTable | None:
    """The model that reports ``number``, or None.

    Args:
        number: as the device reports it.
        firmware: chooses among tables of one model; the first one if not given.
    """
    for table in map(load_model, model_names()):
        first, last = table.firmware_range
        if table.number == number and (firmware is None or first <= firmware <= last):
            return table
    return None
