"""The gradient of PPO's loss written out for small Gaussian perceptrons.

It is what autograd gives, to rounding (a test holds them together), at a third of its time: with
layers this narrow most of a minibatch goes into keeping the graph.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .networks import Actor, Critic, GaussianActor

_BACKWARD = {
    nn.ReLU: lambda gradient, output: torch.ops.aten.threshold_backward(gradient, output, 0),
    nn.Tanh: torch.ops.aten.tanh_backward,
}
_LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def is_written_out(actor: Actor, critic: Critic) -> bool:
    """These networks are of the kinds that ``ppo_gradient`` knows."""
    known = (nn.Linear, *_BACKWARD)
    layers = [*actor.network, *critic.network]
    return isinstance(actor, GaussianActor) and all(type(layer) in known for layer in layers)


class Rows(NamedTuple):
    """A minibatch of n situations."""

    seen: Tensor  # (n, size), normalised for the actor
    valued: Tensor  # (n, size), normalised for the critic
    action: Tensor  # (n, actions), or (n,) that were chosen
    log_prob: Tensor  # (n,), when they were taken
    advantage: Tensor  # (n,)
    target: Tensor  # (n,), of the value


@torch.no_grad()
def ppo_gradient(
    actor: Actor,
    critic: Critic,
    rows: Rows,
    clip: float,
    value_weight: float,
    entropy_weight: float,
) -> tuple[Tensor, list[Tensor]]:
    """Policy and value loss, (2,), and the gradients by the parameters of ``actor`` and ``critic``
    in their order.

    With ``d = (a - mu) / sigma``, ``rho`` the ratio of probabilities and n rows, the gradient of
    ``-mean min(rho A, clip(rho) A)`` is ``-rho A d / (n sigma)`` by mu and ``-rho A (d^2 - 1) / n``
    by log sigma where the first is the smaller, and zero elsewhere. A Gaussian's entropy is the sum
    of log sigma and a constant.

    Args:
        actor, critic: for which ``is_written_out``.
        rows: what is learnt from.
        clip: of the ratio.
        value_weight: of the value loss.
        entropy_weight: of the entropy, which is raised.
    """
    assert isinstance(actor, GaussianActor)
    count = len(rows.action)
    policy = _forward(actor.network, rows.seen)
    values = _forward(critic.network, rows.valued)
    scale = (-actor.log_std).exp()
    deviation = (rows.action - policy[-1]) * scale
    constant = actor.log_std.sum() + rows.action.shape[-1] * _LOG_ROOT_TWO_PI
    log_prob = -0.5 * deviation.square().sum(-1) - constant
    ratio = (log_prob - rows.log_prob).exp()
    free = ratio * rows.advantage
    limited = ratio.clamp(1.0 - clip, 1.0 + clip) * rows.advantage
    by_log_prob = torch.where(free <= limited, free, 0.0) / -count
    by_deviation = by_log_prob.unsqueeze(-1) * deviation
    error = values[-1].squeeze(-1) - rows.target
    by_network = _backward(actor.network, policy, by_deviation * scale)
    by_log_std = (by_deviation * deviation).sum(0) - by_log_prob.sum() - entropy_weight
    by_value = (error * (2.0 * value_weight / count)).unsqueeze(-1)
    losses = torch.stack([-torch.minimum(free, limited).mean(), error.square().mean()])
    return losses, [by_log_std, *by_network, *_backward(critic.network, values, by_value)]


def _forward(network: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What goes into each layer, and what comes out of the last."""
    passed = [x]
    for layer in network:
        passed.append(layer(passed[-1]))
    return passed


def _backward(network: nn.Sequential, passed: list[Tensor], gradient: Tensor) -> list[Tensor]:
    """The gradient by every parameter, ``gradient`` being that by the last layer's output."""
    found: list[Tensor] = []
    for number in reversed(range(len(network))):
        layer = network[number]
        if not isinstance(layer, nn.Linear):
            gradient = _BACKWARD[type(layer)](gradient, passed[number + 1])
            continue
        found = [gradient.t() @ passed[number], gradient.sum(0), *found]
        if number:
            gradient = gradient @ layer.weight
    return found
