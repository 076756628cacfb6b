"""Losses that distil action values, one number per sample, (...)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..distributions import Categorical
from .shapes import same_shape


def gap_temperature(q: Tensor, factor: float) -> Tensor:
    """``factor`` times the mean gap between the two best actions: a temperature in Q's own units.

    Args:
        q: (..., choices), at least two.
        factor: c, which is what one sweeps.

    Returns:
        A positive scalar without gradient.
    """
    best = q.detach().topk(2, dim=-1).values
    gap = (best[..., 0] - best[..., 1]).mean()
    return factor * gap.clamp(min=torch.finfo(q.dtype).eps)


def q_kl_sharpened(q_teacher: Tensor, logits: Tensor, temperature: float | Tensor) -> Tensor:
    """``KL(softmax(Q_T / tau) || softmax(z_S))``: only the teacher tempered (Rusu et al. 2015).

    The student's outputs are logits of a policy and no longer values.

    Args:
        q_teacher, logits: (..., choices).
        temperature: tau; 0.01 in the paper, for Atari.
    """
    return Categorical(q_teacher / temperature).kl(Categorical(logits))


def q_kl_tempered(q_teacher: Tensor, q_student: Tensor, temperature: float | Tensor) -> Tensor:
    """``tau KL(softmax(Q_T / tau) || softmax(Q_S / tau))`` (QDagger, Agarwal et al. 2022).

    The factor tau makes the gradient with respect to Q_S the plain difference of probabilities.

    Args:
        q_teacher, q_student: (..., choices).
        temperature: tau; 0.1 in the paper.
    """
    kl = Categorical(q_teacher / temperature).kl(Categorical(q_student / temperature))
    return temperature * kl


def q_mse(q_teacher: Tensor, q_student: Tensor) -> Tensor:
    """``mean_a (Q_S - Q_T)^2``: the ablation that matches values instead of choices."""
    same_shape(q_teacher=q_teacher, q_student=q_student)
    return (q_student - q_teacher).square().mean(-1)


def q_nll(q_teacher: Tensor, logits: Tensor) -> Tensor:
    """``-log softmax(z_S)[argmax Q_T]``: the ablation that imitates the best choice alone."""
    same_shape(q_teacher=q_teacher, logits=logits)
    return Categorical(logits).log_prob(q_teacher.argmax(-1)).neg()


def q_of_action(
    critics: Callable[[Tensor], Tensor], action: Tensor, *, normalise: bool = True
) -> Tensor:
    """``-min_i Q_T,i(s, a_S)``: the student's action is moved uphill on the teacher's critics.

    The smallest of several critics is taken so that no single one's error is climbed (Fujimoto et
    al. 2018). The gradient stops at the action unless the critics' own parameters require one.

    Args:
        critics: action (..., actions) to values (critics, ...) of the states at hand.
        action: (..., actions) the student's mode, or a reparameterised sample.
        normalise: divide by the mean |Q| of the batch, so that one weight fits tasks of any
            reward scale (Fujimoto and Gu 2021).
    """
    values = critics(action)
    same_shape(values=values[0], action=action[..., 0])
    least = values.amin(0)
    if normalise:
        least = least / least.detach().abs().mean().clamp(min=1e-8)
    return -least
