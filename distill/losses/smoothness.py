"""Losses that keep actions smooth (CAPS, Mysore et al. 2021), one number per sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..distributions import standard_noise
from .shapes import same_shape


def temporal_smoothness(mean: Tensor, reset: Tensor) -> Tensor:
    """``||mu(o_t) - mu(o_{t+1})||_2`` within an episode, 0 at its last tick, (T, N).

    Args:
        mean: (T, N, actions).
        reset: (T, N) bool: the tick is the first of an episode.
    """
    same_shape(reset=reset, mean=mean[..., 0])
    step = torch.linalg.vector_norm(mean[1:] - mean[:-1], dim=-1)
    step = torch.where(reset[1:], torch.zeros_like(step), step)
    return torch.cat([step, torch.zeros_like(mean[:1, :, 0])])


def spatial_smoothness(
    policy: Callable[[Tensor], Tensor],
    observation: Tensor,
    deviation: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """``||mu(o) - mu(o')||_2`` with ``o'`` drawn around the *normalised* ``o``, (...).

    Args:
        policy: normalised observation (..., size) to mean (..., actions).
        observation: (..., size), normalised.
        deviation: of the draw around each observation.
        generator: of the draw.
    """
    near = policy(observation + deviation * standard_noise(observation, generator))
    return torch.linalg.vector_norm(policy(observation) - near, dim=-1)
