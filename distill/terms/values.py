"""Terms about values: Q-values of the teacher, state values, and the student's own reward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ...hardware.checks import check
from .. import losses
from ..distributions import Categorical
from ..ppo import surrogate
from .base import Sample, Term, TermError, refuse_unused, required
from .policy import CLIP, PolicyKL

QKind = Literal["sharpened", "tempered", "nll", "mse"]
_Q: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sharpened": losses.q_kl_sharpened,
    "tempered": losses.q_kl_tempered,
    "nll": lambda teacher, student, temperature: losses.q_nll(teacher, student),
    "mse": lambda teacher, student, temperature: losses.q_mse(teacher, student),
}


class QValues(Term):
    """The teacher's Q-values of discrete actions against the student's outputs (``losses.q_*``).

    ``sharpened``: KL, only the teacher tempered (Rusu 2015). ``tempered``: KL, both tempered
    (QDagger). ``nll``: its best action alone. ``mse``: the values themselves; the student's
    outputs are then Q-values. The temperature is ``factor`` times the mean gap between the two
    best actions, or ``temperature`` if that is given.
    """

    def __init__(
        self, kind: QKind = "sharpened", factor: float = 0.5, temperature: float = 0.0
    ) -> None:
        if kind not in _Q:
            raise TermError(f"q kind is {kind!r}; use one of {', '.join(_Q)}")
        if factor <= 0 or temperature < 0:
            raise TermError(
                f"q factor is {factor} and temperature {temperature}; use positive ones"
            )
        if kind in ("nll", "mse"):
            refuse_unused("temperature", temperature, 0.0, f"kind is {kind!r}")
            refuse_unused("factor", factor, 0.5, f"kind is {kind!r}")
        elif temperature > 0:
            refuse_unused("factor", factor, 0.5, f"temperature is {temperature:g}")
        self.kind, self.factor, self.temperature = kind, factor, temperature

    def loss(self, sample: Sample) -> Tensor:
        q = required(sample.teacher.q, "q", "the teacher's Q-values of discrete actions")
        if not isinstance(sample.student, Categorical):
            raise TermError("the term 'q' needs a student of discrete actions; use 'q_ascent'")
        temperature = torch.tensor(self.temperature)
        if self.temperature == 0:
            temperature = losses.gap_temperature(q, self.factor)
        return _Q[self.kind](q, sample.student.logits, temperature)


class QAscent(Term):
    """``-min_i Q_T,i(s, a_S) / mean |Q_T|``: continuous actions moved uphill on the teacher's
    critics, as far as the actions go that these have seen.
    """

    needs = frozenset({"critics"})

    def loss(self, sample: Sample) -> Tensor:
        critics = sample.teacher.critics
        if critics is None:
            raise TermError("the term 'q_ascent' needs a teacher with critics Q(s, a), such as SAC")
        return losses.q_of_action(critics, sample.student.mode())


class Value(Term):
    """``(V_S - ((1 - eta) R_lambda + eta V_T))^2`` where the student acted.

    ``eta`` falls linearly from 1 to 0 over the first ``until`` of the budget: V_T is the value of
    the teacher's policy, right to begin with and wrong to end with. Of several teachers it is the
    mean by their weights. Where a gate compares it with them it is the student's own return alone,
    or teachers would be compared with what they said themselves; there ``until`` says nothing.
    """

    taught = False
    own = True
    teaches_critic = True

    def __init__(self, until: float = 0.5) -> None:
        self.until = until

    def loss(self, sample: Sample) -> Tensor:
        target = sample.lambda_return
        if sample.expected is not None and self.until > 0:
            eta = max(0.0, 1.0 - sample.fraction / self.until)
            target = losses.value_target(target, sample.expected, eta)
        return (sample.value() - target).square() * sample.own


class Joint(Term):
    """Policy KL and value under one weight and schedule; a gate closes on the KL alone."""

    teaches_critic = True

    def __init__(
        self,
        value_weight: float = 0.5,
        until: float = 0.5,
        direction: Literal["forward", "reverse"] = "forward",
    ) -> None:
        self.value_weight, self.direction = value_weight, direction
        self.policy, self.value = PolicyKL(direction), Value(until)

    def loss(self, sample: Sample) -> Tensor:
        return self.policy.loss(sample)

    def untaught(self, sample: Sample) -> Tensor:
        return self.value_weight * self.value.loss(sample)


class Reinforcement(Term):
    """PPO's clipped surrogate on the student's own reward, where the student acted."""

    taught = False
    own = True
    needs = frozenset({"ratio", "advantage"})

    def __init__(self, clip: float = 0.2) -> None:
        check("clip", clip, CLIP)
        self.clip = clip

    def loss(self, sample: Sample) -> Tensor:
        return -surrogate(sample.ratio, sample.advantage, self.clip) * sample.own
