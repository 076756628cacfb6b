"""Training that has left the finite numbers, noticed in the iteration in which it does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..hardware.errors import RetortError


class DivergedError(RetortError):
    """A loss or a weight is not finite any more; nothing of this iteration has been saved."""


def check_finite(whose: str, losses: Mapping[str, float], parameters: Iterable[Tensor]) -> None:
    """Losses and weights of one iteration must be finite.

    Args:
        whose: the recipe's section that trains: ``teacher`` or ``distill``.
        losses: means by name.
        parameters: what has just been moved.

    Raises:
        DivergedError: they are not; the message says what to change.
    """
    wrong = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
    if not wrong and not all(bool(torch.isfinite(p).all()) for p in parameters):
        wrong = ["a weight is not finite"]
    if wrong:
        raise DivergedError(
            f"training has diverged ({', '.join(wrong)}) and was stopped; a checkpoint from before "
            f"is kept, if there is one. Lower {whose}.learning_rate or {whose}.max_gradient_norm "
            "and start over with --fresh"
        )
