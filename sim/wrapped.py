"""Any Gymnasium environment for learning, through Gymnasium's own vector API: slower, but works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..hardware.errors import RetortError
from .arguments import stagger
from .env import LevelSource

_DEFAULT_TICKS = 1000


class WrapError(RetortError):
    """An environment that learning cannot use."""


class WrappedEnv(VectorEnv[Any, Any, Any]):
    """``num_envs`` copies of a registered environment, with continuous or discrete actions.

    Observations are flat float32 and the same in both groups. Episodes end where the environment
    says, or at the time limit. State cannot be taken out of an arbitrary environment: a loaded
    ``state_dict`` starts new episodes with the seed that came next (``resumable`` is False).

    Args:
        env: the name it is registered under, or a function that makes a ``VectorEnv`` whose
            autoreset mode is ``DISABLED``.
        num_envs: environments; ignored where ``env`` is a function.
        max_episode_steps: time limit; the registered one when None, or 1000.
        autoreset: as ``LearningEnv`` says.
        asynchronous: one process per environment.
        keywords: of the environment.

    Raises:
        WrapError: observations are not one array, or actions neither ``Box`` nor ``Discrete``.
    """

    def __init__(
        self,
        env: str | Callable[[], VectorEnv[Any, Any, Any]],
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset: bool = True,
        asynchronous: bool = False,
        **keywords: Any,
    ) -> None:
        if isinstance(env, str):
            limit = gymnasium.spec(env).max_episode_steps
            self._inner = gymnasium.make_vec(
                env,
                num_envs,
                vectorization_mode="async" if asynchronous else "sync",
                vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
                max_episode_steps=-1,  # the limit is counted here
                **keywords,
            )
        else:
            limit, self._inner = None, env()
        self._check(self._inner)
        self.episode_ticks = max_episode_steps or limit or _DEFAULT_TICKS
        self.num_envs = n = self._inner.num_envs
        self.autoreset = autoreset
        shape = self._inner.single_observation_space.shape or ()
        size = int(np.prod(shape))
        self.groups = {"student": size, "teacher": size}
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.single_action_space = self._inner.single_action_space
        self.observation_space = batch_space(self.single_observation_space, n)
        self.action_space = self._inner.action_space
        mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
        self.metadata = {**self._inner.metadata, "autoreset_mode": mode}
        self.period = 1.0 / float(self._inner.metadata.get("render_fps") or 50)
        self.resumable = False
        self.axes: tuple[str, ...] = ()
        self.level_source: LevelSource = lambda ids, rng: np.zeros((len(ids), 0))
        self.levels = np.zeros((n, 0))
        self.elapsed = np.zeros(n, dtype=np.int64)
        self.score = np.zeros(n)
        self._failed = np.zeros(n, dtype=bool)  # how they finished, only without autoreset
        self._timed_out = np.zeros(n, dtype=bool)

    @staticmethod
    def _check(inner: VectorEnv[Any, Any, Any]) -> None:
        if inner.metadata.get("autoreset_mode") != AutoresetMode.DISABLED:
            raise WrapError(
                f"got a vector environment of {inner.metadata.get('autoreset_mode')}; make it with "
                "autoreset_mode=AutoresetMode.DISABLED"
            )
        if not isinstance(inner.single_observation_space, gymnasium.spaces.Box):
            raise WrapError(
                f"observations are {inner.single_observation_space}, expected one Box; put "
                "gymnasium.wrappers.FlattenObservation around the environment"
            )
        actions = inner.single_action_space
        box = isinstance(actions, gymnasium.spaces.Box) and len(actions.shape) == 1
        if not box and not isinstance(actions, gymnasium.spaces.Discrete):
            raise WrapError(f"actions are {actions}, expected a Box of one axis or Discrete")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every environment; see ``LearningEnv``.

        Raises:
            EnvError: an option other than ``stagger``.
        """
        staggered = stagger(options)
        super().reset(seed=seed)
        observation, _ = self._inner.reset(seed=int(self.np_random.integers(2**31)))
        self.elapsed[:] = 0
        self.score[:] = 0.0
        self._failed[:] = self._timed_out[:] = False
        if staggered:
            self.elapsed[:] = self.np_random.integers(0, self.episode_ticks, self.num_envs)
        return self._both(observation, {})

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One tick; see ``LearningEnv``."""
        observation, reward, failed, cut, _ = self._inner.step(actions)
        self.elapsed += 1
        late = cut | (self.elapsed >= self.episode_ticks)
        info: dict[str, Any] = {}
        if self.autoreset:
            self.score += reward
            done = failed | late
            if done.any():
                observation = self._end_episodes(done, observation, info)
            terminated, truncated = failed, late
        else:
            running = ~(self._failed | self._timed_out)
            reward = np.where(running, reward, 0.0)
            self.score += reward
            self._failed |= failed & running
            self._timed_out |= late & running
            terminated, truncated = self._failed.copy(), self._timed_out.copy()
            if (failed | cut).any():  # most environments refuse to go on
                observation, _ = self._inner.reset(options={"reset_mask": failed | cut})
        observation, info = self._both(observation, info)
        return observation, reward, terminated, truncated, info

    def _end_episodes(
        self, done: np.ndarray, observation: np.ndarray, info: dict[str, Any]
    ) -> np.ndarray:
        final = self._flat(observation)
        info["final_obs"] = info["final_student"] = info["final_teacher"] = final
        info["_final_obs"] = done
        info["episode_score"] = self.score / self.episode_ticks
        info["episode_length"] = self.elapsed.copy()
        info["episode_levels"] = self.levels.copy()
        self.elapsed[done] = 0
        self.score[done] = 0.0
        return self._inner.reset(options={"reset_mask": done})[0]

    def _both(
        self, observation: np.ndarray, info: dict[str, Any]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        flat = self._flat(observation)
        return flat, {**info, "student": flat, "teacher": flat}

    def _flat(self, observation: np.ndarray) -> np.ndarray:
        return np.array(observation, dtype=np.float32).reshape(self.num_envs, -1)

    def close_extras(self, **kwargs: Any) -> None:
        self._inner.close(**kwargs)

    def state_dict(self) -> dict[str, Any]:
        """What new episodes are drawn from."""
        return {"rng": self.np_random.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with new episodes, which the next ``reset`` starts."""
        self.np_random.bit_generator.state = state["rng"]
