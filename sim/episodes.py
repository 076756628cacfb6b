"""What every vectorised environment here keeps of its episodes: difficulty, time, score and end.

What is simulated, seen and rewarded is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from .arguments import check_choice, one_level_each

# Levels of the new episodes of ``ids``, (len(ids), axes).
LevelSource = Callable[[np.ndarray, np.random.Generator], np.ndarray]
_RESET_EVERY = 10  # [ticks] staggered episodes end on multiples of it: fewer, larger resets
Autoreset = bool | Literal["next_step"]
AUTORESET_MODES = {
    True: AutoresetMode.SAME_STEP,
    False: AutoresetMode.DISABLED,
    "next_step": AutoresetMode.NEXT_STEP,
}
_ARRAYS = ("levels", "elapsed", "score", "_failed", "_timed_out")


class EpisodesEnv(VectorEnv[Any, Any, Any]):
    """The part of ``LearningEnv`` that is the same whoever simulates.

    Args:
        num_envs: environments.
        episode_ticks: time limit.
        axes: names of the difficulty axes.
        level: in [0, 1] on every axis, or one number per axis.
        group: which observation ``reset`` and ``step`` return.
        autoreset: finished environments begin anew in the same step, or with ``"next_step"`` in
            the one behind it, whose actions for them do nothing.

    Raises:
        EnvError: another number of levels than axes; RangeError if one is not in [0, 1].
    """

    def __init__(
        self,
        num_envs: int,
        episode_ticks: int,
        *,
        axes: tuple[str, ...] = (),
        level: float | Sequence[float] = 0.0,
        group: str = "student",
        autoreset: Autoreset = True,
    ) -> None:
        check_choice("autoreset", autoreset, tuple(AUTORESET_MODES))
        self.num_envs = num_envs
        self.episode_ticks = episode_ticks
        self.axes = axes
        self.group = group
        self.autoreset: Autoreset = autoreset
        self.metadata = {**self.metadata, "autoreset_mode": AUTORESET_MODES[autoreset]}
        fixed = one_level_each(level, axes)
        self.level_source: LevelSource = lambda ids, rng: np.tile(fixed, (len(ids), 1))
        self.levels = np.zeros((num_envs, len(axes)))
        self.elapsed = np.zeros(num_envs, dtype=np.int64)  # [ticks]
        self.score = np.zeros(num_envs)  # sum of rewards of the running episode
        self._failed = np.zeros(num_envs, dtype=bool)  # how they finished, until they begin anew
        self._timed_out = np.zeros(num_envs, dtype=bool)

    @property
    def finished(self) -> np.ndarray:
        """Whose episode is over, (num_envs,) bool; nobody's who began anew in the same step."""
        return self._failed | self._timed_out

    def _begin(self, ids: np.ndarray) -> None:
        """Episodes of ``ids`` start."""
        self.elapsed[ids] = 0
        self.score[ids] = 0.0
        self._failed[ids] = self._timed_out[ids] = False

    def _stagger(self, every: int = _RESET_EVERY) -> None:
        """Everybody is at a random time of an episode, a multiple of ``every`` ticks."""
        times = max(1, self.episode_ticks // every)
        self.elapsed[:] = self.np_random.integers(0, times, self.num_envs) * every

    def _count(
        self, reward: np.ndarray, failed: np.ndarray, late: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Enter a step, all (num_envs,); returns reward, terminated and truncated to report.

        Who had finished before earns nothing, and reports what it finished with unless it is about
        to begin anew.
        """
        if self.autoreset is True:
            self.score += reward
            return reward, failed, late
        running = ~self.finished
        reward = np.where(running, reward, reward.dtype.type(0))
        self.score += reward
        failed, late = failed & running, late & running
        self._failed |= failed
        self._timed_out |= late
        if self.autoreset:
            return reward, failed, late
        return reward, self._failed.copy(), self._timed_out.copy()

    def _begin_anew(self, finished: np.ndarray, done: np.ndarray) -> np.ndarray:
        """Who begins anew in this step, (n,) of indices, of those who had ``finished`` before it
        and are ``done`` in it, both (num_envs,) bool.
        """
        if not self.autoreset:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(done if self.autoreset is True else finished)

    def _ended(self, done: np.ndarray, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """What ``info`` says of the episodes of ``done``, (num_envs,) bool, before they restart."""
        return {
            **{f"final_{group}": values for group, values in observations.items()},
            "final_obs": observations[self.group],
            "_final_obs": done,
            "episode_score": self.score / self.episode_ticks,
            "episode_length": self.elapsed.copy(),
            "episode_levels": self.levels.copy(),
        }

    def _episode_state(self) -> dict[str, Any]:
        """Arrays, and the generator's state as JSON data."""
        arrays = {name: getattr(self, name).copy() for name in _ARRAYS}
        return {**arrays, "rng": self.np_random.bit_generator.state}

    def _load_episode_state(self, state: Mapping[str, Any]) -> None:
        for name in _ARRAYS:
            getattr(self, name)[:] = state[name]
        self.np_random.bit_generator.state = state["rng"]


def with_prefix(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a part, named as such in the state of the whole."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def part(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The inverse of ``with_prefix``."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
