"""Walker2d-v5: two planar legs walk forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from .locomotion import HealthyLocomotion
from .task import Range, Rows, uniform, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class Walker2d(HealthyLocomotion):
    """Reward: forward speed, a bonus while healthy, less control cost; terminates when not."""

    xml_file: str = "walker2d_v5.xml"
    frame_skip: int = 4
    ctrl_cost_weight: float = 1e-3
    healthy_z_range: Range = (0.8, 2.0)  # [m] open interval
    healthy_angle_range: Range = (-1.0, 1.0)  # [rad] open interval
    reset_noise_scale: float = 5e-3

    name: ClassVar[str] = "Walker2d"
    module: ClassVar[str] = "walker2d_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("slide", "slide", "hinge")

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform(qpos, qvel, self.reset_noise_scale, n, rng)

    def observe(self, rows: Rows) -> np.ndarray:
        position = rows["qpos"][:, self._skipped :]
        return np.concatenate([position, np.clip(rows["qvel"], -10, 10)], axis=1)

    def healthy(self, rows: Rows) -> np.ndarray:
        """High and upright, (n,) bool."""
        z, angle = rows["qpos"][:, 1], rows["qpos"][:, 2]
        return within(self.healthy_z_range, z) & within(self.healthy_angle_range, angle)
