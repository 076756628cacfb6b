"""Swimmer-v5: three links in a viscous fluid swim forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from .locomotion import Locomotion
from .task import uniform


@dataclasses.dataclass(frozen=True, kw_only=True)
class Swimmer(Locomotion):
    """Reward: forward speed less control cost; never terminates."""

    xml_file: str = "swimmer.xml"
    frame_skip: int = 4
    ctrl_cost_weight: float = 1e-4

    name: ClassVar[str] = "Swimmer"
    module: ClassVar[str] = "swimmer_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("slide", "slide")
    reward_threshold: ClassVar[float | None] = 360.0
    place_size: ClassVar[int] = 2

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform(qpos, qvel, self.reset_noise_scale, n, rng)
