"""Starts from which a few gradient steps on seconds of data suit a student to new dynamics.

Which loss there is: beside a teacher (in simulation) the KL to it, ``policy_loss``. On the robot
there is no teacher and mostly no reward; what it does have is what happened next, so
``prediction_loss`` asks the student's last inner layer, with the action, for the change of the
observation. First-order MAML joins the two: inner steps by prediction, the outer gradient by the
KL, so that what is moved by prediction is moved to where the policy acts well. Some prediction
belongs to the outer loss, too: to the KL alone the head, which begins at 0, makes no difference.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from ...hardware.checks import Range, between, check_fields
from ..batch import Batch
from ..distributions import Distribution
from ..losses.policy import policy_kl
from ..students import Student

M = TypeVar("M", bound=nn.Module)
Loss = Callable[[Any], Tensor]  # of a module, a scalar
Situation = tuple[Loss, Loss]  # one robot: loss to adapt by, loss that adaptation should lower


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaConfig:
    """``reptile`` (Nichol et al. 2018) or ``fomaml``, first-order MAML (Finn et al. 2017)."""

    kind: Literal["reptile", "fomaml"] = "fomaml"
    inner_steps: int = 5
    inner_rate: float = 0.05
    outer_rate: float = 1e-3  # of Adam for fomaml; for reptile the share of the way, as 0.3

    def __post_init__(self) -> None:
        rate = Range(0.0, 100.0, open_low=True)
        check_fields(self, inner_steps=between(1, 10_000), inner_rate=rate, outer_rate=rate)


class PredictiveStudent(nn.Module):
    """A student with a linear head on its last inner layer that foretells observations.

    The head never leaves training but with the adaptation itself; actions do not depend on it.

    Args:
        student: kept, not copied.
        actions: numbers in one action.

    Raises:
        ValueError: prediction could move nothing that the student acts by: it has no inner layer,
            or none of its parameters learns.
    """

    def __init__(self, student: Student, actions: int) -> None:
        super().__init__()
        self.student = student
        size = student.interface.observation_size
        never = torch.zeros(1, 1, dtype=torch.bool)
        with torch.no_grad():
            blank = torch.zeros(1, 1, size)
            _, _, features = student.forward_features(blank, student.initial_state(1), never)
        if not features:
            raise ValueError(
                "the student has no inner layer that prediction could share with its actions; give "
                "it hidden layers, as hidden = [32]"
            )
        if not any(parameter.requires_grad for parameter in student.parameters()):
            raise ValueError(
                "none of the student's parameters learns, as of one loaded to be evaluated; call "
                "student.requires_grad_(True) before"
            )
        self.head = nn.Linear(_last(features).shape[-1] + actions, size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, sequence: Tensor, state: Tensor, resets: Tensor, action: Tensor
    ) -> tuple[Distribution, Tensor]:
        """The student's distribution, and the foretold change of its normalised observation.

        Args:
            sequence, state, resets: as the student takes them.
            action: (T, N, actions) taken.
        """
        said, _, features = self.student.forward_features(sequence, state, resets)
        return said, self.head(torch.cat([_last(features), action], dim=-1))


def prediction_loss(module: PredictiveStudent, batch: Batch) -> Tensor:
    """Mean squared error of the foretold change of normalised observations; needs no teacher.

    ``mean_(t, n) |o_(t+1) - o_t - f(o_t, a_t)|^2`` over ticks that no reset separates.
    """
    seen = torch.cat([batch.observations["student"], batch.last_observations["student"][None]])
    goes_on = ~(batch.terminated | batch.truncated)
    return _foretold(module, seen, batch.action, batch.initial_state, batch.reset, goes_on)


def lived_loss(module: PredictiveStudent, seen: Tensor, action: Tensor) -> Tensor:
    """``prediction_loss`` of ticks within one episode, for a student without state.

    Args:
        module: foretells.
        seen: (T + 1, N, size) observations.
        action: (T, N, actions) after each but the last.
    """
    never = torch.zeros(action.shape[:2], dtype=torch.bool)
    state = module.student.initial_state(action.shape[1])
    return _foretold(module, seen, action, state, never, ~never)


def _foretold(
    module: PredictiveStudent,
    seen: Tensor,
    action: Tensor,
    state: Tensor,
    resets: Tensor,
    goes_on: Tensor,
) -> Tensor:
    _, foretold = module(seen[:-1], state, resets, action)
    with torch.no_grad():
        change = torch.diff(module.student.normaliser(seen), dim=0)
    error = ((foretold - change) ** 2).mean(-1) * goes_on
    return error.sum() / goes_on.sum().clamp(min=1)


def policy_loss(student: Student, batch: Batch, teacher: Distribution) -> Tensor:
    """Mean ``KL(teacher || student)`` of a batch that a teacher has labelled, (T, N) of them."""
    said, _ = student(batch.observations["student"], batch.initial_state, batch.reset)
    return policy_kl(teacher, said).mean()


def adapt(module: M, loss: Loss, *, steps: int, rate: float) -> M:
    """A copy of ``module`` after plain gradient steps; the original stays as it is.

    Steps too large for these data, which end with a loss that is above the first one or not
    finite, are taken back: a robot that cannot adapt goes on with what it began with.

    Args:
        module: the start.
        loss: of the module, on data of the robot at hand.
        steps: of gradient descent.
        rate: of it.
    """
    adapted = copy.deepcopy(module)
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    now = first = loss(adapted)
    for _ in range(steps):
        _descend(parameters, now, rate)
        now = loss(adapted)
    return adapted if bool(now <= first) else copy.deepcopy(module)  # never where it is nan


class MetaLearner:
    """Moves a module's parameters to where ``adapt`` works best. All randomness is the caller's.

    Args:
        module: a student, or one with a prediction head; changed in place.
        config: settings.
    """

    def __init__(self, module: nn.Module, config: MetaConfig) -> None:
        self.module, self.config = module, config
        self.optimiser = torch.optim.Adam(module.parameters(), lr=config.outer_rate)

    def adapt(self, loss: Loss) -> Any:
        """The module as it would be after its inner steps."""
        config = self.config
        return adapt(self.module, loss, steps=config.inner_steps, rate=config.inner_rate)

    def update(self, situations: Sequence[Situation]) -> float:
        """One outer step over some robots.

        ``reptile``: towards the mean of the adapted parameters; the second losses only tell.
        ``fomaml``: along the mean gradient of the second losses at the adapted parameters.

        Returns:
            Mean of the second losses after adaptation.
        """
        own = list(self.module.parameters())
        total = [torch.zeros_like(p) for p in own]
        after = 0.0
        for inner, outer in situations:
            adapted = self.adapt(inner)
            theirs = list(adapted.parameters())
            loss = outer(adapted)
            after += float(loss.detach()) / len(situations)
            if self.config.kind == "reptile":
                moves = [a.detach() - p.detach() for a, p in zip(theirs, own, strict=True)]
            else:
                grads = torch.autograd.grad(loss, theirs, allow_unused=True)
                moves = [
                    torch.zeros_like(p) if g is None else g for g, p in zip(grads, own, strict=True)
                ]
            for kept, move in zip(total, moves, strict=True):
                kept += move / len(situations)
        if self.config.kind == "reptile":
            with torch.no_grad():
                for p, move in zip(own, total, strict=True):
                    p += self.config.outer_rate * move
        else:
            for p, gradient in zip(own, total, strict=True):
                p.grad = gradient
            self.optimiser.step()
        return after


def _descend(parameters: list[nn.Parameter], loss: Tensor, rate: float) -> None:
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter -= rate * gradient


def _last(features: dict[str, Tensor]) -> Tensor:
    """The inner layer that the output is linear in."""
    return features[next(reversed(features))]
