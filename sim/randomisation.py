"""Randomisation terms: each samples one physical quantity of chosen environments, always from its
nominal value, so that nothing accumulates over resets.

A term's ``sample`` takes a width in [0, 1] per environment: 0 is nominal, 1 the full range.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np

from ..hardware.checks import (
    FINITE,
    NOT_NEGATIVE,
    SHARE,
    Range,
    between,
    check_fields,
    check_rising,
)
from .physics import ModelError, Physics
from .servo_loops import CONSTANT, DAMPING, RESISTANCE, STIFFNESS, VOLTAGE
from .simulations import GRAVITY, Simulations


class Randomisation(Protocol):
    """One physical quantity that differs from environment to environment."""

    name: str
    size: int  # numbers a privileged observation needs to describe it

    def bind(self, physics: Physics) -> None:
        """Expand the model fields this term writes; once."""
        ...

    def sample(
        self, physics: Physics, ids: np.ndarray, width: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw for ``ids``; returns what was drawn, scaled to about [-1, 1], (len(ids), size)."""
        ...


@runtime_checkable
class Changeable(Protocol):
    """A quantity that can also change in the middle of an episode (``switches``)."""

    name: str

    def change(
        self, physics: Physics, ids: np.ndarray, value: np.ndarray, drawn: np.ndarray
    ) -> np.ndarray:
        """Give ``ids`` a value each, (len(ids),), in the unit of ``Switch``.

        Returns what ``sample`` would have to have drawn, (len(ids), size), given what it drew;
        beyond [-1, 1] where the value is outside the range of training.
        """
        ...


def symmetric(rng: np.random.Generator, width: np.ndarray, size: int) -> np.ndarray:
    """Uniform in +-width, (n, size)."""
    return rng.uniform(-1.0, 1.0, (len(width), size)) * width[:, None]


