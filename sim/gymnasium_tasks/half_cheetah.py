"""HalfCheetah-v5: a planar animal of seven links runs forward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from .locomotion import Locomotion
from .task import uniform_and_normal


@dataclasses.dataclass(frozen=True, kw_only=True)
class HalfCheetah(Locomotion):
    """Reward: forward speed less control cost; never terminates."""

    xml_file: str = "half_cheetah.xml"
    frame_skip: int = 5
    ctrl_cost_weight: float = 0.1

    name: ClassVar[str] = "HalfCheetah"
    module: ClassVar[str] = "half_cheetah_v5"
    first_joints: ClassVar[tuple[str, ...]] = ("slide",)
    reward_threshold: ClassVar[float | None] = 4800.0

    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return uniform_and_normal(qpos, qvel, self.reset_noise_scale, n, rng)
