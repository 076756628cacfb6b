"""Modes of distillation: where the data comes from. A new mode is one entry in MODES."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mode:
    """All that tells one way to distil from another."""

    acts: bool = True  # somebody does; else recorded episodes are learnt from
    # Settings' ``teacher_share`` and the spent share of the budget, 0 to 1, to the share of the
    # environments that the teacher drives, which never rises.
    share: Callable[[float, float], float] = lambda teacher_share, fraction: teacher_share
    keeps: bool = False  # labelled batches, learnt from again in every epoch but the first
    teacher_learns: bool = False  # beside its student, from what it does itself


MODES: dict[str, Mode] = {
    # What is learnt from are episodes of ``dataset`` (the id of a Minari data set, or a folder) or,
    # without it, of the run's own teacher, recorded before distillation begins.
    "offline": Mode(acts=False),
    "student": Mode(),
    "teacher": Mode(share=lambda teacher_share, fraction: 1.0),
    "mixed": Mode(share=lambda teacher_share, fraction: 1.0 + (teacher_share - 1.0) * fraction),
    # DAgger (Ross et al. 2011). What is kept stands in the checkpoint, which becomes large.
    "aggregate": Mode(keeps=True),
    "concurrent": Mode(teacher_learns=True),  # ``ConcurrentConfig`` says how
}
