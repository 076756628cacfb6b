"""Hopper-v5: a planar leg hops forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from .task import GymnasiumTask, Range, Rows, control_cost, uniform


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hopper(GymnasiumTask):
    """Reward: forward speed, a bonus while healthy, less control cost; terminates when not."""

    xml_file: str = "hopper.xml"
    frame_skip: int = 4
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 1e-3
    healthy_reward: float = 1.0
    terminate_when_unhealthy: bool = True
    healthy_state_range: Range = (-100.0, 100.0)  # open interval, of all but x and z
    healthy_z_range: Range = (0.7, float("inf"))  # [m] open interval
    healthy_angle_range: Range = (-0.2, 0.2)  # [rad] open interval
    reset_noise_scale: float = 5e-3
    exclude_current_positions_from_observation: bool = True

    name: ClassVar[str] = "Hopper"
    module: ClassVar[str] = "hopper_v5"
    reward_threshold: ClassVar[float | None] = 3800.0

    @property
    def _skipped(self) -> int:
        return int(self.exclude_current_positions_from_observation)

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        return {"qpos": model.nq - self._skipped, "qvel": model.nv}

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform(qpos, qvel, self.reset_noise_scale, n, rng)

    def track(self, rows: Rows) -> np.ndarray:
        return rows["qpos"][:, 0].copy()

    def observe(self, rows: Rows) -> np.ndarray:
        position = rows["qpos"][:, self._skipped :]
        return np.concatenate([position, np.clip(rows["qvel"], -10, 10)], axis=1)

    def healthy(self, rows: Rows) -> np.ndarray:
        """High, upright and within bounds, (n,) bool."""
        z, angle = rows["qpos"][:, 1], rows["qpos"][:, 2]
        low, high = self.healthy_state_range
        state = np.concatenate([rows["qpos"][:, 2:], rows["qvel"]], axis=1)
        return (
            ((low < state) & (state < high)).all(axis=1)
            & (self.healthy_z_range[0] < z)
            & (z < self.healthy_z_range[1])
            & (self.healthy_angle_range[0] < angle)
            & (angle < self.healthy_angle_range[1])
        )

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        healthy = self.healthy(rows) * self.healthy_reward
        forward = self.forward_reward_weight * speed
        return forward + healthy - control_cost(self.ctrl_cost_weight, action)

    def terminated(self, rows: Rows) -> np.ndarray:
        return ~self.healthy(rows) & self.terminate_when_unhealthy
