"""Terms of the distillation objective: each a per-sample loss with a name a recipe can switch on.

A term may also give a pseudo-reward, added before advantages are estimated, and may own parameters.
A new term is one class and one line in TERMS.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from ..hardware.errors import RetortError
from .ppo import surrogate
from .teacher import TeacherOutput


class TermError(RetortError):
    """There is no such term, or it does not take such an option."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TermConfig:
    """One term in a recipe: its name, its weight over time, and its own options.

    ``constant``: ``weight``. ``linear``: from ``weight`` to ``end`` over the budget. ``progress``:
    ``end + (weight - end) * lambda`` with ``lambda = clip(1 - (J_S - J_0) / (J_T - J_0), 0, 1)``,
    so that a term can hand over to another as the student catches up.
    """

    name: str
    weight: float = 1.0
    end: float = 0.0
    schedule: Literal["constant", "linear", "progress"] = "constant"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def at(self, fraction: float, relative_score: float) -> float:
        """The weight after ``fraction`` of the budget, the student being at ``relative_score``."""
        if self.schedule == "constant":
            return self.weight
        if self.schedule == "linear":
            return self.weight + (self.end - self.weight) * min(max(fraction, 0.0), 1.0)
        behind = min(max(1.0 - relative_score, 0.0), 1.0)
        return self.end + (self.weight - self.end) * behind


@dataclasses.dataclass
class Sample:
    """What a term may look at. Leading shape (T, n): ticks and the environments of a minibatch."""

    student: Normal  # (T, n, actions)
    value: Tensor  # (T, n) the student's critic
    teacher: TeacherOutput  # labels, (T, n, ...)
    action: Tensor  # (T, n, actions) that was taken
    ratio: Tensor  # (T, n) density of ``action`` now over that when it was taken
    advantage: Tensor  # (T, n) standardised
    lambda_return: Tensor  # (T, n) of the student's own reward
    own: Tensor  # (T, n) 1.0 where the student acted, else 0.0
    fraction: float  # of the budget that is spent


class Term:
    """A loss of one name. Subclasses take their options as keyword arguments."""

    def loss(self, sample: Sample) -> Tensor:
        """Per-sample loss, (T, n)."""
        raise NotImplementedError

    def pseudo_reward(self, sample: Sample) -> Tensor | None:
        """Added to the reward before advantages, (T, n); None for nothing."""
        return None

    def parameters(self) -> list[nn.Parameter]:
        """What the term itself learns, such as a projection."""
        return []


class PolicyKL(Term):
    """KL between teacher and student, closed form for diagonal Gaussians, summed over actions.

    ``forward``: KL(pi_T || pi_S), mass-covering (Rusu et al. 2015).
    ``reverse``: KL(pi_S || pi_T), mode-seeking.
    """

    def __init__(self, direction: Literal["forward", "reverse"] = "forward") -> None:
        if direction not in ("forward", "reverse"):
            raise TermError(f"policy_kl direction is {direction!r}; use 'forward' or 'reverse'")
        self.direction = direction

    def loss(self, sample: Sample) -> Tensor:
        pair = (sample.teacher.distribution, sample.student)
        if self.direction == "reverse":
            pair = pair[::-1]
        return kl_divergence(*pair).sum(-1)


class Value(Term):
    """``(V_S - ((1 - eta) R_lambda + eta V_T))^2`` where the student acted.

    ``eta`` falls linearly from 1 to 0 over the first ``until`` of the budget: V_T is the value of
    the teacher's policy, right to begin with and wrong to end with.
    """

    def __init__(self, until: float = 0.5) -> None:
        self.until = until

    def loss(self, sample: Sample) -> Tensor:
        target = sample.lambda_return
        if sample.teacher.value is not None and self.until > 0:
            eta = max(0.0, 1.0 - sample.fraction / self.until)
            target = (1.0 - eta) * target + eta * sample.teacher.value
        return (sample.value - target).square() * sample.own


class Reinforcement(Term):
    """PPO's clipped surrogate on the student's own reward, where the student acted."""

    def __init__(self, clip: float = 0.2) -> None:
        self.clip = clip

    def loss(self, sample: Sample) -> Tensor:
        return -surrogate(sample.ratio, sample.advantage, self.clip) * sample.own


TERMS: dict[str, type[Term]] = {
    "policy_kl": PolicyKL,
    "value": Value,
    "rl": Reinforcement,
}


def make_term(config: TermConfig) -> Term:
    """The term that ``config`` names, with its options.

    Raises:
        TermError: unknown name or option; the message lists what there is.
    """
    if config.name not in TERMS:
        raise TermError(f"there is no term {config.name!r}; there are {', '.join(TERMS)}")
    try:
        return TERMS[config.name](**config.options)
    except TypeError as error:
        raise TermError(f"term {config.name!r}: {error}") from error


def weighted_sum(terms: dict[str, tuple[float, Tensor]]) -> Tensor:
    """``sum_i w_i mean(l_i)`` over named ``(weight, per-sample loss)``."""
    return torch.stack([weight * loss.mean() for weight, loss in terms.values()]).sum()
