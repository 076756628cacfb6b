"""The gradient of PPO's loss written out for small Gaussian perceptrons.

It is what autograd gives, to rounding (a test holds them together), at a third of its time: with
layers this narrow most of a minibatch goes into keeping the graph.
"""

from __future__ import annotations

import math

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


@torch.no_grad()
def ppo_gradient(
    actor: Actor,
    critic: Critic,
    seen: Tensor,
    valued: Tensor,
    action: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    target: Tensor,
    *,
    clip: float,
    value_weight: float,
) -> tuple[Tensor, Tensor]:
    """Set ``grad`` of both networks' parameters for one minibatch; policy loss and value loss.

    With ``d = (a - mu) / sigma``, ``rho`` the ratio of probabilities and n rows, the gradient of
    ``-mean min(rho A, clip(rho) A)`` is ``-rho A d / (n sigma)`` by mu and ``-rho A (d^2 - 1) / n``
    by log sigma where the first is the smaller, and zero elsewhere.

    Args:
        actor, critic: for which ``is_written_out``.
        seen, valued: (n, size), normalised for the one and the other.
        action: (n, actions).
        old_log_prob, advantage, target: (n,).
        clip: of the ratio.
        value_weight: of the value loss.
    """
    assert isinstance(actor, GaussianActor)
    rows = len(action)
    policy = _forward(actor.network, seen)
    values = _forward(critic.network, valued)
    scale = (-actor.log_std).exp()
    deviation = (action - policy[-1]) * scale
    constant = actor.log_std.sum() + action.shape[-1] * _LOG_ROOT_TWO_PI
    log_prob = -0.5 * deviation.square().sum(-1) - constant
    ratio = (log_prob - old_log_prob).exp()
    free, limited = ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage
    by_log_prob = torch.where(free <= limited, free, 0.0) / -rows
    by_deviation = by_log_prob.unsqueeze(-1) * deviation
    error = values[-1].squeeze(-1) - target
    _backward(actor.network, policy, by_deviation * scale)
    actor.log_std.grad = (by_deviation * deviation).sum(0) - by_log_prob.sum()
    _backward(critic.network, values, (error * (2.0 * value_weight / rows)).unsqueeze(-1))
    return -torch.minimum(free, limited).mean(), error.square().mean()


def _forward(network: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What goes into each layer, and what comes out of the last."""
    passed = [x]
    for layer in network:
        passed.append(layer(passed[-1]))
    return passed


def _backward(network: nn.Sequential, passed: list[Tensor], gradient: Tensor) -> None:
    """Set ``grad`` of every layer, ``gradient`` being of the last one's output."""
    for number in reversed(range(len(network))):
        layer = network[number]
        if not isinstance(layer, nn.Linear):
            gradient = _BACKWARD[type(layer)](gradient, passed[number + 1])
            continue
        layer.weight.grad = gradient.t() @ passed[number]
        layer.bias.grad = gradient.sum(0)
        if number:
            gradient = gradient @ layer.weight
