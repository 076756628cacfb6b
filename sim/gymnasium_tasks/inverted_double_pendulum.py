"""InvertedDoublePendulum-v5: a cart keeps a pole on a pole upright."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from ...hardware.checks import NOT_NEGATIVE, check_fields
from .task import GymnasiumTask, Rows, uniform_and_normal

FALLEN = 1.0  # [m] height of the tip


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertedDoublePendulum(GymnasiumTask):
    """Reward: a bonus while up, less distance of the tip and speed of the poles."""

    xml_file: str = "inverted_double_pendulum.xml"
    frame_skip: int = 5
    healthy_reward: float = 10.0
    reset_noise_scale: float = 0.1

    name: ClassVar[str] = "InvertedDoublePendulum"
    module: ClassVar[str] = "inverted_double_pendulum_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("slide", "hinge", "hinge")
    sites: ClassVar[int] = 1
    reward_threshold: ClassVar[float | None] = 9100.0
    outputs: ClassVar[tuple[str, ...]] = ("site_xpos", "qfrc_constraint")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, reset_noise_scale=NOT_NEGATIVE)

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        poles = model.nq - 1
        return {"cart": 1, "sine": poles, "cosine": poles, "qvel": model.nv, "qfrc_constraint": 1}

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform_and_normal(qpos, qvel, self.reset_noise_scale, n, rng)

    def observe(self, rows: Rows) -> np.ndarray:
        angles = rows["qpos"][:, 1:]
        return np.concatenate(
            [
                rows["qpos"][:, :1],
                np.sin(angles),
                np.cos(angles),
                np.clip(rows["qvel"], -10, 10),
                np.clip(rows["qfrc_constraint"], -10, 10)[:, :1],
            ],
            axis=1,
        )

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        x, y = rows["site_xpos"][:, 0, 0], rows["site_xpos"][:, 0, 2]
        first, second = rows["qvel"][:, 1], rows["qvel"][:, 2]
        distance = 0.01 * x**2 + (y - 2) ** 2
        turning = 1e-3 * first**2 + 5e-3 * second**2
        return self.healthy_reward * ~self.terminated(rows) - distance - turning

    def terminated(self, rows: Rows) -> np.ndarray:
        return rows["site_xpos"][:, 0, 2] <= FALLEN
