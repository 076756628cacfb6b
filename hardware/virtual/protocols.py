"""What a virtual line of each protocol is made of; a protocol more is one entry more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import RobotFileError
from ..model_table import ModelTable, load_model
from ..plant import Plant
from ..robot import ImuDevice, Joint
from .dynamixel import DynamixelResponder
from .feetech import FeetechResponder
from .feetech_servo import FeetechServo
from .imu import ImuErrors, VirtualImu
from .line import LineDevice, Responder, VirtualLine
from .servo import VirtualServo


class ServoDevice(LineDevice, Protocol):
    """What a virtual robot must know of a servo, whatever its protocol."""

    @property
    def watchdog_due(self) -> float:
        """When ``supervise`` has something to do by itself [s]; inf where nothing is due."""
        ...

    @property
    def controlling(self) -> bool:
        """Whether ``control`` must run: a loop in firmware, torque on."""
        ...

    @property
    def tripped(self) -> bool:
        """Whether a bus watchdog has stopped it."""
        ...

    @property
    def torque(self) -> bool: ...

    @property
    def error(self) -> int:
        """Its hardware error register."""
        ...

    temperature: float  # what its sensor measures [°C]

    def reboot(self, time: float) -> None:
        """Begin anew, RAM lost, deaf for as long as a boot takes; at inf it never comes back."""
        ...

    def overload(self) -> None:
        """Report overload, as after too much load for too long."""
        ...

    def supervise(self, time: float) -> None:
        """Trip what is due at ``time`` [s]."""
        ...

    def control(self) -> None:
        """One period of the firmware's own loop."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class VirtualProtocol:
    """How devices and responder of one protocol are built."""

    servo: Callable[[Joint, int, Plant, int], Any]  # joint, baud [bit/s], plant, motor of the plant
    imu: Callable[[ImuDevice, int, Plant, np.random.Generator, ImuErrors | None], Any] | None
    responder: Callable[[VirtualLine, Sequence[Any]], Responder]


def _dynamixel_servo(joint: Joint, baud: int, plant: Plant, motor: int) -> VirtualServo:
    table = _table(joint.name, joint.servo, "dynamixel2", "servo")
    return VirtualServo(joint.name, table, joint.id, baud, joint.mode, plant, motor)


def _feetech_servo(joint: Joint, baud: int, plant: Plant, motor: int) -> FeetechServo:
    table = _table(joint.name, joint.servo, "feetech", "servo")
    servo = FeetechServo(joint.name, table, joint.id, baud, joint.mode, plant, motor)
    servo.set_up(joint.gains)
    return servo


def _dynamixel_imu(
    imu: ImuDevice, baud: int, plant: Plant, random: np.random.Generator, errors: ImuErrors | None
) -> VirtualImu:
    _table("imu", imu.model, "dynamixel2", "imu")
    return VirtualImu(plant, imu.id, baud, random, errors, imu.model)


def _table(name: str, model: str, protocol: str, kind: str) -> ModelTable:
    """The table of ``model``, which must be of ``kind`` and speak ``protocol``."""
    table = load_model(model)
    if (table.protocol, table.kind) != (protocol, kind):
        raise RobotFileError(
            f"{name}: {model} is of kind {table.kind} and speaks {table.protocol}; its place in "
            f"robot.toml is for kind {kind} that speaks {protocol}: name another model or line"
        )
    return table


PROTOCOLS: dict[str, VirtualProtocol] = {  # by `protocol` of a [[line]] in robot.toml
    "dynamixel2": VirtualProtocol(
        servo=_dynamixel_servo, imu=_dynamixel_imu, responder=DynamixelResponder
    ),
    "feetech": VirtualProtocol(servo=_feetech_servo, imu=None, responder=FeetechResponder),
}
