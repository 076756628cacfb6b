"""Swimmer-v5: three links in a viscous fluid swim forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from .task import GymnasiumTask, Rows, control_cost, uniform


@dataclasses.dataclass(frozen=True, kw_only=True)
class Swimmer(GymnasiumTask):
    """Reward: forward speed less control cost; never terminates."""

    xml_file: str = "swimmer.xml"
    frame_skip: int = 4
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 1e-4
    reset_noise_scale: float = 0.1
    exclude_current_positions_from_observation: bool = True

    name: ClassVar[str] = "Swimmer"
    module: ClassVar[str] = "swimmer_v5"
    reward_threshold: ClassVar[float | None] = 360.0

    @property
    def _skipped(self) -> int:
        return 2 * self.exclude_current_positions_from_observation

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        return {"qpos": model.nq - self._skipped, "qvel": model.nv}

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform(qpos, qvel, self.reset_noise_scale, n, rng)

    def track(self, rows: Rows) -> np.ndarray:
        return rows["qpos"][:, 0].copy()

    def observe(self, rows: Rows) -> np.ndarray:
        return np.concatenate([rows["qpos"][:, self._skipped :], rows["qvel"]], axis=1)

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        return self.forward_reward_weight * speed - control_cost(self.ctrl_cost_weight, action)