@dataclasses.dataclass(kw_only=True)
class Payload:
    """A point mass on a body of its own, 0 to ``mass``, at varying height and off centre."""

    body: str
    mass: float  # [kg] at most
    height: tuple[float, float]  # [m] above the parent body's origin
    offset: float  # [m] off centre at most
    name: str = "payload"
    size: int = 4

    def __post_init__(self) -> None:
        check_fields(self, mass=NOT_NEGATIVE, height=FINITE, offset=NOT_NEGATIVE)
        check_rising("height", self.height)

    def bind(self, physics: Physics) -> None:
        self._body = physics.model.body(self.body).id
        physics.expand("body_mass")
        physics.expand("body_pos")

    def sample(
        self, physics: Physics, ids: np.ndarray, width: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        n = len(ids)
        mass = rng.uniform(0.0, 1.0, n) * width
        middle, half = np.mean(self.height), np.ptp(self.height) / 2
        height = symmetric(rng, width, 1)[:, 0]
        radius = np.sqrt(rng.uniform(0.0, 1.0, n)) * width
        angle = rng.uniform(0.0, 2 * np.pi, n)
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        physics.fields["body_mass"][ids, self._body] = np.maximum(
            mass * self.mass, physics.nominal["body_mass"][self._body]
        )
        physics.fields["body_pos"][ids, self._body] = np.stack(
            [x * self.offset, y * self.offset, middle + height * half], axis=1
        )
        return np.stack([mass, x, y, height], axis=1)

    def change(
        self, physics: Physics, ids: np.ndarray, value: np.ndarray, drawn: np.ndarray
    ) -> np.ndarray:
        mass = value * physics.model.body_mass.sum()
        physics.fields["body_mass"][ids, self._body] = np.maximum(
            mass, physics.nominal["body_mass"][self._body]
        )
        return np.concatenate([(mass / self.mass)[:, None], drawn[:, 1:]], axis=1)


@dataclasses.dataclass(kw_only=True)
class Friction:
    """Sliding friction of some geoms."""

    geoms: tuple[str, ...]
    low: float
    high: float
    name: str = "friction"
    size: int = 1

    def __post_init__(self) -> None:
        check_fields(self, low=NOT_NEGATIVE, high=NOT_NEGATIVE)
        check_rising("low, high", (self.low, self.high))

    def bind(self, physics: Physics) -> None:
        self._geoms = [physics.model.geom(name).id for name in self.geoms]
        physics.expand("geom_friction")

    def sample(
        self, physics: Physics, ids: np.ndarray, width: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        drawn = symmetric(rng, width, 1)
        share = drawn[:, 0]
        for geom in self._geoms:
            nominal = physics.nominal["geom_friction"][geom, 0]
            reach = np.where(share < 0, nominal - self.low, self.high - nominal)
            physics.fields["geom_friction"][ids, geom, 0] = nominal + share * reach
        return drawn

    def change(
        self, physics: Physics, ids: np.ndarray, value: np.ndarray, drawn: np.ndarray
    ) -> np.ndarray:
        share = np.zeros(len(ids))
        for geom in self._geoms:
            nominal = physics.nominal["geom_friction"][geom, 0]
            physics.fields["geom_friction"][ids, geom, 0] = nominal * value
            reach = np.where(value < 1, nominal - self.low, self.high - nominal)
            share = nominal * (value - 1.0) / reach
        return share[:, None]


@dataclasses.dataclass(kw_only=True)
class MotorStrength:
    """Torque constant of each motor relative to nominal, joints under effort control only."""

    spread: float  # fraction
    name: str = "motor_strength"
    size: int = 2

    def __post_init__(self) -> None:
        check_fields(self, spread=SHARE)

    def bind(self, physics: Physics) -> None:
        modes = {joint.mode for joint in physics.robot.joint}
        if modes != {"effort"}:
            raise ModelError(f"motor_strength needs joints in effort mode, got {sorted(modes)}")
        self.size = len(physics.robot.joints)

    def sample(
        self, physics: Physics, ids: np.ndarray, width: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        drawn = symmetric(rng, width, self.size)
        physics.strength[ids] = 1.0 + drawn * self.spread
        return drawn

    def change(
        self, physics: Physics, ids: np.ndarray, value: np.ndarray, drawn: np.ndarray
    ) -> np.ndarray:
        physics.strength[ids] = value[:, None]
        return np.repeat(((value - 1.0) / self.spread)[:, None], self.size, axis=1)


@dataclasses.dataclass(kw_only=True)
class SupplyVoltage:
    """The supply of every ``dcmotor``, with all that is a share of it: nominal times
    1 + [low, high].
    """

    low: float  # fraction, negative
    high: float
    name: str = "supply_voltage"
    size: int = 1

    def __post_init__(self) -> None:
        check_fields(self, low=Range(-1.0, 0.0, open_low=True), high=NOT_NEGATIVE)

    def bind(self, physics: Physics) -> None:
        if not np.all(physics.model.actuator_gainprm[:, VOLTAGE] > 0):
            raise ModelError("supply_voltage needs dcmotor actuators with a voltage limit")
        physics.expand("actuator_gainprm")

    def sample(
        self, physics: Physics, ids: np.ndarray, width: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        drawn = symmetric(rng, width, 1)
        fraction = np.where(drawn < 0, -drawn * self.low, drawn * self.high)
        nominal, gains = physics.nominal["actuator_gainprm"], physics.fields["actuator_gainprm"]
        gains[ids, :, VOLTAGE] = nominal[:, VOLTAGE] * (1.0 + fraction)
        # A servo's loop gives shares of the supply; back-EMF, K^2/R of its damping, stays.
        for i in physics.loops:
            emf = nominal[i, CONSTANT] ** 2 / nominal[i, RESISTANCE]
            share = 1.0 + fraction[:, 0]
            gains[ids, i, STIFFNESS] = nominal[i, STIFFNESS] * share
            gains[ids, i, DAMPING] = emf + (nominal[i, DAMPING] - emf) * share
        return drawn


@dataclasses.dataclass(kw_only=True)
class ImuTilt:
    """How crookedly the inertial sensor is mounted: a rotation of its site."""

    site: str
    angle: float  # [rad] at most, about each of x and y
    name: str = "imu_tilt"
    size: int = 2

    def __post_init__(self) -> None:
        check_fields(self, angle=between(0.0, np.pi))

    def bind(self, physics: Physics) -> None:
        self._site = physics.model.site(self.site).id
        physics.expand("site_quat")

    def sample(
        self, physics: Physics, ids: np.ndarray, width: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        drawn = symmetric(rng, width, 2)
        half = drawn * self.angle / 2
        quaternion = np.zeros((len(ids), 4))
        quaternion[:, 0] = 1.0
        quaternion[:, 1:3] = half
        quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
        nominal = physics.nominal["site_quat"][self._site]
        physics.fields["site_quat"][ids, self._site] = _multiply(nominal, quaternion)
        return drawn


@dataclasses.dataclass(kw_only=True)
class Latency:
    """Time from command to motion, in whole substeps, by MuJoCo's own actuator delay."""

    low: float  # [s]
    high: float  # [s]
    name: str = "latency"
    size: int = 1

    def __post_init__(self) -> None:
        check_fields(self, low=NOT_NEGATIVE, high=NOT_NEGATIVE)
        check_rising("low, high", (self.low, self.high))

    def bind(self, physics: Simulations) -> None:
        physics.expand("actuator_delay")
        self._step = float(physics.model.opt.timestep)
        slots = int(physics.model.actuator_history[:, 0].min())
        if slots * self._step < self.high - 1e-9:
            raise ModelError(
                f"latency up to {self.high} s needs nsample >= "
                f"{int(np.ceil(self.high / self._step))} on every actuator; the MJCF has {slots}"
            )

    def sample(
        self, physics: Simulations, ids: np.ndarray, width: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        low, high = round(self.low / self._step), round(self.high / self._step)
        steps = np.floor(low + rng.uniform(0.0, 1.0, len(ids)) * (width * (high - low) + 1.0))
        steps = np.minimum(steps, high)
        physics.fields["actuator_delay"][ids] = (steps * self._step)[:, None]
        return ((steps - low) / max(high - low, 1))[:, None] * 2.0 - 1.0


@dataclasses.dataclass(kw_only=True)
class Slope:
    """An even floor that leans by ``width * angle``, uphill in a random direction.

    The floor stays where it is and gravity leans instead, which is the same: with uphill d and
    slope a, in the floor's frame, g (-sin a cos d, -sin a sin d, -cos a). What is drawn is the
    slope; ``downhill`` tells the direction, too.
    """

    angle: float  # [rad] at full width
    name: str = "slope"
    size: int = 1

    def __post_init__(self) -> None:
        check_fields(self, angle=between(0.0, np.pi / 2))

    def bind(self, physics: Simulations) -> None:
        physics.expand(GRAVITY)

    def sample(
        self, physics: Simulations, ids: np.ndarray, width: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        slope, uphill = width * self.angle, rng.uniform(0.0, 2 * np.pi, len(ids))
        along = np.stack([np.cos(uphill), np.sin(uphill)], axis=1) * np.sin(slope)[:, None]
        strength = np.linalg.norm(physics.nominal[GRAVITY])
        physics.fields[GRAVITY][ids, :2] = -strength * along
        physics.fields[GRAVITY][ids, 2] = -strength * np.cos(slope)
        return width[:, None]


def downhill(physics: Simulations, rows: slice | np.ndarray) -> np.ndarray:
    """Which way the floor falls, and the sine of its slope as length: (n, 2)."""
    gravity = physics.model_field(GRAVITY)[rows]
    return gravity[:, :2] / np.linalg.norm(gravity, axis=1, keepdims=True)


def _multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Hamilton product of a quaternion (4,) with quaternions (n, 4), w x y z."""
    w, x, y, z = left
    matrix = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return right @ matrix.T
