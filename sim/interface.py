"""What learning needs of an environment, whoever simulates."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from .episodes import Autoreset, LevelSource


@runtime_checkable
class LearningEnv(Protocol):
    """Many environments stepped at once, in named observation groups.

    ``reset`` and ``step`` put the observation of every group into ``info`` under the group's name,
    (num_envs, size), in arrays that nobody writes to afterwards. With ``autoreset`` a finished
    environment starts its next episode in the same step. Where any did, ``info`` also has
    ``_final_obs``, (num_envs,) bool, and, to be read in its rows, ``final_<group>``, what it saw
    last, (num_envs, size) for each group; ``final_obs``, that of the group which ``step`` returns;
    ``episode_score``, the sum of rewards divided by ``episode_ticks``, (num_envs,);
    ``episode_length``, (num_envs,) [ticks]; and ``episode_levels``, (num_envs, axes). Without,
    finished rows earn nothing and keep reporting what they finished with.
    """

    num_envs: int
    axes: tuple[str, ...]  # names of the difficulty axes, none where there are none
    episode_ticks: int  # time limit
    autoreset: Autoreset

    @property
    def level_source(self) -> LevelSource:
        """Levels of new episodes, (len(ids), axes) in [0, 1]; may be replaced."""
        ...

    @level_source.setter
    def level_source(self, source: LevelSource) -> None: ...

    @property
    def levels(self) -> np.ndarray:
        """Of the running episodes, (num_envs, axes)."""
        ...

    @property
    def elapsed(self) -> np.ndarray:
        """Of the running episodes, (num_envs,) [ticks]."""
        ...

    @property
    def score(self) -> np.ndarray:
        """Sum of rewards of the running episodes, (num_envs,)."""
        ...

    @property
    def period(self) -> float:
        """Time of one tick [s]."""
        ...

    @property
    def groups(self) -> dict[str, int]:
        """Observation groups, ``student`` and ``teacher`` at least, and their sizes."""
        ...

    @property
    def resumable(self) -> bool:
        """A loaded state goes on to the bit; if not, loading starts new episodes."""
        ...

    @property
    def single_action_space(self) -> gymnasium.Space[Any]:
        """``Box`` of one axis, or ``Discrete`` from 0."""
        ...

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start every environment; ``{"stagger": True}`` at a random time of its episode."""
        ...

    def step(
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One tick: observation, reward, terminated, truncated (num_envs,), info."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Arrays and JSON data."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        ...
