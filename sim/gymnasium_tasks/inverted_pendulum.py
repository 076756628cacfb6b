"""InvertedPendulum-v5: a cart keeps a pole upright."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from ...hardware.checks import NOT_NEGATIVE, check_fields
from .task import GymnasiumTask, Rows, finite, uniform

FALLEN = 0.2  # [rad]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertedPendulum(GymnasiumTask):
    """Reward: 1 while the pole is up; terminates when it is not."""

    xml_file: str = "inverted_pendulum.xml"
    frame_skip: int = 2
    reset_noise_scale: float = 0.01

    name: ClassVar[str] = "InvertedPendulum"
    module: ClassVar[str] = "inverted_pendulum_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("slide", "hinge")
    reward_threshold: ClassVar[float | None] = 950.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, reset_noise_scale=NOT_NEGATIVE)

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        return {"qpos": model.nq, "qvel": model.nv}

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform(qpos, qvel, self.reset_noise_scale, n, rng)

    def observe(self, rows: Rows) -> np.ndarray:
        return np.concatenate([rows["qpos"], rows["qvel"]], axis=1)

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        return np.where(self.terminated(rows), 0.0, 1.0)

    def terminated(self, rows: Rows) -> np.ndarray:
        return ~finite(rows) | (np.abs(rows["qpos"][:, 1]) > FALLEN)
