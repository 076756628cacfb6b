"""Competence-gated curriculum over named difficulty axes.

Each axis has a frontier level. An environment starts an episode with one axis at its frontier and
the others one level below theirs, so that a failure has a name, or replays earlier levels. An axis
advances when the student, on episodes at its frontier, is confidently near the teacher on the same
ones.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any, Literal

import numpy as np

from ..hardware.checks import NOT_NEGATIVE, SHARE, RangeError, between, check_fields
from .schedules import relative_score

REPLAY = -1  # "axis" of an episode that replays earlier levels


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """``gated`` as above; ``fixed`` advances evenly over the budget from ``start`` on;
    ``none`` is all hardest.

    The bars are for confidence bounds: over one window a bar of 0.6 asks for some 0.7 of the
    teacher's score, one of 0.8 for 0.9, which a student that has only met what is easy may not have
    for most of its budget. Labels teach more where more happens; ``start`` leaves out the levels
    that are too quiet for that.
    """

    kind: Literal["gated", "fixed", "none"] = "gated"
    levels: int = 4  # the hardest; 0 is the easiest
    start: int = 0
    bar: float = 0.6  # of the teacher's score, to advance
    fall_bar: float = 0.5  # of the teacher's score, to go back
    teacher_bar: float = 0.2  # above the random policy, below which the teacher itself fails
    window: int = 40  # frontier episodes of the student that one decision is made on
    teacher_least: int = 8  # episodes of the teacher beside them
    confidence: float = 1.645  # deviations: one-sided 95 %
    replay: float = 0.2  # share of episodes that replay earlier levels

    def __post_init__(self) -> None:
        check_fields(
            self,
            levels=between(1, 1000),
            start=between(0, 1000),
            bar=NOT_NEGATIVE,
            fall_bar=NOT_NEGATIVE,
            teacher_bar=NOT_NEGATIVE,
            window=between(2, 100_000),  # two for a variance
            teacher_least=between(2, 100_000),
            confidence=NOT_NEGATIVE,
            replay=SHARE,
        )
        if self.start > self.levels:
            raise RangeError(f"start is {self.start}; use 0 to levels, which is {self.levels}")
        if self.teacher_least > self.window:
            raise RangeError(
                f"teacher_least is {self.teacher_least}; use at most window, which is {self.window}"
            )
        if self.fall_bar > self.bar:
            raise RangeError(f"fall_bar is {self.fall_bar}; use at most bar, which is {self.bar}")


@dataclasses.dataclass
class _Axis:
    frontier: int
    student: deque[float]
    teacher: deque[float]
    relative_score: float = 0.0  # at the last decision

    def clear(self) -> None:
        self.student.clear()
        self.teacher.clear()


class Curriculum:
    """State of the curriculum: frontiers, scores in the window, what each environment is doing.

    Args:
        config: rules.
        axes: names.
        num_envs: environments it assigns levels to.
        random_score: of a random policy per level 0..levels, J_0.
    """

    def __init__(
        self,
        config: CurriculumConfig,
        axes: tuple[str, ...],
        num_envs: int,
        random_score: np.ndarray,
    ) -> None:
        self.config = config
        self.names = axes
        start = config.levels if config.kind == "none" else config.start
        self.random_score = np.asarray(random_score, dtype=float)
        self.axes = [
            _Axis(start, deque(maxlen=config.window), deque(maxlen=config.window)) for _ in axes
        ]
        self.axis_of = np.full(num_envs, REPLAY)
        self.frontier_of = np.zeros(num_envs, dtype=np.int64)

    @property
    def frontier(self) -> dict[str, int]:
        """Level of each axis."""
        return {name: axis.frontier for name, axis in zip(self.names, self.axes, strict=True)}

    @property
    def finished(self) -> bool:
        """Every axis is at its hardest level."""
        return all(axis.frontier == self.config.levels for axis in self.axes)

    def assign(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Difficulty of new episodes, (len(ids), axes) in [0, 1]."""
        frontier = np.array([axis.frontier for axis in self.axes])
        n = len(ids)
        if self.config.kind == "none":
            self.axis_of[ids] = rng.integers(0, len(frontier), n)  # only for its score
            self.frontier_of[ids] = self.config.levels
            return np.ones((n, len(frontier)))
        # Replayed are all levels up to each axis' frontier, evenly.
        levels = np.floor(rng.random((n, len(frontier))) * (frontier + 1)).astype(np.int64)
        chosen = rng.integers(0, len(frontier), n)
        replay = rng.random(n) < self.config.replay
        rows = np.flatnonzero(~replay)
        # The others are as hard as has been mastered: what is easy teaches little, and the hardest
        # level is one where all are hard at once.
        levels[rows] = frontier if self.finished else np.maximum(frontier - 1, 0)
        levels[rows, chosen[rows]] = frontier[chosen[rows]]
        self.axis_of[ids] = np.where(replay, REPLAY, chosen)
        self.frontier_of[ids] = frontier[chosen]
        return levels / self.config.levels

    def record(self, began: np.ndarray, score: np.ndarray, by_teacher: np.ndarray) -> None:
        """Take finished whole episodes into the windows.

        Args:
            began: (K, 2) axis and level of each episode, as ``running`` gave them when it began.
            score: (K,) mean reward per tick.
            by_teacher: (K,) bool: who acted.
        """
        for number, axis in enumerate(self.axes):
            current = (began[:, 0] == number) & (began[:, 1] == axis.frontier)
            axis.student.extend(score[current & ~by_teacher].tolist())
            axis.teacher.extend(score[current & by_teacher].tolist())

    def running(self) -> np.ndarray:
        """What every environment is running: (num_envs, 2) axis and frontier level."""
        return np.stack([self.axis_of, self.frontier_of], axis=1)

    def advance(self, fraction: float = 0.0) -> dict[str, int]:
        """Move frontiers where the scores say so; returns the moves by axis.

        Args:
            fraction: of the budget that is spent, for ``fixed``.
        """
        config, moves = self.config, {}
        for name, axis in zip(self.names, self.axes, strict=True):
            move = self._decide(axis)
            if config.kind == "fixed":
                # The last level gets as long as each before it.
                left = config.levels - config.start
                level = config.start + min(left, int(fraction * (left + 1)))
                move = level - axis.frontier
            if move and config.kind != "none":
                axis.frontier += move
                axis.clear()
                moves[name] = move
        return moves

    def _decide(self, axis: _Axis) -> int:
        """One decision per full window, which is then emptied: looking again and again at the same
        episodes would sooner or later find any difference. Only ``gated`` follows it; all kinds
        learn from it how far the student is."""
        config = self.config
        if len(axis.student) < config.window or len(axis.teacher) < config.teacher_least:
            return 0
        random_score = self.random_score[axis.frontier]
        student, teacher = np.array(axis.student), np.array(axis.teacher)
        axis.clear()
        axis.relative_score = relative_score(
            float(student.mean()), float(teacher.mean()), float(random_score)
        )
        if teacher.mean() - random_score < config.teacher_bar:
            return 0 if axis.frontier == 0 else -1  # the teacher itself fails here
        if self._bound(student, teacher, random_score, config.bar, -1.0) > 0:
            return 1 if axis.frontier < config.levels else 0
        low = self._bound(student, teacher, random_score, config.fall_bar, 1.0) < 0
        return -1 if low and axis.frontier > 0 else 0

    def _bound(
        self,
        student: np.ndarray,
        teacher: np.ndarray,
        random_score: float,
        bar: float,
        side: float,
    ) -> float:
        """Confidence bound of ``(J_S - J_0) - bar (J_T - J_0)``, lower for ``side`` -1."""
        difference = (student.mean() - random_score) - bar * (teacher.mean() - random_score)
        variance = student.var(ddof=1) / len(student)
        variance += bar**2 * teacher.var(ddof=1) / len(teacher)
        return float(difference + side * self.config.confidence * np.sqrt(variance))

    def relative_score(self) -> float:
        """``(J_S - J_0) / (J_T - J_0)``, mean over the axes' last decisions; 0 before the first."""
        if not self.axes:
            return 0.0
        return float(np.mean([axis.relative_score for axis in self.axes]))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit."""
        return {
            "axes": [
                {
                    "frontier": a.frontier,
                    "student": list(a.student),
                    "teacher": list(a.teacher),
                    "relative_score": a.relative_score,
                }
                for a in self.axes
            ],
            "axis_of": self.axis_of.copy(),
            "frontier_of": self.frontier_of.copy(),
            "random_score": self.random_score.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        for axis, saved in zip(self.axes, state["axes"], strict=True):
            axis.frontier = int(saved["frontier"])
            axis.relative_score = float(saved["relative_score"])
            axis.clear()
            axis.student.extend(saved["student"])
            axis.teacher.extend(saved["teacher"])
        self.axis_of = np.asarray(state["axis_of"]).copy()
        self.frontier_of = np.asarray(state["frontier_of"]).copy()
        self.random_score = np.array(state["random_score"])
