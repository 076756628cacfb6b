"""Reacher-v5: an arm of two links brings its fingertip to a target."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import mujoco
import numpy as np

from .task import GymnasiumTask, Rows, control_cost

REACH = 0.2  # [m] radius within which targets are drawn


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reacher(GymnasiumTask):
    """Reward: minus distance to the target, less control cost; never terminates."""

    xml_file: str = "reacher.xml"
    frame_skip: int = 2
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 1.0

    name: ClassVar[str] = "Reacher"
    module: ClassVar[str] = "reacher_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("hinge", "hinge", "slide", "slide")
    max_episode_steps: ClassVar[int] = 50
    reward_threshold: ClassVar[float | None] = -3.75
    outputs: ClassVar[tuple[str, ...]] = ("xpos",)

    @property
    def bodies(self) -> tuple[int | str, ...]:
        return ("fingertip", "target")

    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        return {"cosine": 2, "sine": 2, "target": 2, "qvel": 2, "distance": 2}

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        position = qpos + rng.uniform(-0.1, 0.1, (n, len(qpos)))
        wanted = np.arange(n)
        while len(wanted):
            goals = rng.uniform(-REACH, REACH, (len(wanted), 2))
            position[wanted, 2:4] = goals
            wanted = wanted[np.linalg.norm(goals, axis=1) >= REACH]
        velocity = qvel + rng.uniform(-0.005, 0.005, (n, len(qvel)))
        velocity[:, 2:4] = 0.0
        return position, velocity

    def observe(self, rows: Rows) -> np.ndarray:
        angles = rows["qpos"][:, :2]
        parts = [np.cos(angles), np.sin(angles), rows["qpos"][:, 2:4], rows["qvel"][:, :2]]
        return np.concatenate([*parts, self._distance(rows)[:, :2]], axis=1)

    def _distance(self, rows: Rows) -> np.ndarray:
        return rows["xpos"][:, rows.body("fingertip")] - rows["xpos"][:, rows.body("target")]

    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(self._distance(rows), axis=1)
        return -distance * self.reward_dist_weight - control_cost(
            self.reward_control_weight, action
        )
