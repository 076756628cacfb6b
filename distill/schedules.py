"""How a weight changes over training: constant, linear, cosine, or with the student's progress."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from ..hardware.errors import RetortError

Kind = Literal["constant", "linear", "cosine", "progress"]
_KINDS = ("constant", "linear", "cosine", "progress")


class ScheduleError(RetortError):
    """A schedule of no known kind, or with an end before its beginning."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """A number from ``start`` to ``end``.

    With x going from 0 to 1 while the spent share of the budget goes from ``begin`` to ``until``:
    ``constant``: start. ``linear``: ``start + (end - start) x``. ``cosine``:
    ``end + (start - end) (1 + cos(pi x)) / 2``. ``progress``: ``end + (start - end) lambda`` with
    ``lambda`` as ``behind`` gives it, whatever has been spent.
    """

    kind: Kind = "constant"
    start: float = 1.0
    end: float = 0.0
    begin: float = 0.0
    until: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ScheduleError(
                f"there is no schedule {self.kind!r}; there are {', '.join(_KINDS)}"
            )
        if not 0.0 <= self.begin < self.until:
            raise ScheduleError(
                f"a schedule goes from {self.begin} to {self.until} of the budget; "
                "use 0 <= begin < until"
            )

    def at(self, fraction: float, relative_score: float = 0.0) -> float:
        """The number after ``fraction`` of the budget.

        Args:
            fraction: share of the budget that is spent, 0 to 1.
            relative_score: (J_S - J_0) / (J_T - J_0), for ``progress``.
        """
        if self.kind == "constant":
            return self.start
        if self.kind == "progress":
            return self.end + (self.start - self.end) * behind(relative_score)
        x = min(max((fraction - self.begin) / (self.until - self.begin), 0.0), 1.0)
        if self.kind == "cosine":
            x = 0.5 * (1.0 - math.cos(math.pi * x))
        return self.start + (self.end - self.start) * x


def relative_score(student: float, teacher: float, random: float) -> float:
    """``(J_S - J_0) / (J_T - J_0)``: 0 for a random policy, 1 for the teacher.

    Relative to a random policy, because a plain ratio means nothing for returns around or below
    zero. A teacher no better than random has nothing to give: 1.
    """
    gain = teacher - random
    return (student - random) / gain if gain > 0.0 else 1.0


def behind(relative: float) -> float:
    """``lambda = clip(1 - relative, 0, 1)``: how far the student still is behind its teacher."""
    return min(max(1.0 - relative, 0.0), 1.0)
