"""Hopper-v5: a planar leg hops forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from .locomotion import HealthyLocomotion
from .task import Range, Rows, uniform, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hopper(HealthyLocomotion):
    """Reward: forward speed, a bonus while healthy, less control cost; terminates when not."""

    xml_file: str = "hopper.xml"
    frame_skip: int = 4
    ctrl_cost_weight: float = 1e-3
    healthy_state_range: Range = (-100.0, 100.0)  # open interval, of all but x and z
    healthy_z_range: Range = (0.7, float("inf"))  # [m] open interval
    healthy_angle_range: Range = (-0.2, 0.2)  # [rad] open interval
    reset_noise_scale: float = 5e-3

    name: ClassVar[str] = "Hopper"
    module: ClassVar[str] = "hopper_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("slide", "slide", "hinge")
    reward_threshold: ClassVar[float | None] = 3800.0

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform(qpos, qvel, self.reset_noise_scale, n, rng)

    def observe(self, rows: Rows) -> np.ndarray:
        position = rows["qpos"][:, self._skipped :]
        return np.concatenate([position, np.clip(rows["qvel"], -10, 10)], axis=1)

    def healthy(self, rows: Rows) -> np.ndarray:
        """High, upright and within bounds, (n,) bool."""
        z, angle = rows["qpos"][:, 1], rows["qpos"][:, 2]
        state = np.concatenate([rows["qpos"][:, 2:], rows["qvel"]], axis=1)
        return (
            within(self.healthy_state_range, state).all(axis=1)
            & within(self.healthy_z_range, z)
            & within(self.healthy_angle_range, angle)
        )
