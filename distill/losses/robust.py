"""Robustness to small changes of the observation: the worst one nearby, and a loss on it.

Everything here works on *normalised* observations, in which one budget fits all components.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..distributions import Distribution, standard_noise
from .shapes import same_shape

Method = Literal["sgld", "pgd"]
Policy = Callable[[Tensor], Distribution]


def random_perturbation(
    observation: Tensor, epsilon: float, generator: torch.Generator | None = None
) -> Tensor:
    """Uniform in the box ``|delta|_inf <= epsilon``, shaped as ``observation``."""
    shape, dtype, device = observation.shape, observation.dtype, observation.device
    draw = torch.rand(shape, generator=generator, dtype=dtype, device=device)
    return epsilon * (2.0 * draw - 1.0)


def worst_perturbation(
    objective: Callable[[Tensor], Tensor],
    observation: Tensor,
    epsilon: float,
    generator: torch.Generator | None = None,
    *,
    steps: int = 10,
    method: Method = "sgld",
) -> Tensor:
    """``delta`` with ``|delta|_inf <= epsilon`` that about maximises ``objective(o + delta)``.

    Signed gradient ascent from a random start, projected on the box. ``pgd`` follows the gradient
    (Madry et al. 2018); ``sgld`` adds Gaussian noise to it before the sign is taken, of the
    gradient's own size at first and falling to none over the first half of the steps, and so
    leaves poor maxima (Zhang et al. 2020). Steps are ``4 epsilon / steps``, so that the second half
    reaches any corner. The start is random because the gradient of a KL at delta = 0 is zero.

    Args:
        objective: observation (..., size) to (...), each row of its own row alone.
        observation: (..., size), normalised.
        epsilon: half the width of the box.
        generator: of start and noise.
        steps: of ascent.
        method: whether to add noise.

    Returns:
        (..., size) without gradient; parameters of the objective gather none.
    """
    observation = observation.detach()
    delta = random_perturbation(observation, epsilon, generator)
    stride = 4.0 * epsilon / steps
    for step in range(steps):
        with torch.enable_grad():
            delta.requires_grad_(True)
            (gradient,) = torch.autograd.grad(objective(observation + delta).sum(), delta)
        heat = 1.0 - 2.0 * step / steps
        if method == "sgld" and heat > 0.0:
            size = gradient.square().mean(-1, keepdim=True).sqrt()
            gradient = gradient + heat * size * standard_noise(gradient, generator)
        delta = (delta.detach() + stride * gradient.sign()).clamp(-epsilon, epsilon)
    return delta


def robust_kl(
    policy: Policy,
    observation: Tensor,
    epsilon: float,
    generator: torch.Generator | None = None,
    *,
    steps: int = 10,
    method: Method = "sgld",
) -> Tensor:
    """``max_{|delta|_inf <= epsilon} KL(pi_S(o) || pi_S(o + delta))`` (SA-PPO, Zhang et al. 2020).

    The maximum is found by ``worst_perturbation``; the gradient with respect to the policy is
    taken at that delta, through both distributions.

    Args:
        policy: normalised observation (..., size) to a distribution.
        observation: (..., size), normalised.
        epsilon, generator, steps, method: as in ``worst_perturbation``.

    Returns:
        (...).
    """
    delta = policy_perturbation(policy, observation, epsilon, generator, steps=steps, method=method)
    return policy(observation).kl(policy(observation + delta))


def robust_label_kl(
    label: Distribution,
    policy: Policy,
    observation: Tensor,
    epsilon: float,
    generator: torch.Generator | None = None,
    *,
    steps: int = 10,
    method: Method = "sgld",
) -> Tensor:
    """``max_{|delta|_inf <= epsilon} KL(pi_T(o) || pi_S(o + delta))``: what the teacher says of the
    true observation is what the student is to do on any near it (Goldblum et al. 2020).

    Args:
        label: pi_T(o), (...), without gradient.
        policy: pi_S, of normalised observations (..., size).
        observation: (..., size), normalised.
        epsilon, generator, steps, method: as in ``worst_perturbation``.

    Returns:
        (...).
    """
    delta = policy_perturbation(
        policy, observation, epsilon, generator, label=label, steps=steps, method=method
    )
    return label.kl(policy(observation + delta))


def policy_perturbation(
    policy: Policy,
    observation: Tensor,
    epsilon: float,
    generator: torch.Generator | None = None,
    *,
    label: Distribution | None = None,
    steps: int = 10,
    method: Method = "sgld",
) -> Tensor:
    """The perturbation in the box that takes the policy about farthest, in KL, (..., size): from
    what it does on the true observation, or from ``label``.
    """
    with torch.no_grad():
        clean = policy(observation) if label is None else label
    same_shape(policy=torch.empty(clean.batch_shape), observation=observation[..., 0])
    return worst_perturbation(
        lambda perturbed: clean.kl(policy(perturbed)),
        observation,
        epsilon,
        generator,
        steps=steps,
        method=method,
    )
