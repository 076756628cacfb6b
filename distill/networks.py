"""Networks shared by teachers and students: normaliser, multilayer perceptron, Gaussian actor."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal, cast

import gymnasium
import torch
from torch import Tensor, nn

from ..hardware.errors import RetortError
from .distributions import Categorical, Gaussian
from .whitening import Whitening

Activation = Literal["elu", "tanh", "relu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "tanh": nn.Tanh, "relu": nn.ReLU}


class Normaliser(nn.Module):
    """Running mean and standard deviation of observations; ``clip((x - mean) / std, +-limit)``.

    Statistics are merged batch by batch (Chan et al. 1979). Frozen in evaluation mode.
    """

    def __init__(self, size: int, limit: float = 10.0) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.mean: Tensor
        self.variance: Tensor
        self.count: Tensor

    @property
    def std(self) -> Tensor:
        """(size,), never zero."""
        return torch.sqrt(self.variance + 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.std).clamp(-self.limit, self.limit)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Merge the rows of ``x``, (..., size)."""
        x = x.reshape(-1, x.shape[-1])
        rows = x.shape[0]
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        total = self.count + rows
        share = (rows / total).float()
        delta = mean - self.mean
        self.mean += delta * share
        self.variance += (variance - self.variance) * share + delta**2 * share * (1 - share)
        self.count.copy_(total)


@torch.no_grad()
def take_over(own: Normaliser, known: Normaliser, columns: Tensor) -> None:
    """Let a normaliser go on from what another one knows of the numbers that both see.

    Args:
        own: changed in place, (size,).
        known: has seen more.
        columns: (size,) int, which of the numbers of ``known`` each is; -1 where it is none of
            them and keeps its own mean and variance.
    """
    there = columns >= 0
    own.mean[there], own.variance[there] = (
        known.mean[columns[there]],
        known.variance[columns[there]],
    )
    own.count.copy_(known.count)


def linear(inputs: int, outputs: int, gain: float = 2**0.5) -> nn.Linear:
    """A layer with orthogonal weights and no bias to begin with."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def mlp(
    sizes: tuple[int, ...], activation: Activation = "elu", *, last_gain: float = 1.0
) -> nn.Sequential:
    """A perceptron with orthogonal weights; ``last_gain`` scales those of the output layer."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        last = i == len(sizes) - 2
        layers.append(linear(inputs, outputs, last_gain if last else 2**0.5))
        if not last:
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


@torch.no_grad()
def flatten(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """One vector that ``parameters`` are parts of from now on: to move it is to move them."""
    vector = torch.cat([parameter.flatten() for parameter in parameters])
    parts = vector.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.data = part.view_as(parameter)
    return nn.Parameter(vector)


def activations(network: nn.Sequential, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """What a perceptron gives, and its hidden layers after their activation, by name."""
    hidden: dict[str, Tensor] = {}
    for module in network:
        x = module(x)
        if not isinstance(module, nn.Linear):
            hidden[f"layer{len(hidden)}"] = x
    return x, hidden


class Actor(nn.Module):
    """Normalised observation to a distribution over actions; subclasses say of which family."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: tuple[int, ...],
        activation: Activation = "elu",
        *,
        limit: float = 10.0,
    ) -> None:
        super().__init__()
        self.normaliser = Normaliser(inputs, limit)
        self.activation: Activation = activation
        self.network = mlp((inputs, *hidden, outputs), activation, last_gain=0.01)

    def distribution(self, output: Tensor) -> Gaussian | Categorical:
        """The distribution that the network's ``output``, (..., outputs), stands for."""
        raise NotImplementedError

    def respond(self, normalised: Tensor) -> Gaussian | Categorical:
        """The answer to observations that are normalised already, (..., inputs)."""
        return self.distribution(self.network(normalised))

    def forward(self, observation: Tensor) -> Gaussian | Categorical:
        return self.respond(self.normaliser(observation))

    def features(self, observation: Tensor) -> tuple[Gaussian | Categorical, dict[str, Tensor]]:
        """The answer, and the hidden layers it went through."""
        output, hidden = activations(self.network, self.normaliser(observation))
        return self.distribution(output), hidden

    def parameter_count(self) -> int:
        """Weights and biases of the network that maps observation to action."""
        return sum(p.numel() for p in self.network.parameters())


class GaussianActor(Actor):
    """A diagonal Gaussian with a state-independent deviation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: tuple[int, ...],
        activation: Activation = "elu",
        *,
        initial_std: float = 0.5,
        limit: float = 10.0,
    ) -> None:
        super().__init__(inputs, outputs, hidden, activation, limit=limit)
        self.log_std = nn.Parameter(torch.full((outputs,), float(initial_std)).log())

    def distribution(self, output: Tensor) -> Gaussian:
        return Gaussian(output, self.log_std.exp().expand_as(output))


class CategoricalActor(Actor):
    """One of several discrete actions."""

    def distribution(self, output: Tensor) -> Categorical:
        return Categorical(output)


def make_actor(
    inputs: int,
    actions: gymnasium.Space[Any],
    hidden: tuple[int, ...],
    activation: Activation = "elu",
    *,
    initial_std: float = 0.5,
    limit: float = 10.0,
) -> Actor:
    """An actor for an action space: Gaussian for ``Box``, categorical for ``Discrete``.

    Raises:
        RetortError: another space.
    """
    if isinstance(actions, gymnasium.spaces.Discrete):
        return CategoricalActor(inputs, int(actions.n), hidden, activation, limit=limit)
    if isinstance(actions, gymnasium.spaces.Box) and len(actions.shape) == 1:
        return GaussianActor(
            inputs, actions.shape[0], hidden, activation, initial_std=initial_std, limit=limit
        )
    raise RetortError(f"actions are {actions}; use a Box of one axis or a Discrete space")


class Critic(nn.Module):
    """Normalised observation to a value, (...)."""

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        activation: Activation = "elu",
        *,
        whiten: bool = False,
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.normaliser = Normaliser(inputs)
        self.network = mlp((inputs, *hidden, 1), activation)
        self.whitening = Whitening(inputs) if whiten else None

    def whiten(self, observation: Tensor) -> None:
        """Learn from observations, (..., inputs), how to whiten them, if that is wanted."""
        if self.whitening is not None:
            first = cast(nn.Linear, self.network[0])
            self.whitening.update(first, self.normaliser(observation).flatten(0, -2))

    def forward(self, observation: Tensor) -> Tensor:
        x = self.normaliser(observation)
        return self.network(x if self.whitening is None else self.whitening(x)).squeeze(-1)
