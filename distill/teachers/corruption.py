"""Damaged copies of policies: what a student makes of a teacher that is not as good as it was."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch

from ..distributions import standard_noise
from ..networks import Actor
from ..students import Student
from .teacher import ActorTeacher

Policy = TypeVar("Policy", bound=Actor | Student)


def corrupted(policy: Policy, generator: torch.Generator, sigma: float = 0.05) -> Policy:
    """A copy with ``w + sigma n``, n ~ N(0, 1), for every weight and bias (Spigler 2025).

    Normaliser and action deviation stay as they are.

    Args:
        policy: stays whole.
        generator: of the noise.
        sigma: its standard deviation, in the units of the weights.

    Raises:
        ValueError: a negative ``sigma``.
    """
    if sigma < 0:
        raise ValueError(f"sigma is {sigma}; a standard deviation must not be negative")
    damaged = copy.deepcopy(policy)
    with torch.no_grad():
        for name, parameter in damaged.named_parameters():
            if name != "log_std":
                parameter += sigma * standard_noise(parameter, generator)
    return damaged


def corrupted_teacher(
    teacher: ActorTeacher, generator: torch.Generator, sigma: float = 0.05
) -> ActorTeacher:
    """A teacher whose actor is ``corrupted``; its critic, no part of the policy, is not."""
    return ActorTeacher(
        corrupted(teacher.actor, generator, sigma),
        teacher.critic,
        std_floor=teacher.std_floor,
        group=teacher.group,
        columns=teacher.columns,
        value_unit=teacher.value_unit,
        values_of=teacher.values_of,
    )
