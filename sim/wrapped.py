"""Any Gymnasium environment for learning, through Gymnasium's own vector API: slower, but works."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..hardware.errors import RetortError
from .arguments import check_choice, stagger
from .episodes import EpisodesEnv

_DEFAULT_TICKS = 1000


class WrapError(RetortError):
    """An environment that learning cannot use."""


class WrappedEnv(EpisodesEnv):
    """``num_envs`` copies of a registered environment, with continuous or discrete actions.

    Observations are flat float32 and the same in both groups; a ``Discrete`` one is as many numbers
    as it has values, 1 at the one it is. Actions beyond their ``Box`` are clipped to it before the
    environment sees them, and choices count from 0, whatever its ``Discrete`` starts with. Episodes
    end where the environment says, or at the time limit. State cannot be taken out of an arbitrary
    environment: a loaded ``state_dict`` starts new episodes with the seed that came next
    (``resumable`` is False).

    Args:
        env: the name it is registered under, after ``module:`` where importing that registers it;
            or a function that makes a ``VectorEnv`` whose autoreset mode is ``DISABLED``.
        num_envs: environments; ignored where ``env`` is a function.
        max_episode_steps: time limit; the registered one when None, or 1000.
        autoreset: as ``LearningEnv`` says.
        asynchronous: one process per environment.
        keywords: of the environment.

    Raises:
        WrapError: observations are neither one array nor ``Discrete``, or actions neither ``Box``
            nor ``Discrete``.
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
            module, _, name = env.rpartition(":")
            if module:  # which registers it
                importlib.import_module(module)
            limit = gymnasium.spec(name).max_episode_steps
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
        self.metadata = self._inner.metadata
        ticks = max_episode_steps or limit or _DEFAULT_TICKS
        check_choice("autoreset", autoreset, (True, False))
        super().__init__(self._inner.num_envs, ticks, autoreset=autoreset)
        size = gymnasium.spaces.flatdim(self._inner.single_observation_space)
        self.groups = {"student": size, "teacher": size}
        self.single_observation_space = Box(-np.inf, np.inf, (size,), np.float32)
        self.single_action_space = _counted_from_0(self._inner.single_action_space)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.period = 1.0 / float(self._inner.metadata.get("render_fps") or 50)
        self.resumable = False

    @staticmethod
    def _check(inner: VectorEnv[Any, Any, Any]) -> None:
        if inner.metadata.get("autoreset_mode") != AutoresetMode.DISABLED:
            raise WrapError(
                f"got a vector environment of {inner.metadata.get('autoreset_mode')}; make it with "
                "autoreset_mode=AutoresetMode.DISABLED"
            )
        if not isinstance(inner.single_observation_space, Box | Discrete):
            raise WrapError(
                f"observations are {inner.single_observation_space}, expected one Box or Discrete; "
                "register it with gymnasium.wrappers.FlattenObservation around it, in a module of "
                "your own, and name that as module:Name-v0"
            )
        actions = inner.single_action_space
        box = isinstance(actions, Box) and len(actions.shape) == 1
        if not box and not isinstance(actions, Discrete):
            raise WrapError(
                f"actions are {actions}, expected a Box of one axis or Discrete; register it with "
                "a gymnasium.ActionWrapper around it that has such a space, in a module of your "
                "own, and name that as module:Name-v0"
            )

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
        self._begin(np.arange(self.num_envs))
        if staggered:
            self._stagger(every=1)
        return self._both(observation, {})

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One tick; see ``LearningEnv``."""
        observation, reward, failed, cut, _ = self._inner.step(self._taken(actions))
        self.elapsed += 1
        late = cut | (self.elapsed >= self.episode_ticks)
        info: dict[str, Any] = {}
        done = failed | late
        reward, terminated, truncated = self._count(reward, failed, late)
        if self.autoreset and done.any():
            final = self._flat(observation)
            info = self._ended(done, {"student": final, "teacher": final})
            self._begin(np.flatnonzero(done))
            observation, _ = self._inner.reset(options={"reset_mask": done})
        elif not self.autoreset and (failed | cut).any():  # most refuse to go on
            observation, _ = self._inner.reset(options={"reset_mask": failed | cut})
        observation, info = self._both(observation, info)
        return observation, reward, terminated, truncated, info

    def _both(
        self, observation: np.ndarray, info: dict[str, Any]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        flat = self._flat(observation)
        return flat, {**info, "student": flat, "teacher": flat}

    def _taken(self, actions: np.ndarray) -> np.ndarray:
        """What the environment gets of ``actions``, as its own space has them."""
        space = self._inner.single_action_space
        if isinstance(space, Discrete):
            return np.asarray(actions) + space.start
        assert isinstance(space, Box)
        return np.clip(actions, space.low, space.high).astype(space.dtype)

    def _flat(self, observation: np.ndarray) -> np.ndarray:
        space = self._inner.single_observation_space
        if isinstance(space, Discrete):
            return np.eye(int(space.n), dtype=np.float32)[observation - space.start]
        return np.array(observation, dtype=np.float32).reshape(self.num_envs, -1)

    def close_extras(self, **kwargs: Any) -> None:
        self._inner.close(**kwargs)

    def state_dict(self) -> dict[str, Any]:
        """What new episodes are drawn from."""
        return {"rng": self.np_random.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with new episodes, which the next ``reset`` starts."""
        self.np_random.bit_generator.state = state["rng"]


def _counted_from_0(actions: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """The same space, choices numbered as policies and teachers number their outputs."""
    return Discrete(int(actions.n)) if isinstance(actions, Discrete) else actions
