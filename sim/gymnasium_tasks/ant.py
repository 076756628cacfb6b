"""Ant-v5: a torso on four legs walks forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from .locomotion import HealthyLocomotion
from .task import Range, Rows, finite, flat, uniform_and_normal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ant(HealthyLocomotion):
    """Reward: forward speed, a bonus while healthy, less control and contact cost.

    Contact forces are out of observation and cost by default, other than in Gymnasium: with either
    switched on, a step is exact but slower.
    """

    xml_file: str = "ant.xml"
    frame_skip: int = 5
    ctrl_cost_weight: float = 0.5
    contact_cost_weight: float = 0.0
    main_body: int | str = 1
    healthy_z_range: Range = (0.2, 1.0)  # [m] closed interval
    contact_force_range: Range = (-1.0, 1.0)
    include_cfrc_ext_in_observation: bool = False

    name: ClassVar[str] = "Ant"
    module: ClassVar[str] = "ant_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("free",)
    reward_threshold: ClassVar[float | None] = 6000.0
    outputs: ClassVar[tuple[str, ...]] = ("xpos",)
    place_size: ClassVar[int] = 2

    @property
    def bodies(self) -> tuple[int | str, ...]:
        return (self.main_body,)

    @property
    def needs_contact_forces(self) -> bool:
        return self.include_cfrc_ext_in_observation or self.contact_cost_weight != 0.0

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        sizes = super().parts(model)
        if self.include_cfrc_ext_in_observation:
            sizes["cfrc_ext"] = 6 * (model.nbody - 1)
        return sizes

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform_and_normal(qpos, qvel, self.reset_noise_scale, n, rng)

    def track(self, rows: Rows) -> np.ndarray:
        return rows["xpos"][:, rows.body(self.main_body), 0].copy()

    def observe(self, rows: Rows) -> np.ndarray:
        observation = super().observe(rows)
        if not self.include_cfrc_ext_in_observation:
            return observation
        return np.concatenate([observation, flat(self._contact_forces(rows)[:, 1:])], axis=1)

    def _contact_forces(self, rows: Rows) -> np.ndarray:
        return np.clip(rows["cfrc_ext"], *self.contact_force_range)

    def healthy(self, rows: Rows) -> np.ndarray:
        """Finite and at a healthy height, (n,) bool."""
        z = rows["qpos"][:, 2]
        return finite(rows) & (self.healthy_z_range[0] <= z) & (z <= self.healthy_z_range[1])

    def cost(self, rows: Rows, action: np.ndarray) -> np.ndarray:
        cost = super().cost(rows, action)
        if self.contact_cost_weight != 0.0:
            squares = np.square(flat(self._contact_forces(rows))).sum(axis=1)
            cost = cost + self.contact_cost_weight * squares
        return cost
