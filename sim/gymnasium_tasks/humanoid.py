"""Humanoid-v5: a person of 17 joints walks forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from .task import GymnasiumTask, Range, Rows, control_cost, flat, uniform


@dataclasses.dataclass(frozen=True, kw_only=True)
class Humanoid(GymnasiumTask):
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
    terminate_when_unhealthy: bool = True
    healthy_z_range: Range = (1.0, 2.0)  # [m] open interval
    reset_noise_scale: float = 1e-2
    exclude_current_positions_from_observation: bool = True
    include_cinert_in_observation: bool = True
    include_cvel_in_observation: bool = True
    include_qfrc_actuator_in_observation: bool = True
    include_cfrc_ext_in_observation: bool = False

    name: ClassVar[str] = "Humanoid"
    module: ClassVar[str] = "humanoid_v5"
    outputs: ClassVar[tuple[str, ...]] = ("xipos", "cinert", "cvel", "qfrc_actuator")
    model_fields: ClassVar[tuple[str, ...]] = ("body_mass",)

    @property
    def needs_contact_forces(self) -> bool:
        return self.include_cfrc_ext_in_observation or self.contact_cost_weight != 0.0

    @property
    def _skipped(self) -> int:
        return 2 * self.exclude_current_positions_from_observation

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        bodies = model.nbody - 1
        sizes = {"qpos": model.nq - self._skipped, "qvel": model.nv}
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
        parts = [rows["qpos"][:, self._skipped :], rows["qvel"]]
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
        z = rows["qpos"][:, 2]
        return (self.healthy_z_range[0] < z) & (z < self.healthy_z_range[1])

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        healthy = self.healthy(rows) * self.healthy_reward
        # Gymnasium takes this cost from MuJoCo's own controls, which are float64.
        costs = control_cost(self.ctrl_cost_weight, action.astype(np.float64))
        if self.contact_cost_weight != 0.0:
            squares = np.square(flat(rows["cfrc_ext"])).sum(axis=1)
            costs = costs + np.clip(self.contact_cost_weight * squares, *self.contact_cost_range)
        else:
            costs = costs + np.clip(0.0, *self.contact_cost_range)
        return self.forward_reward_weight * speed + healthy - costs

    def terminated(self, rows: Rows) -> np.ndarray:
        return ~self.healthy(rows) & self.terminate_when_unhealthy
