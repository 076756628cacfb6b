"""Several tasks on one body, side by side, for a policy that is told which one it is at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from .arguments import EnvError
from .episodes import AUTORESET_MODES, Autoreset, LevelSource, part, with_prefix
from .interface import LearningEnv

_EPISODE = ("episode_score", "episode_length", "episode_levels")


class SeveralEnv(VectorEnv[Any, Any, Any]):
    """Environments of several tasks as one; those of the first task come first.

    Every group sees what its task shows it, and behind that a one-hot of the task. ``tasks`` is
    what ``RolloutSource`` routes teachers by; a teacher of one task knows the numbers in front.
    Part i is reset with ``seed + i``, so that its episodes are those it has by itself with that.

    Args:
        parts: one per task, alike in observation sizes, actions, time limit, period, difficulty
            axes and autoreset.

    Raises:
        EnvError: no part, or two that are not alike.
    """

    def __init__(self, parts: Sequence[LearningEnv]) -> None:
        _check(parts)
        self.parts = tuple(parts)
        first, counts = self.parts[0], [env.num_envs for env in self.parts]
        self.num_envs = sum(counts)
        self.tasks = np.repeat(np.arange(len(counts)), counts)  # (num_envs,) int64
        self._one_hot = np.eye(len(counts), dtype=np.float32)[self.tasks]
        ends = np.cumsum(counts)
        self._rows = [
            slice(int(end) - count, int(end)) for end, count in zip(ends, counts, strict=True)
        ]
        own = [env.level_source for env in self.parts]
        self._level_source: LevelSource = lambda ids, rng: np.concatenate(
            [
                own[t](np.array([i - self._rows[t].start]), rng)
                for i, t in zip(ids, self.tasks[ids], strict=True)
            ]
        )
        self.axes, self.episode_ticks = first.axes, first.episode_ticks
        self.period = first.period
        self.autoreset: Autoreset = first.autoreset
        self.groups = {group: size + len(counts) for group, size in first.groups.items()}
        self.metadata = {**self.metadata, "autoreset_mode": AUTORESET_MODES[self.autoreset]}
        shape = (self.groups["student"],)
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.single_action_space = first.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    @property
    def resumable(self) -> bool:
        """Every part is."""
        return all(env.resumable for env in self.parts)

    @property
    def levels(self) -> np.ndarray:
        """(num_envs, axes) of the running episodes; a new array, as the two below."""
        return np.concatenate([env.levels for env in self.parts])

    @property
    def elapsed(self) -> np.ndarray:
        """(num_envs,) ticks of the running episodes."""
        return np.concatenate([env.elapsed for env in self.parts])

    @property
    def score(self) -> np.ndarray:
        """(num_envs,) sum of rewards of the running episodes."""
        return np.concatenate([env.score for env in self.parts])

    @property
    def level_source(self) -> LevelSource:
        """Levels of new episodes; what the parts came with until it is set."""
        return self._level_source

    @level_source.setter
    def level_source(self, source: LevelSource) -> None:
        self._level_source = source
        for env, rows in zip(self.parts, self._rows, strict=True):
            env.level_source = _shifted(source, rows.start)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every environment; see ``LearningEnv``."""
        infos = [
            env.reset(seed=None if seed is None else seed + i, options=options)[1]
            for i, env in enumerate(self.parts)
        ]
        info = self._seen(infos)
        return info["student"], info

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One tick; see ``LearningEnv``."""
        steps = [env.step(actions[rows]) for env, rows in zip(self.parts, self._rows, strict=True)]
        _, rewards, terminations, truncations, infos = zip(*steps, strict=True)
        reward, terminated, truncated = map(np.concatenate, (rewards, terminations, truncations))
        info = self._seen(infos)
        if any("_final_obs" in one for one in infos):
            info |= self._ended(infos)
        return info["student"], reward, terminated, truncated, info

    def _seen(self, infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {group: self._told([info[group] for info in infos]) for group in self.groups}

    def _told(self, observations: Sequence[np.ndarray]) -> np.ndarray:
        """Observations of all parts with the one-hot of their task, (num_envs, size)."""
        seen = np.concatenate(observations).astype(np.float32, copy=False)
        return np.concatenate([seen, self._one_hot], axis=1)

    def _ended(self, infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What the parts say of the episodes that ended; nobody reads the rows of the others."""
        said: dict[str, list[np.ndarray]] = {"_final_obs": []}
        for env, info in zip(self.parts, infos, strict=True):
            over = "_final_obs" in info
            nobody = np.zeros(env.num_envs, dtype=bool)
            said["_final_obs"].append(info["_final_obs"] if over else nobody)
            for group in self.groups:
                final = info[f"final_{group}"] if over else info[group]
                said.setdefault(f"final_{group}", []).append(final)
            running = (env.score / env.episode_ticks, env.elapsed, env.levels)
            for name, value in zip(_EPISODE, running, strict=True):
                said.setdefault(name, []).append(info[name] if over else value.copy())
        result = {name: np.concatenate(values) for name, values in said.items() if name in _WHOLE}
        result |= {name: self._told(said[name]) for name in said.keys() - _WHOLE}
        return {**result, "final_obs": result["final_student"]}

    def close_extras(self, **kwargs: Any) -> None:
        for env in self.parts:
            if isinstance(env, VectorEnv):
                env.close(**kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: what every part says."""
        state: dict[str, Any] = {}
        for i, env in enumerate(self.parts):
            state |= with_prefix(f"part{i}", env.state_dict())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        for i, env in enumerate(self.parts):
            env.load_state_dict(part(state, f"part{i}"))


_WHOLE = {"_final_obs", *_EPISODE}


def _shifted(source: LevelSource, begin: int) -> LevelSource:
    """The levels of a part whose environment 0 is number ``begin`` of all."""
    return lambda ids, rng: source(ids + begin, rng)


def _check(parts: Sequence[LearningEnv]) -> None:
    if not parts:
        raise EnvError("there is no part; give an environment for every task")
    alike = ("groups", "single_action_space", "episode_ticks", "period", "axes", "autoreset")
    for number, env in enumerate(parts[1:], start=1):
        for name in alike:
            got, expected = getattr(env, name), getattr(parts[0], name)
            if got != expected:
                raise EnvError(
                    f"part {number} has {name} {got}, the first {expected}; make both alike"
                )
