"""Partial observation: what the student sees of an observation, and how noisily."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...hardware.checks import NOT_NEGATIVE, check_fields
from .difficulty import DifficultyError
from .task import VELOCITIES


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentView:
    """What the ``student`` group leaves out and adds; the ``teacher`` group keeps everything.

    ``mask`` names parts of the task's observation that the student lacks, or ``velocities`` for all
    parts that are. ``noise`` is Gaussian, in units of each observation's standard deviation.
    ``std`` are those deviations, one per number of the *whole* observation: give the teacher's
    normaliser; when None they are measured under uniform random actions. With ``last_action`` the
    student also sees, behind and without noise, what its motors were last told, in [-1, 1] of their
    range and zero at first.

    With ``fade`` what ``mask`` names is taken away little by little, on the difficulty axis
    ``removal``: behind everything else the student has it as the teacher does, but in every episode
    each number is, with a probability of the level, missing from start to end, and reads 0. At
    level 0 it sees all, and at 1 exactly what it sees without ``fade``, and zeros.
    """

    mask: tuple[str, ...] = ()
    noise: float = 0.0
    std: tuple[float, ...] | None = None
    last_action: bool = False
    fade: bool = False

    def __post_init__(self) -> None:
        check_fields(self, noise=NOT_NEGATIVE, std=NOT_NEGATIVE)
        if self.fade and not self.mask:
            raise DifficultyError("fade takes away what mask names; name what is to go at last")

    def columns(self, parts: dict[str, int]) -> np.ndarray:
        """Columns of the observation that are left, (k,) of int.

        Raises:
            DifficultyError: no such part, or nothing is left.
        """
        known = {*parts, "velocities"}
        if unknown := [name for name in self.mask if name not in known]:
            raise DifficultyError(
                f"the observation has no part {unknown[0]!r} to mask; it has "
                f"{', '.join(parts)}, or velocities for all that are"
            )
        hidden = set(self.mask)
        if "velocities" in hidden:
            hidden |= set(VELOCITIES)
        seen = np.concatenate([np.full(size, name not in hidden) for name, size in parts.items()])
        if not seen.any():
            raise DifficultyError("the mask leaves the student nothing to see; name fewer parts")
        return np.flatnonzero(seen)
