"""Losses between the distributions of teacher and student, one number per sample, (...)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributions import Categorical, Distribution, DistributionError
from .shapes import same_shape

Direction = Literal["forward", "reverse"]


def policy_kl(
    teacher: Distribution,
    student: Distribution,
    direction: Direction = "forward",
    temperature: float = 1.0,
) -> Tensor:
    """KL between two policies of one family, in closed form, summed over actions, (...).

    ``forward``: KL(pi_T || pi_S), mass-covering. ``reverse``: KL(pi_S || pi_T), mode-seeking.
    With a temperature t, which only categorical policies have, both sets of logits are divided by
    t and the result multiplied by t^2, so that gradients keep their size (Hinton et al. 2015).

    Raises:
        DistributionError: the families differ, or a temperature is given for a density.
    """
    if temperature != 1.0:
        if not (isinstance(teacher, Categorical) and isinstance(student, Categorical)):
            raise DistributionError(
                f"temperature is {temperature}, but only categorical policies have one; use 1"
            )
        teacher, student = teacher.tempered(temperature), student.tempered(temperature)
    kl = teacher.kl(student) if direction == "forward" else student.kl(teacher)
    return kl * temperature**2


def sampled_cross_entropy(
    of: Distribution,
    under: Distribution,
    generator: torch.Generator | None = None,
    samples: int = 4,
) -> Tensor:
    """``-1/n sum_i log under(a_i)``, ``a_i ~ of``, for densities of any two families, (...).

    Unbiased, up to the edge of a squashed range: a Gaussian's action beyond it counts as one at
    its edge, which is what the environment would have made of it. The gradient flows through the
    samples (reparameterisation), so either side may be the student.

    Args:
        of, under: leading shape (...), the same actions.
        generator: of the samples.
        samples: n.

    Raises:
        DistributionError: either is categorical: of two the cross-entropy is known exactly.
    """
    if isinstance(of, Categorical) != isinstance(under, Categorical):
        pair = f"{type(of).__name__} and {type(under).__name__}"
        raise DistributionError(
            f"{pair} have no actions in common; give teacher and student actions of one kind"
        )
    if isinstance(of, Categorical):
        raise DistributionError(
            "categorical policies need no samples; use of.cross_entropy(under), which is exact"
        )
    draws = (-under.log_prob(of.rsample(generator)) for _ in range(samples))
    return torch.stack(list(draws)).mean(0)


def mean_regression(
    teacher: Tensor, student: Tensor, loss: Literal["mse", "huber"] = "mse", delta: float = 1.0
) -> Tensor:
    """Squared or Huber difference of two means, averaged over actions as rsl_rl does, (...).

    Args:
        teacher, student: (..., actions).
        loss: ``mse``: d^2. ``huber``: d^2 / 2 up to ``delta``, ``delta (|d| - delta / 2)`` beyond.
    """
    same_shape(teacher=teacher, student=student)
    if loss == "mse":
        return (student - teacher).square().mean(-1)
    return F.huber_loss(student, teacher, reduction="none", delta=delta).mean(-1)


def within_limit(teacher: Tensor, student: Tensor, limit: float) -> Tensor:
    """Of the means that move the motors as the teacher's does, that next to the student's, (...).

    An action beyond ``limit`` is carried out as one at the limit. Where the teacher's mean is
    beyond it, anything from the limit outwards on the same side will do, and a student that is
    there already is right; elsewhere it is the teacher's mean. No gradient flows through it.

    Args:
        teacher, student: means, (..., actions).
        limit: of every action, on both sides of zero.
    """
    same_shape(teacher=teacher, student=student)
    free = student.detach()
    least, most = free.clamp(min=limit), free.clamp(max=-limit)
    return torch.where(teacher >= limit, least, torch.where(teacher <= -limit, most, teacher))


def negative_entropy(student: Distribution) -> Tensor:
    """``-H(pi_S)``: minimised, it keeps the student exploring, (...)."""
    return -student.entropy()


def proximal(kl: Tensor, ratio: Tensor, clip: float = 0.2) -> Tensor:
    """``max(rho, 1 - eps) KL(pi_T || pi_S)`` (Spigler 2025, "Proximal Policy Distillation").

    The gradient flows through rho too: an action after which the student is far from the teacher
    is made rarer, until its ratio has fallen to 1 - eps.

    Args:
        kl: (...).
        ratio: (...) rho, PPO's ratio of the action that the student took.
        clip: eps.
    """
    same_shape(kl=kl, ratio=ratio)
    return ratio.clamp(min=1.0 - clip) * kl


def corrected_loss(
    teacher: Distribution,
    student: Distribution,
    direction: Direction = "forward",
    generator: torch.Generator | None = None,
    samples: int = 4,
) -> Tensor:
    """The per-state loss l of entropy-corrected distillation (Czarnecki et al. 2019), (...).

    ``forward``: H(pi_T, pi_S). ``reverse``: H(pi_S, pi_T) = -E_{a ~ pi_S} log pi_T(a). Closed form
    where there is one, else sampled. Its other half is ``corrected_reward`` of the *same* l.
    """
    of, under = (teacher, student) if direction == "forward" else (student, teacher)
    try:
        return of.cross_entropy(under)
    except DistributionError:
        return sampled_cross_entropy(of, under, generator, samples)


def corrected_reward(
    loss: Tensor,
    last_loss: Tensor,
    final_loss: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    discount: float = 1.0,
) -> Tensor:
    """The pseudo-reward ``-l(s')`` of every transition (Czarnecki et al. 2019), (T, N).

    Minimising l on one's own states alone ignores that actions choose the next states; this puts
    that back. s' is the next tick's state; the *final* one where the episode was truncated, which
    would have gone on; and none where it terminated, since no action is taken there: 0.

    Args:
        loss: (T, N) l at every tick.
        last_loss: (N,) l after the last tick.
        final_loss: (T, N) l of the final observation where truncated, anything elsewhere.
        terminated, truncated: (T, N) bool.
        discount: 1 as published; with the learner's own discount the sum of both halves is exactly
            the gradient of the discounted sum of l.
    """
    same_shape(loss=loss, final_loss=final_loss, terminated=terminated, truncated=truncated)
    same_shape(last_loss=last_loss, first_tick=loss[0])
    with torch.no_grad():
        following = torch.cat([loss[1:], last_loss[None]])
        following = torch.where(truncated, final_loss, following)
        return torch.where(terminated, torch.zeros_like(loss), -discount * following)
