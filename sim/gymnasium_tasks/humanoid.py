"""Humanoid-v5: a person of 17 joints walks forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from .locomotion import HealthyLocomotion
from .task import Range, Rows, flat, uniform, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class Humanoid(HealthyLocomotion):
    """Reward: speed of the centre of mass, a bonus while healthy, less control and contact cost.

    Contact forces are out of observation and cost by default, other than in Gymnasium: with either
    switched on, a step is exact but slower.
    """

    xml_file: str = "humanoid.xml"
    frame_skip: int = 5
    forward_reward_weight: float = 1.25
    ctrl_cost_weight: float = 0.1
    contact_cost_weight: float = 0.0
    contact_cost_range: Range = (-np.inf, 10.0)
    healthy_reward: float = 5.0
    healthy_z_range: Range = (1.0, 2.0)  # [m] open interval
    reset_noise_scale: float = 1e-2
    include_cinert_in_observation: bool = True
    include_cvel_in_observation: bool = True
    include_qfrc_actuator_in_observation: bool = True
    include_cfrc_ext_in_observation: bool = False

    name: ClassVar[str] = "Humanoid"
    module: ClassVar[str] = "humanoid_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("free",)
    outputs: ClassVar[tuple[str, ...]] = ("xipos", "cinert", "cvel", "qfrc_actuator")
    model_fields: ClassVar[tuple[str, ...]] = ("body_mass",)
    place_size: ClassVar[int] = 2

    @property
    def needs_contact_forces(self) -> bool:
        return self.include_cfrc_ext_in_observation or self.contact_cost_weight != 0.0

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        bodies = model.nbody - 1
        sizes = super().parts(model)
        if self.include_cinert_in_observation:
            sizes["cinert"] = 10 * bodies
        if self.include_cvel_in_observation:
            sizes["cvel"] = 6 * bodies
        if self.include_qfrc_actuator_in_observation:
            sizes["qfrc_actuator"] = model.nv - 6
        if self.include_cfrc_ext_in_observation:
            sizes["cfrc_ext"] = 6 * bodies
        return sizes

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform(qpos, qvel, self.reset_noise_scale, n, rng)

    def track(self, rows: Rows) -> np.ndarray:
        mass = rows["body_mass"]
        return np.einsum("nb,nb->n", mass, rows["xipos"][:, :, 0]) / mass.sum(axis=1)

    def observe(self, rows: Rows) -> np.ndarray:
        parts = [super().observe(rows)]
        if self.include_cinert_in_observation:
            parts.append(flat(rows["cinert"][:, 1:]))
        if self.include_cvel_in_observation:
            parts.append(flat(rows["cvel"][:, 1:]))
        if self.include_qfrc_actuator_in_observation:
            parts.append(rows["qfrc_actuator"][:, 6:])
        if self.include_cfrc_ext_in_observation:
            parts.append(flat(rows["cfrc_ext"][:, 1:]))
        return np.concatenate(parts, axis=1)

    def healthy(self, rows: Rows) -> np.ndarray:
        """At a healthy height, (n,) bool."""
        return within(self.healthy_z_range, rows["qpos"][:, 2])

    def cost(self, rows: Rows, action: np.ndarray) -> np.ndarray:
        # Gymnasium takes this cost from MuJoCo's own controls, which are float64.
        cost = super().cost(rows, action.astype(np.float64))
        contact = np.zeros(len(rows))
        if self.contact_cost_weight != 0.0:
            contact = self.contact_cost_weight * np.square(flat(rows["cfrc_ext"])).sum(axis=1)
        return cost + np.clip(contact, *self.contact_cost_range)
