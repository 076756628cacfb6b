"""Competence-gated curriculum over named difficulty axes.

Each axis has a frontier level. An environment starts an episode with one axis at its frontier and
the others one level below theirs, so that a failure has a name, or replays earlier levels. An axis
advances when the student, on episodes at its frontier, is confidently near the teacher on the same
ones, and stays below the level at which the teacher itself fails.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from ..hardware.checks import NOT_NEGATIVE, SHARE, RangeError, between, check_fields, check_rising
from .score_window import Gains, ScoreWindow, mean_relative_score, upper_bound

REPLAY = -1  # "axis" of an episode that replays earlier levels
UNASSIGNED = -2  # and of one whose difficulty, if it has any, the curriculum did not choose
_HEEDED = 40  # of the teacher's last episodes at a level, at least; nine cannot tell that it fails
_RETRY = 10  # decisions until a level that a learning teacher failed at is tried again


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """``gated`` as above; ``fixed`` advances evenly over the budget from ``start`` on;
    ``none`` is all hardest; ``promoted`` and ``particles`` are in ``curricula``.

    All scores are above a random policy's, J_0. The bars are for confidence bounds: over one window
    a ``bar`` of 0.6 asks for some 0.7 of the teacher's score, one of 0.8 for 0.9, which a student
    that has only met what is easy may not have for most of its budget. Labels teach more where more
    happens; ``start`` leaves out the levels that are too quiet for that. Where the teacher
    confidently earns less than ``teacher_bar`` of what it earns at the easiest level, it fails
    itself, and the axis stays below: for good, or until a teacher that goes on learning is tried
    there again.
    """

    kind: Literal["gated", "promoted", "particles", "fixed", "none"] = "gated"
    levels: int = 4  # the hardest; 0 is the easiest
    start: int = 0
    bar: float = 0.6  # of the teacher's score, to advance
    fall_bar: float = 0.5  # of the teacher's score, to go back
    teacher_bar: float = 0.25  # of the teacher's own score at level 0, below which it fails
    window: int = 40  # frontier episodes of the student that one decision is made on
    teacher_least: int = 8  # episodes of the teacher beside them
    confidence: float = 1.645  # deviations: one-sided 95 %
    replay: float = 0.2  # share of episodes, or of particles, that replay earlier levels
    particles: int = 10  # of ``particles``
    traversable: tuple[float, float] = (0.5, 0.9)  # of the teacher's score, that particles seek

    def __post_init__(self) -> None:
        check_fields(
            self,
            levels=between(1, 1000),
            start=between(0, 1000),
            bar=NOT_NEGATIVE,
            fall_bar=NOT_NEGATIVE,
            teacher_bar=SHARE,
            window=between(2, 100_000),  # two for a variance
            teacher_least=between(2, 100_000),
            confidence=NOT_NEGATIVE,
            replay=SHARE,
            particles=between(1, 10_000),
            traversable=NOT_NEGATIVE,
        )
        check_rising("traversable", self.traversable)
        if self.start > self.levels:
            raise RangeError(f"start is {self.start}; use 0 to levels, which is {self.levels}")
        if self.teacher_least > self.window:
            raise RangeError(
                f"teacher_least is {self.teacher_least}; use at most window, which is {self.window}"
            )
        if self.fall_bar > self.bar:
            raise RangeError(f"fall_bar is {self.fall_bar}; use at most bar, which is {self.bar}")

    @property
    def follows_scores(self) -> bool:
        """Levels depend on what student and teacher earn, and not on the budget alone."""
        return self.kind not in ("fixed", "none")


class Ended(NamedTuple):
    """A finished episode."""

    order: int
    score: float
    by_teacher: bool


@dataclasses.dataclass
class _Axis:
    frontier: int
    window: ScoreWindow
    taught: list[deque[float]]  # gains of the teacher's last episodes at each level
    ended: list[Ended] = dataclasses.field(default_factory=list)  # before one begun earlier has
    failed: int | None = None  # the lowest level at which the teacher itself was found to fail
    waited: int = 0  # decisions since


class Curriculum:
    """State of the curriculum: frontiers, scores in the window, what each environment is doing.

    This one is ``gated``, ``fixed`` or ``none``; ``curricula.make_curriculum`` makes any kind.

    How far the student is behind its teacher is measured under every kind of curriculum, and
    without axes, or where somebody else draws the levels, over all episodes.

    Args:
        config: rules.
        axes: names.
        num_envs: environments it assigns levels to.
        random_score: of a random policy per level 0..levels, J_0; one number without axes.
        teacher_score: of the teacher at level 0, which ``teacher_bar`` is a share of; as good as
            it is ever seen to be when None or less.
        teacher_learns: it may become good where it fails now, so that this is tried again.

    Raises:
        RangeError: the kind of ``config`` is another class'.
    """

    kinds: ClassVar[tuple[str, ...]] = ("gated", "fixed", "none")

    def __init__(
        self,
        config: CurriculumConfig,
        axes: tuple[str, ...],
        num_envs: int,
        random_score: Sequence[float] | np.ndarray,
        *,
        teacher_score: float | None = None,
        teacher_learns: bool = False,
    ) -> None:
        if config.kind not in self.kinds:
            raise RangeError(f"kind is {config.kind!r}; make its curriculum by make_curriculum")
        self.config = config
        self.names = axes
        start = config.levels if config.kind == "none" else config.start
        self.random_score = np.asarray(random_score, dtype=float)
        self.teacher_learns = teacher_learns
        self._best_gain = 0.0  # J_T - J_0, the most that has been seen
        if teacher_score is not None:
            self._best_gain = max(0.0, teacher_score - float(self.random_score[0]))
        window = functools.partial(ScoreWindow, config.window, config.teacher_least)
        memory, levels = max(config.window, _HEEDED), range(config.levels + 1)
        self.axes = [_Axis(start, window(), [deque(maxlen=memory) for _ in levels]) for _ in axes]
        self._unassigned = window()
        self._unassigned_level = start
        self.axis_of = np.full(num_envs, UNASSIGNED)
        self.frontier_of = np.zeros(num_envs, dtype=np.int64)
        self.order_of = np.zeros(num_envs, dtype=np.int64)  # of episodes, as they began
        self._begun = 0

    @property
    def frontier(self) -> dict[str, int]:
        """Level of each axis."""
        return {name: axis.frontier for name, axis in zip(self.names, self.axes, strict=True)}

    @property
    def finished(self) -> bool:
        """Every axis is at its hardest level, of those at which the teacher does not fail."""
        return all(axis.frontier == self._top(axis) for axis in self.axes)

    def assign(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Difficulty of new episodes, (len(ids), axes) in [0, 1]."""
        frontier = np.array([axis.frontier for axis in self.axes])
        n = len(ids)
        if not self.axes:
            return np.zeros((n, 0))
        self.order_of[ids] = self._begun + np.arange(n)
        self._begun += n
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
        """Take finished whole episodes into the windows, in the order in which they began.

        The first to end at a new level are those that end in a fall, and a window of them alone
        would say that nobody can walk there.

        Args:
            began: (K, 3) axis, level and order of each episode, as ``running`` gave them when it
                began; (K, 0) where nobody was asked.
            score: (K,) mean reward per tick.
            by_teacher: (K,) bool: who acted.
        """
        if not self._assigned(began, score, by_teacher).any():
            return
        for number, axis in enumerate(self.axes):
            current = (began[:, 0] == number) & (began[:, 1] == axis.frontier)
            orders, scores = began[current, 2].tolist(), score[current].tolist()
            axis.ended += map(Ended, orders, scores, by_teacher[current].tolist())
            counted = self._in_order(axis.ended, number, axis.frontier)
            axis.window.add(
                np.array([each.score for each in counted]),
                np.array([each.by_teacher for each in counted], dtype=bool),
            )

    def _in_order(self, ended: list[Ended], axis: int, level: int) -> list[Ended]:
        """Take from ``ended`` those before which nobody began, on that axis at that level, who is
        still running; in the order in which they began.
        """
        running = (self.axis_of == axis) & (self.frontier_of == level)
        first = self.order_of[running].min(initial=self._begun)
        counted = sorted(each for each in ended if each.order < first)
        ended[:] = [each for each in ended if each.order >= first]
        return counted

    def _assigned(self, began: np.ndarray, score: np.ndarray, by_teacher: np.ndarray) -> np.ndarray:
        """Which episodes, (K,) bool, run what it assigned; takes in the others."""
        assigned = np.zeros(len(score), dtype=bool)
        if began.shape[1]:
            assigned = began[:, 0] != UNASSIGNED
        self._unassigned.add(score[~assigned], by_teacher[~assigned])
        return assigned

    def running(self) -> np.ndarray:
        """What every environment is running, for ``record``: (num_envs, 3) axis, level, order."""
        return np.stack([self.axis_of, self.frontier_of, self.order_of], axis=1)

    def advance(self, fraction: float = 0.0) -> dict[str, int]:
        """Move frontiers where the scores say so; returns the moves by axis.

        Args:
            fraction: of the budget that is spent, for ``fixed``.
        """
        config, moves = self.config, {}
        self._unassigned.take(self._random_score(self._unassigned_level))
        for name, axis in zip(self.names, self.axes, strict=True):
            gains = axis.window.take(self._random_score(axis.frontier))
            move = 0
            if config.kind == "gated" and gains is not None:
                move = self._decide(axis, gains)
            elif config.kind == "fixed":
                # The last level gets as long as each before it.
                left = config.levels - config.start
                level = config.start + min(left, int(fraction * (left + 1)))
                move = level - axis.frontier
            if move:
                axis.frontier += move
                axis.window.clear()
                axis.ended.clear()
                moves[name] = move
        return moves

    def _random_score(self, level: int) -> float:
        """J_0 at a level; there may be one for all."""
        return float(self.random_score[min(level, len(self.random_score) - 1)])

    def _decide(self, axis: _Axis, gains: Gains) -> int:
        """The move of an axis whose window is full."""
        config = self.config
        back = -1 if axis.frontier > 0 else 0
        taught = axis.taught[axis.frontier]
        taught.extend(gains.teacher.tolist())
        if self._teacher_fails(taught):
            axis.failed, axis.waited = axis.frontier, 0
            return back
        if gains.teacher.mean() <= 0:  # there is nothing to compare the student with
            return back
        if axis.failed is not None:
            axis.waited += 1
            is_good_there = axis.frontier >= axis.failed
            if is_good_there or (self.teacher_learns and axis.waited >= _RETRY):
                for forgotten in axis.taught[axis.failed :]:
                    forgotten.clear()
                axis.failed = None
        if gains.bound(config.bar, -config.confidence) > 0:
            return 1 if axis.frontier < self._top(axis) else 0
        return back if gains.bound(config.fall_bar, config.confidence) < 0 else 0

    def _teacher_fails(self, gains: Sequence[float]) -> bool:
        """The teacher confidently earns too little where it gained this: one unlucky window closes
        no level, since a level that is closed may never be tried again.
        """
        self._best_gain = max(self._best_gain, float(np.mean(gains)))
        return upper_bound(gains, self._best_gain, self.config.confidence) < self._least_gain

    @property
    def _least_gain(self) -> float:
        """Of a teacher that does not fail."""
        return self.config.teacher_bar * self._best_gain

    def _top(self, axis: _Axis) -> int:
        """The hardest level of an axis below the one at which the teacher fails."""
        if axis.failed is None:
            return self.config.levels
        return max(axis.failed - 1, 0)

    def relative_score(self) -> float:
        """``(J_S - J_0) / (J_T - J_0)`` at the last decisions, 0 before the first: over all
        episodes where the curriculum assigned none, else the mean over the axes."""
        if (self.axis_of == UNASSIGNED).all():
            return self._unassigned.relative_score
        return mean_relative_score(axis.window for axis in self.axes)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit."""
        return {
            "axes": [
                {
                    "frontier": axis.frontier,
                    "failed": axis.failed,
                    "waited": axis.waited,
                    "taught": [list(gains) for gains in axis.taught],
                    "ended": [list(each) for each in axis.ended],
                    **axis.window.state_dict(),
                }
                for axis in self.axes
            ],
            "unassigned": self._unassigned.state_dict(),
            "axis_of": self.axis_of.copy(),
            "frontier_of": self.frontier_of.copy(),
            "order_of": self.order_of.copy(),
            "begun": self._begun,
            "random_score": self.random_score.tolist(),
            "best_gain": self._best_gain,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        for axis, saved in zip(self.axes, state["axes"], strict=True):
            axis.frontier = int(saved["frontier"])
            axis.failed, axis.waited = saved["failed"], int(saved["waited"])
            for gains, known in zip(axis.taught, saved["taught"], strict=True):
                gains.clear()
                gains.extend(known)
            axis.ended = [Ended(*each) for each in saved["ended"]]
            axis.window.load_state_dict(saved)
        self._unassigned.load_state_dict(state["unassigned"])
        self.axis_of = np.asarray(state["axis_of"]).copy()
        self.frontier_of = np.asarray(state["frontier_of"]).copy()
        self.order_of = np.asarray(state["order_of"]).copy()
        self._begun = int(state["begun"])
        self.random_score = np.array(state["random_score"])
        self._best_gain = float(state["best_gain"])
