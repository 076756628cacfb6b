"""A particle filter over levels: it keeps those that are neither easy nor hopeless."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..curriculum import Curriculum
from ..score_window import Gains, ScoreWindow, mean_relative_score

_MOVED = 0.8  # of the particles at each resampling, p_transition of Lee et al.


class ParticleCurriculum(Curriculum):
    """The adaptive curriculum of Lee et al. 2020 (Learning Quadrupedal Locomotion over Challenging
    Terrain, Science Robotics 5, section "Adaptive terrain curriculum"), for any axes instead of
    parameters of terrain.

    A particle is a level of every axis, and an episode runs a particle, drawn evenly. What is
    there the traversability of a trajectory, the share of its time that the robot walked as it was
    told, is here what an episode earned relative to the teacher's mean J_T at the same particle:

        Tr = (J - J_0) / (J_T - J_0).

    Once every particle has a full window, particles are drawn anew (sequential importance
    resampling) with the weight

        w = share of the student's episodes whose Tr is within ``traversable``,

    and 0 where the teacher itself fails. Then each becomes, with probability ``replay``, one of the
    replay memory, which holds all that were ever drawn by weight; or else, with probability 0.8,
    moves by one level on a random axis. Where no particle has any weight, all are as good. The
    frontier is the particles' median.

    ``axis_of`` and ``frontier_of`` are the particle of each environment and how often they had been
    drawn anew.
    """

    kinds: ClassVar[tuple[str, ...]] = ("particles",)

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        config = self.config
        self.particles = np.full((config.particles, len(self.axes)), config.start)
        self.memory = self.particles[:1].copy()  # different ones
        self._windows = [
            ScoreWindow(config.window, config.teacher_least) for _ in range(config.particles)
        ]
        self._weights = np.zeros(0)  # of particles that are to be drawn anew
        self._drawn = 0  # times

    def assign(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Difficulty of new episodes, (len(ids), axes) in [0, 1]."""
        if not self.axes:
            return np.zeros((len(ids), 0))
        if len(self._weights):
            self._resample(rng)
        chosen = rng.integers(0, len(self.particles), len(ids))
        self.axis_of[ids], self.frontier_of[ids] = chosen, self._drawn
        return self.particles[chosen] / self.config.levels

    def record(self, began: np.ndarray, score: np.ndarray, by_teacher: np.ndarray) -> None:
        """Take finished whole episodes into the windows of their particles, if these still stand;
        arguments as in ``Curriculum``."""
        if not self._assigned(began, score, by_teacher).any():
            return
        for number, window in enumerate(self._windows):
            current = (began[:, 0] == number) & (began[:, 1] == self._drawn)
            window.add(score[current], by_teacher[current])

    def advance(self, fraction: float = 0.0) -> dict[str, int]:
        """Weigh the particles once all windows are full; returns the frontiers' moves by axis.

        They are drawn anew where the next episodes begin.
        """
        self._unassigned.take(self._random_score(self._unassigned_level))
        if all(window.full for window in self._windows):
            weights = [
                self._weight(window.take(self._random_score(round(particle.mean()))))
                for particle, window in zip(self.particles, self._windows, strict=True)
            ]
            self._weights = np.array(weights)
        moves = {}
        for number, (name, axis) in enumerate(zip(self.names, self.axes, strict=True)):
            level = int(np.median(self.particles[:, number]))
            if level != axis.frontier:
                moves[name] = level - axis.frontier
            axis.frontier = level
        return moves

    def relative_score(self) -> float:
        """As in ``Curriculum``, mean over the particles."""
        if (self.axis_of < 0).all():
            return super().relative_score()
        return mean_relative_score(self._windows)

    def _weight(self, gains: Gains | None) -> float:
        """Share of the student's episodes that were neither easy nor hopeless."""
        if gains is None:
            return 0.0
        taught = float(gains.teacher.mean())
        self._best_gain = max(self._best_gain, taught)
        if taught <= self._least_gain:  # of one window: it may be drawn again
            return 0.0
        traversability = gains.student / taught
        low, high = self.config.traversable
        return float(((traversability >= low) & (traversability <= high)).mean())

    def _resample(self, rng: np.random.Generator) -> None:
        """Draw the particles anew by their weights, replay some and move others."""
        n, total = len(self.particles), self._weights.sum()
        if total > 0:
            self.particles = self.particles[rng.choice(n, n, p=self._weights / total)]
            self.memory = np.unique(np.concatenate([self.memory, self.particles]), axis=0)
        lot, replay = rng.random(n), self.config.replay
        moved = np.flatnonzero((lot >= replay) & (lot < replay + (1.0 - replay) * _MOVED))
        axis = rng.integers(0, len(self.axes), len(moved))
        steps = 2 * rng.integers(0, 2, len(moved)) - 1
        self.particles[moved, axis] += steps
        self.particles = np.clip(self.particles, 0, self.config.levels)
        replayed = np.flatnonzero(lot < replay)
        self.particles[replayed] = self.memory[rng.integers(0, len(self.memory), len(replayed))]
        self._weights = np.zeros(0)
        self._drawn += 1
        for window in self._windows:
            window.clear()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit."""
        return {
            **super().state_dict(),
            "particles": self.particles.copy(),
            "memory": self.memory.copy(),
            "weights": self._weights.copy(),
            "drawn": self._drawn,
            "windows": [window.state_dict() for window in self._windows],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        super().load_state_dict(state)
        self.particles = np.asarray(state["particles"]).copy()
        self.memory = np.asarray(state["memory"]).copy()
        self._weights = np.asarray(state["weights"]).copy()
        self._drawn = int(state["drawn"])
        for window, saved in zip(self._windows, state["windows"], strict=True):
            window.load_state_dict(saved)
