"""Environments whose critic sees what the student sees: the last frames of it, and nothing else."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from retort.sim.gymnasium_tasks import GymnasiumTaskEnv
from retort.sim.interface import LearningEnv


class WindowEnv:
    """An environment whose ``teacher`` group is a window of the ``student`` group, newest last.

    A student that learns without privileged information has its critic see this. Before an episode
    the window holds its first frame.

    Args:
        env: with autoreset; all but the group is its own.
        frames: of the window.
    """

    def __init__(self, env: GymnasiumTaskEnv, frames: int) -> None:
        self.env, self.frames = env, frames
        size = env.groups["student"]
        self.groups = {"student": size, "teacher": frames * size}
        self._window = np.zeros((env.num_envs, frames, size), dtype=env.dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._window[:] = info["student"][:, None]
        return observation, {**info, "teacher": self._flat(self._window)}

    def step(
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        before = self._window
        self._window = _followed(before, info["student"])
        if "final_student" in info:
            info["final_teacher"] = self._flat(_followed(before, info["final_student"]))
            ended = info["_final_obs"]
            self._window[ended] = info["student"][ended][:, None]
        return (
            observation, reward, terminated, truncated,
            {**info, "teacher": self._flat(self._window)},
        )  # fmt: skip

    def _flat(self, window: np.ndarray) -> np.ndarray:
        return window.reshape(len(window), -1).copy()


def windowed(env: LearningEnv, frames: int) -> LearningEnv:
    """``env``, one of Gymnasium's MuJoCo tasks, with its ``teacher`` group made of windows."""
    assert isinstance(env, GymnasiumTaskEnv)
    return cast(LearningEnv, WindowEnv(env, frames))  # what it has not is the environment's


def _followed(window: np.ndarray, frame: np.ndarray) -> np.ndarray:
    return np.concatenate([window[:, 1:], frame[:, None]], axis=1)
