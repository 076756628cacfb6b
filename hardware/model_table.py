"""Register tables of the devices retort knows: what stands at which address, in which unit."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from pathlib import Path
from typing import Literal

from .errors import RobotFileError
from .robot import parse

MODELS = Path(__file__).parent / "models"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Register:
    """One entry of a control table; values are little-endian."""

    address: int
    size: int  # [bytes]
    signed: bool = False
    area: Literal["eeprom", "ram"] = "ram"
    access: Literal["r", "rw"] = "rw"
    unit: float = 1.0  # SI value of one count
    default: int = 0
    min: int | None = None  # None: 0, or what the size holds if signed
    max: int | None = None  # None: what the size holds
    values: tuple[int, ...] = ()  # if given, only these are allowed

    def encode(self, value: int) -> bytes:
        """The bytes of a register value.

        Raises:
            OverflowError: ``value`` does not fit the register's size.
        """
        return int(value).to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes) -> int:
        """The register value in ``data``, (size,) bytes."""
        return int.from_bytes(data, "little", signed=self.signed)

    def allows(self, value: int) -> bool:
        """Whether the device accepts ``value``, its own limit registers aside."""
        if self.values:
            return value in self.values
        bits = 8 * self.size
        low = -(1 << (bits - 1)) if self.signed else 0
        high = (1 << (bits - 1 if self.signed else bits)) - 1
        return (
            (low if self.min is None else self.min)
            <= value
            <= (high if self.max is None else self.max)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Motor:
    """A servo's motor and gear at its output shaft, at the nominal voltage."""

    voltage: float  # [V]
    stall_torque: float  # [N·m]
    stall_current: float  # [A]
    no_load_speed: float  # [rad/s]

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
class ModelTable:
    """One device model."""

    name: str
    number: int
    kind: Literal["servo", "imu"]
    firmware: int
    fast_sync_read: int | None = None  # first firmware that answers it
    turn: int = 0  # encoder counts per turn
    motor: Motor | None = None
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
        if shared is not None:
            registers = dict(load_model(shared).registers)
            for key, value in (("model_number", data["number"]), ("firmware", data["firmware"])):
                registers[key] = dataclasses.replace(registers[key], default=value)
            return dataclasses.replace(
                parse(ModelTable, {**data, "registers": {}}), registers=registers
            )
        return parse(ModelTable, data)
    except (tomllib.TOMLDecodeError, ValueError, KeyError) as error:
        raise RobotFileError(f"{path}: {error}") from error


@functools.cache
def model_names() -> tuple[str, ...]:
    """Every model there is a table for."""
    return tuple(sorted(path.stem for path in MODELS.glob("*.toml")))


def model_by_number(number: int) -> ModelTable | None:
    """The model that reports ``number``, or None."""
    return next((m for m in map(load_model, model_names()) if m.number == number), None)
