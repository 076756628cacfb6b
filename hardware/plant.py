"""What virtual servos turn: the physics behind the bytes. ``sim.twin`` puts MuJoCo here."""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol

import numpy as np

Drive = Literal["off", "current", "voltage"]


@dataclasses.dataclass(frozen=True)
class ImuSample:
    """What an inertial sensor measures at one instant."""

    orientation: np.ndarray  # (4,) unit quaternion w x y z
    angular_velocity: np.ndarray  # (3,) [rad/s], body frame
    linear_acceleration: np.ndarray  # (3,) [m/s²], specific force, body frame


class Plant(Protocol):
    """Motors with something on their shafts. Time moves only in ``advance``.

    Motor physics (torque constant, resistance, back-EMF, supply voltage) stands here and only
    here; a virtual servo says what its bridge does, the plant says what follows.
    Motors are indexed in the robot's joint order; angles are those of the output shaft, with the
    sign and zero of the *servo* (the plant applies robot.toml's mapping, as gravity would).
    """

    time: float  # [s]

    def drive(self, joint: int, kind: Drive, value: float) -> None:
        """Set what motor ``joint``'s bridge does until told otherwise.

        ``off``: open, no current. ``current``: regulate to ``value`` [A] as far as the supply
        voltage allows. ``voltage``: apply ``value`` [V].
        """
        ...

    def advance(self, time: float) -> None:
        """Let physics run until ``time`` [s]."""
        ...

    def motor(self, joint: int) -> tuple[float, float, float]:
        """Angle [rad, many turns], velocity [rad/s] and current [A] of a motor's output shaft."""
        ...

    def supply(self) -> float:
        """Voltage on the servos' supply line [V]."""
        ...

    def imu(self) -> ImuSample:
        """The inertial sensor's instantaneous truth (noise is the device's business)."""
        ...
