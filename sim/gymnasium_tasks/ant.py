"""Ant-v5: a torso on four legs walks forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from .task import GymnasiumTask, Range, Rows, control_cost, flat, uniform_and_normal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ant(GymnasiumTask):
    """Reward: forward speed, a bonus while healthy, less control and contact cost.

    Contact forces are out of observation and cost by default, other than in Gymnasium: with either
    switched on, a step is exact but slower.
    """

    xml_file: str = "ant.xml"
    frame_skip: int = 5
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 0.5
    contact_cost_weight: float = 0.0
    healthy_reward: float = 1.0
    main_body: int | str = 1
    terminate_when_unhealthy: bool = True
    healthy_z_range: Range = (0.2, 1.0)  # [m] closed interval
    contact_force_range: Range = (-1.0, 1.0)
    reset_noise_scale: float = 0.1
    exclude_current_positions_from_observation: bool = True
    include_cfrc_ext_in_observation: bool = False

    name: ClassVar[str] = "Ant"
    module: ClassVar[str] = "ant_v5"
    reward_threshold: ClassVar[float | None] = 6000.0
    outputs: ClassVar[tuple[str, ...]] = ("xpos",)

    @property
    def needs_contact_forces(self) -> bool:
        return self.include_cfrc_ext_in_observation or self.contact_cost_weight != 0.0

    @property
    def _skipped(self) -> int:
        return 2 * self.exclude_current_positions_from_observation

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        sizes = {"qpos": model.nq - self._skipped, "qvel": model.nv}
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
        parts = [rows["qpos"][:, self._skipped :], rows["qvel"]]
        if self.include_cfrc_ext_in_observation:
            parts.append(flat(self._contact_forces(rows)[:, 1:]))
        return np.concatenate(parts, axis=1)

    def _contact_forces(self, rows: Rows) -> np.ndarray:
        return np.clip(rows["cfrc_ext"], *self.contact_force_range)

    def healthy(self, rows: Rows) -> np.ndarray:
        """Finite and at a healthy height, (n,) bool."""
        z = rows["qpos"][:, 2]
        finite = np.isfinite(rows["qpos"]).all(axis=1) & np.isfinite(rows["qvel"]).all(axis=1)
        return finite & (self.healthy_z_range[0] <= z) & (z <= self.healthy_z_range[1])

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        healthy = self.healthy(rows) * self.healthy_reward
        costs = control_cost(self.ctrl_cost_weight, action)
        if self.contact_cost_weight != 0.0:
            squares = np.square(flat(self._contact_forces(rows))).sum(axis=1)
            costs = costs + self.contact_cost_weight * squares
        return speed * self.forward_reward_weight + healthy - costs

    def terminated(self, rows: Rows) -> np.ndarray:
        return ~self.healthy(rows) & self.terminate_when_unhealthy
