"""One environment as a plain Gymnasium one: a row of ``GymnasiumTaskEnv``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from .env import GymnasiumTaskEnv


class GymnasiumTaskSingleEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One copy of one task. Takes the keywords of ``GymnasiumTaskEnv``.

    As with Gymnasium's own, the time limit is the ``TimeLimit`` that ``gymnasium.make`` puts
    around it, episodes start where theirs do with the same seed, and one may go on after failure.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, task: str, render_mode: str | None = None, **keywords: Any) -> None:
        keywords.setdefault("threads", 1)
        self.render_mode = render_mode
        self._env = GymnasiumTaskEnv(task, 1, autoreset=False, render_mode=render_mode, **keywords)
        self.observation_space = self._env.single_observation_space
        self.action_space = self._env.single_action_space
        self.metadata = {**self.metadata, "render_fps": self._env.metadata["render_fps"]}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; ``options`` as ``GymnasiumTaskEnv.reset`` takes them."""
        super().reset(seed=seed)
        self._env.np_random = self.np_random
        observation, info = self._env.reset(options=options)
        return observation[0], {key: value[0] for key, value in info.items()}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step."""
        reward, failed = self._env.advance(np.asarray(action)[None])
        student, teacher = self._env.observe()
        info = {"student": student[0], "teacher": teacher[0]}
        return info[self._env.group], float(reward[0]), bool(failed[0]), False, info

    def render(self) -> Any:
        """A picture, (height, width, 3) uint8, when made with ``render_mode="rgb_array"``."""
        frames = self._env.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Free the drawing context."""
        self._env.close()
