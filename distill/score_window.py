"""What student and teacher earned in their last episodes, side by side: one decision a window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .schedules import behind, relative_score


class Gains(NamedTuple):
    """Scores above J_0, a random policy's."""

    student: np.ndarray  # (episodes,)
    teacher: np.ndarray  # (episodes,)

    def bound(self, bar: float, deviations: float) -> float:
        """Confidence bound of ``(J_S - J_0) - bar (J_T - J_0)``; the lower one for a negative
        number of ``deviations``."""
        difference = float(self.student.mean() - bar * self.teacher.mean())
        variance = _variance_of_mean(self.student) + bar**2 * _variance_of_mean(self.teacher)
        return difference + deviations * variance**0.5


def upper_bound(gains: Sequence[float], best: float, deviations: float) -> float:
    """Confidence bound from above of the mean of gains from nothing to ``best``.

    Falls make them all or nothing, and of eight that all fell the deviation is 0. Therefore the
    bound is that of ``deviations ** 2`` episodes more, half of which earned nothing and half
    ``best`` (Agresti and Coull 1998).

    Args:
        gains: J_T - J_0 of single episodes, at least one.
        best: of them, in their unit.
        deviations: of the mean that the bound is above it.
    """
    more = deviations**2 / 2.0
    count = len(gains) + 2.0 * more
    mean = (sum(gains) + more * best) / count
    square = (sum(gain**2 for gain in gains) + more * best**2) / count
    return mean + deviations * (max(0.0, square - mean**2) / count) ** 0.5


def mean_relative_score(windows: Iterable[ScoreWindow]) -> float:
    """Mean of their relative scores, each within [0, 1]: one whose teacher is hardly better than
    random would outweigh all others."""
    return 1.0 - float(np.mean([behind(window.relative_score) for window in windows]))


class ScoreWindow:
    """Scores since the last decision, and how far that one found the student to be.

    Args:
        length: episodes of the student that one decision is made on.
        teacher_least: episodes of the teacher beside them.
    """

    def __init__(self, length: int, teacher_least: int) -> None:
        self._length, self._teacher_least = length, teacher_least
        self._student: deque[float] = deque(maxlen=length)
        self._teacher: deque[float] = deque(maxlen=length)
        self.relative_score = 0.0  # (J_S - J_0) / (J_T - J_0) when it was last full

    def add(self, score: np.ndarray, by_teacher: np.ndarray) -> None:
        """Take in episodes: mean rewards per tick (k,), and who acted (k,) bool."""
        self._student.extend(score[~by_teacher].tolist())
        self._teacher.extend(score[by_teacher].tolist())

    @property
    def full(self) -> bool:
        """There are enough episodes for a decision."""
        return len(self._student) == self._length and len(self._teacher) >= self._teacher_least

    def take(self, random_score: float) -> Gains | None:
        """The gains above ``random_score`` in a full window, which is then empty; None in others.

        Looking again and again at the same episodes would sooner or later find any difference.
        """
        if not self.full:
            return None
        student, teacher = np.array(self._student), np.array(self._teacher)
        self.clear()
        self.relative_score = relative_score(
            float(student.mean()), float(teacher.mean()), random_score
        )
        return Gains(student - random_score, teacher - random_score)

    def clear(self) -> None:
        """Forget what was taken in."""
        self._student.clear()
        self._teacher.clear()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit."""
        return {
            "student": list(self._student),
            "teacher": list(self._teacher),
            "relative_score": self.relative_score,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.clear()
        self._student.extend(state["student"])
        self._teacher.extend(state["teacher"])
        self.relative_score = float(state["relative_score"])


def _variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) / len(values)
