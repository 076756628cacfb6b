"""What makes a task harder, and the dynamics it changes. Off unless asked for."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np

from ...hardware.checks import (
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    RangeError,
    check_fields,
    check_rising,
)
from ...hardware.errors import RetortError
from ..randomisation import symmetric
from ..simulations import Simulations

AXES = ("randomisation", "sensing", "latency", "pushes")
TERRAIN = "terrain"  # and where ``slope`` says so
REMOVAL = "removal"  # and where ``StudentView.fade`` does
_FRACTION = Range(0.0, 1.0, open_high=True)


class DifficultyError(RetortError):
    """A difficulty or a switch that the task cannot have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difficulty:
    """What level 1 of each axis is; level 0 is Gymnasium's task. Drawn anew in every episode.

    ``randomisation`` is the width of mass, friction and motor strength; ``sensing`` noise on the
    student's observation; ``latency`` from action to torque; ``pushes`` on the first body. With a
    ``slope`` there is the axis ``terrain`` behind them: how much the floor leans, uphill in any
    direction.
    """

    mass: float = 0.3  # each body's mass and inertia, relative, +-
    friction: tuple[float, float] = (0.5, 1.5)  # of every contact, relative to nominal
    motor_strength: float = 0.3  # of each motor, relative, +-
    noise: float = 0.2  # [standard deviations of each observation]
    latency: float = 0.02  # [s] at most
    push_speed: float = 0.5  # [m/s] impulse over the whole mass
    push_interval: tuple[float, float] = (1.0, 3.0)  # [s] between two
    slope: float = 0.0  # [rad] of the floor; 0 is no axis

    def __post_init__(self) -> None:
        check_fields(
            self,
            mass=_FRACTION,
            friction=POSITIVE,
            motor_strength=_FRACTION,
            noise=NOT_NEGATIVE,
            latency=NOT_NEGATIVE,
            push_speed=NOT_NEGATIVE,
            push_interval=POSITIVE,
            slope=Range(0.0, np.pi / 2, open_high=True),
        )
        check_rising("push_interval", self.push_interval)
        if not self.friction[0] <= 1 <= self.friction[1]:
            raise RangeError(f"friction is {self.friction}; use two numbers around 1, the nominal")

    @property
    def axes(self) -> tuple[str, ...]:
        """What can be made harder."""
        return (*AXES, TERRAIN) if self.slope else AXES


class Dynamics:
    """Mass, payload, contact friction and motor strength of every environment against nominal.

    ``reset`` and ``set`` only note values; ``apply`` writes the model's fields from nominal ones,
    so that nothing accumulates.
    """

    def __init__(self, simulations: Simulations) -> None:
        self._simulations = simulations
        model, n = simulations.model, simulations.num_envs
        for field in ("body_mass", "body_inertia", "geom_friction", "actuator_gainprm"):
            simulations.expand(field)
        self.total_mass = float(model.body_mass.sum())  # [kg]
        self.values = {
            "mass": np.ones((n, model.nbody - 1)),
            "payload": np.zeros((n, 1)),
            "friction": np.ones((n, 1)),
            "motor_strength": np.ones((n, model.nu)),
        }

    @property
    def size(self) -> int:
        """Numbers in ``describe``."""
        return sum(values.shape[1] for values in self.values.values())

    def reset(self, ids: np.ndarray) -> None:
        """Nominal values."""
        for name, values in self.values.items():
            values[ids] = 0.0 if name == "payload" else 1.0

    def draw(
        self, ids: np.ndarray, width: np.ndarray, config: Difficulty, rng: np.random.Generator
    ) -> None:
        """Draw mass, friction and motor strength of ``ids`` at ``width`` in [0, 1]."""
        for name, spread in (("mass", config.mass), ("motor_strength", config.motor_strength)):
            size = self.values[name].shape[1]
            self.values[name][ids] = 1.0 + symmetric(rng, width, size) * spread
        share = symmetric(rng, width, 1)
        low, high = config.friction
        self.values["friction"][ids] = 1.0 + share * np.where(share < 0, 1.0 - low, high - 1.0)

    def set(self, quantity: str, ids: np.ndarray, values: np.ndarray) -> None:
        """Give ``ids`` values of one quantity, (len(ids),)."""
        self.values[quantity][ids] = values[:, None]

    def apply(self, ids: np.ndarray) -> None:
        """Write the model's fields of ``ids``; derived constants are not computed."""
        fields, nominal = self._simulations.fields, self._simulations.nominal
        mass = self.values["mass"][ids]
        fields["body_mass"][ids, 1:] = nominal["body_mass"][1:] * mass
        fields["body_mass"][ids, 1] += self.values["payload"][ids, 0] * self.total_mass
        fields["body_inertia"][ids, 1:] = nominal["body_inertia"][1:] * mass[:, :, None]
        friction = self.values["friction"][ids][:, :, None]
        fields["geom_friction"][ids] = nominal["geom_friction"] * friction
        strength = self.values["motor_strength"][ids]
        fields["actuator_gainprm"][ids, :, 0] = nominal["actuator_gainprm"][:, 0] * strength

    def describe(self, rows: slice | np.ndarray) -> np.ndarray:
        """Deviations from nominal for a privileged observation, (n, size)."""
        return np.concatenate(
            [
                values[rows] if name == "payload" else values[rows] - 1.0
                for name, values in self.values.items()
            ],
            axis=1,
        )


def has_contacts(model: mujoco.MjModel) -> bool:
    """Any two geoms may touch."""
    return bool((model.geom_contype[:, None] & model.geom_conaffinity[None, :]).any())
