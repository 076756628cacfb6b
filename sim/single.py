"""One robot as a plain Gymnasium environment: a row of ``RobotEnv``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from .env import RobotEnv, SimulationConfig


class RobotSingleEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One robot doing one task. Takes the keywords of ``RobotEnv``.

    ``info`` holds ``student`` and ``teacher`` observations and ``tracking``, without a batch axis.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("simulation", SimulationConfig(threads=1))
        self.render_mode = render_mode
        self._env = RobotEnv(num_envs=1, autoreset=False, render_mode=render_mode, **kwargs)
        self.contract = self._env.contract
        self.observation_space = self._env.single_observation_space
        self.action_space = self._env.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; ``options`` as ``RobotEnv.reset`` takes them."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**63))
        observation, info = self._env.reset(seed=seed, options=options)
        return observation[0], {key: np.array(value[0]) for key, value in info.items()}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One control tick."""
        observation, reward, terminated, truncated, info = self._env.step(
            np.asarray(action, dtype=np.float32)[None]
        )
        return (
            observation[0],
            float(reward[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            {key: np.array(value[0]) for key, value in info.items()},
        )

    def render(self) -> Any:
        """A picture, (height, width, 3) uint8, when made with ``render_mode="rgb_array"``."""
        frames = self._env.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        self._env.close()
