"""The range of actions: between which numbers the environment cuts what it is given."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor


class Bounds(NamedTuple):
    """Between which actions are cut, (actions,) each; infinite where they are not."""

    low: Tensor
    high: Tensor

    @staticmethod
    def of(space: gymnasium.Space[Any]) -> Bounds | None:
        """Those of an action space; None if it is not of numbers."""
        if not isinstance(space, Box):
            return None
        low, high = (np.asarray(bound, dtype=np.float32) for bound in (space.low, space.high))
        return Bounds(torch.from_numpy(low.copy()), torch.from_numpy(high.copy()))

    def cut(self, action: Tensor, leak: float = 0.0) -> Tensor:
        """``action`` (..., actions) as it takes effect, with ``leak`` of what is beyond."""
        cut = torch.minimum(torch.maximum(action, self.low), self.high)
        return cut + leak * (action - cut)

    def hold(self, action: Tensor) -> Tensor:
        """``cut``, whose gradient is that of the action in effect, but beyond the bounds only
        where descent along it leads back (Hausknecht and Stone 2016): none leads further out.
        """
        return _Hold.apply(action, self.low, self.high)  # pyright: ignore[reportReturnType]


class _Hold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, action: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(action, low, high)
        return torch.minimum(torch.maximum(action, low), high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        action, low, high = ctx.saved_tensors
        outward = (action > high) & (gradient < 0.0) | (action < low) & (gradient > 0.0)
        return torch.where(outward, 0.0, gradient), None, None
