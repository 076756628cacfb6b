"""What tasks share that walk, run, hop or swim: forward along x, seen by ``qpos`` and ``qvel``."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import ClassVar

import mujoco
import numpy as np

from ...hardware.checks import NOT_NEGATIVE, check_fields
from .task import GymnasiumTask, Rows, control_cost


@dataclasses.dataclass(frozen=True, kw_only=True)
class Locomotion(GymnasiumTask):
    """Reward: forward speed less control cost; never terminates."""

    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float
    reset_noise_scale: float = 0.1
    exclude_current_positions_from_observation: bool = True

    place_size: ClassVar[int] = 1  # first numbers of qpos, which say where it is

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, reset_noise_scale=NOT_NEGATIVE)

    @property
    def _skipped(self) -> int:
        return self.place_size * self.exclude_current_positions_from_observation

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        return {"qpos": model.nq - self._skipped, "qvel": model.nv}

    def track(self, rows: Rows) -> np.ndarray:
        return rows["qpos"][:, 0].copy()

    def observe(self, rows: Rows) -> np.ndarray:
        return np.concatenate([rows["qpos"][:, self._skipped :], rows["qvel"]], axis=1)

    def cost(self, rows: Rows, action: np.ndarray) -> np.ndarray:
        """What is taken off the reward, (n,)."""
        return control_cost(self.ctrl_cost_weight, action)

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        return self.forward_reward_weight * speed - self.cost(rows, action)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthyLocomotion(Locomotion):
    """Reward: forward speed, a bonus while healthy, less control cost; terminates when not."""

    healthy_reward: float = 1.0
    terminate_when_unhealthy: bool = True

    @abstractmethod
    def healthy(self, rows: Rows) -> np.ndarray:
        """Whose state is one that the task wants, (n,) bool."""

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        healthy = self.healthy(rows) * self.healthy_reward
        return self.forward_reward_weight * speed + healthy - self.cost(rows, action)

    def terminated(self, rows: Rows) -> np.ndarray:
        return ~self.healthy(rows) & self.terminate_when_unhealthy
