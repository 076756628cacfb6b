"""Distributions that a policy can have over actions: Gaussian, tanh-squashed Gaussian, categorical.

Lighter than ``torch.distributions`` (no validation, no broadcasting, sums over actions itself) and
sampled from a generator that is passed in. Densities are of whole actions.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..hardware.errors import RetortError

_LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_INSIDE = 1.0 - 1e-6  # the largest squashed action whose density float32 can still tell


class DistributionError(RetortError):
    """Two distributions cannot be compared, or a tensor does not fit its distribution."""


class Distribution(abc.ABC):
    """A policy's answer to a batch of situations, of leading shape (...)."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def batch_shape(self) -> torch.Size:
        """The leading shape (...)."""

    @abc.abstractmethod
    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """An action, (..., actions) or (...) if categorical, with gradient where there is one."""

    @abc.abstractmethod
    def log_prob(self, action: Tensor) -> Tensor:
        """Log density, or probability, of whole actions, (...)."""

    @abc.abstractmethod
    def entropy(self) -> Tensor:
        """-E log p, summed over actions, (...)."""

    @abc.abstractmethod
    def mode(self) -> Tensor:
        """The action a deterministic policy takes, shaped like a sample."""

    @abc.abstractmethod
    def kl(self, other: Distribution) -> Tensor:
        """KL(self || other), exact, (...).

        Raises:
            DistributionError: there is no closed form between these two families.
        """

    @abc.abstractmethod
    def cross_entropy(self, other: Distribution) -> Tensor:
        """-E_{a ~ self} log other(a), exact, (...).

        Raises:
            DistributionError: there is no closed form between these two families.
        """

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """An action, shaped as by ``rsample``, without gradient."""
        with torch.no_grad():
            return self.rsample(generator)

    def select(self, index: Any) -> Self:
        """The distributions at ``index`` of the leading shape, e.g. ``(slice(None), ids)``."""
        return self._map(lambda tensor: tensor[index])

    def flatten(self) -> Self:
        """Ticks and environments (T, N) in one leading axis."""
        return self._map(lambda tensor: tensor.flatten(0, 1))

    def detach(self) -> Self:
        """The same without gradient."""
        return self._map(Tensor.detach)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        assert dataclasses.is_dataclass(self)
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return type(self)(*(function(x) if isinstance(x, Tensor) else x for x in fields))

    def _no_closed_form(self, other: Distribution, what: str) -> DistributionError:
        pair = f"{type(self).__name__} and {type(other).__name__}"
        if isinstance(self, Categorical) != isinstance(other, Categorical):
            return DistributionError(
                f"there is no {what} between {pair}, of which one chooses and the other acts by "
                "numbers; take a teacher of the student's own kind of actions"
            )
        return DistributionError(
            f"there is no closed form of {what} between {pair}; use the term 'cross_entropy', "
            "which is sampled"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Gaussian(Distribution):
    """Diagonal Gaussian.

    Args:
        mean: (..., actions).
        std: (..., actions), positive.
    """

    mean: Tensor
    std: Tensor

    def __post_init__(self) -> None:
        _same_mean_and_std(self.mean, self.std)

    @property
    def batch_shape(self) -> torch.Size:
        return self.mean.shape[:-1]

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean + self.std * standard_noise(self.mean, generator)

    def log_prob(self, action: Tensor) -> Tensor:
        _fits(action, self.mean.shape)
        scaled = (action - self.mean) / self.std
        return (-0.5 * scaled.square() - self.std.log() - _LOG_ROOT_TWO_PI).sum(-1)

    def entropy(self) -> Tensor:
        return (self.std.log() + (0.5 + _LOG_ROOT_TWO_PI)).sum(-1)

    def mode(self) -> Tensor:
        return self.mean

    def kl(self, other: Distribution) -> Tensor:
        """``sum log(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2``."""
        if not isinstance(other, Gaussian):
            raise self._no_closed_form(other, "KL")
        _fits(other.mean, self.mean.shape)
        ratio = (self.std / other.std).square()
        shift = ((self.mean - other.mean) / other.std).square()
        return 0.5 * (ratio + shift - 1.0 - ratio.log()).sum(-1)

    def cross_entropy(self, other: Distribution) -> Tensor:
        """``sum log s_q + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) + log(2 pi) / 2``."""
        if not isinstance(other, Gaussian):
            raise self._no_closed_form(other, "cross-entropy")
        _fits(other.mean, self.mean.shape)
        square = (self.std.square() + (self.mean - other.mean).square()) / other.std.square()
        return (other.std.log() + 0.5 * square + _LOG_ROOT_TWO_PI).sum(-1)


@dataclasses.dataclass(frozen=True, slots=True)
class TanhGaussian(Distribution):
    """``shift + scale tanh(u)`` with u of a diagonal Gaussian: what SAC teaches with.

    Args:
        mean: (..., actions) of u.
        std: (..., actions) of u, positive.
        scale: half the width of the range of actions, a number or (actions,).
        shift: its middle, a number or (actions,).
        least_std: what the action's own deviation counts at least, in units of ``scale``, where the
            action is taken for Gaussian: near an end of the range it is next to nothing.
    """

    mean: Tensor
    std: Tensor
    scale: float | Tensor = 1.0
    shift: float | Tensor = 0.0
    least_std: float = 1e-6

    def __post_init__(self) -> None:
        _same_mean_and_std(self.mean, self.std)
        for name in ("scale", "shift"):  # in the mean's shape, so that ``select`` fits all
            value = getattr(self, name)
            if isinstance(value, Tensor):
                object.__setattr__(self, name, value.expand_as(self.mean))

    @property
    def batch_shape(self) -> torch.Size:
        return self.mean.shape[:-1]

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        return self._squash(self.mean + self.std * standard_noise(self.mean, generator))

    def log_prob(self, action: Tensor) -> Tensor:
        """Log density of whole actions, (...); one outside the range counts as at its edge."""
        _fits(action, self.mean.shape)
        squashed = ((action - self.shift) / self.scale).clamp(-_INSIDE, _INSIDE)
        unsquashed = torch.atanh(squashed)
        return self.before_squashing().log_prob(unsquashed) - self._log_slope(unsquashed).sum(-1)

    def entropy(self) -> Tensor:
        """``H(u) + E log |d a / d u|``, the expectation by quadrature, (...)."""
        nodes, weights = self._quadrature()
        slope = (self._log_slope(nodes) * weights).sum(0)
        return self.before_squashing().entropy() + slope.sum(-1)

    def mode(self) -> Tensor:
        """The squashed mean, which is the median: the density itself may have two maxima."""
        return self._squash(self.mean)

    def kl(self, other: Distribution) -> Tensor:
        """KL of the Gaussians before squashing: equal, since the map is one to one."""
        if not isinstance(other, TanhGaussian) or not self._same_range(other):
            raise self._no_closed_form(other, "KL")
        return self.before_squashing().kl(other.before_squashing())

    def cross_entropy(self, other: Distribution) -> Tensor:
        """Against a Gaussian by the moments after squashing: exact but for the quadrature."""
        if isinstance(other, Gaussian):
            return self.after_squashing().cross_entropy(other)
        return self.kl(other) + self.entropy()

    def before_squashing(self) -> Gaussian:
        """The Gaussian of u."""
        return Gaussian(self.mean, self.std)

    def after_squashing(self) -> Gaussian:
        """The Gaussian with the mean and deviation of the action itself, of ``least_std`` at least.

        Of all Gaussians it has the least KL from this distribution, and KL from *it* to a Gaussian
        student has the same gradient as the cross-entropy of this distribution with that student.
        """
        nodes, weights = self._quadrature()
        actions = torch.tanh(nodes)
        mean = (actions * weights).sum(0)
        variance = ((actions - mean).square() * weights).sum(0)
        std = variance.clamp(min=self.least_std**2).sqrt() * self.scale
        return Gaussian(self.shift + self.scale * mean, std)

    def _squash(self, u: Tensor) -> Tensor:
        return self.shift + self.scale * torch.tanh(u)

    def _log_slope(self, u: Tensor) -> Tensor:
        """``log |d a / d u| = log scale + 2 (log 2 - u - softplus(-2 u))``, stable for large u."""
        scale = torch.as_tensor(self.scale, dtype=u.dtype, device=u.device)
        return scale.log() + 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))

    def _quadrature(self) -> tuple[Tensor, Tensor]:
        """Values of u (nodes, ..., actions) and their weights, to take expectations with."""
        nodes, weights = (torch.as_tensor(x).to(self.mean) for x in _standard_gaussian())
        shape = (-1, *([1] * self.mean.ndim))
        return self.mean + self.std * nodes.view(shape), weights.view(shape)

    def _same_range(self, other: TanhGaussian) -> bool:
        pairs = ((self.scale, other.scale), (self.shift, other.shift))
        return all(a is b or bool((torch.as_tensor(a - b) == 0).all()) for a, b in pairs)


@dataclasses.dataclass(frozen=True, slots=True)
class Categorical(Distribution):
    """One of several discrete actions.

    Args:
        logits: (..., choices), of any offset; minus infinity rules a choice out.
    """

    logits: Tensor

    @property
    def batch_shape(self) -> torch.Size:
        return self.logits.shape[:-1]

    @property
    def log_probs(self) -> Tensor:
        """(..., choices), finite: a choice that is ruled out has the least float instead."""
        log_probs = F.log_softmax(self.logits, dim=-1)
        return log_probs.clamp(min=torch.finfo(log_probs.dtype).min)

    def tempered(self, temperature: float | Tensor) -> Categorical:
        """Logits divided by ``temperature``: flatter above 1."""
        return Categorical(self.logits / temperature)

    def epsilon_greedy(self, epsilon: float) -> Categorical:
        """The most probable choice, or with probability ``epsilon`` any choice at all."""
        best = F.one_hot(self.mode(), self.logits.shape[-1]).to(self.logits.dtype)
        return Categorical(((1.0 - epsilon) * best + epsilon / best.shape[-1]).log())

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """A choice, (...) int64; it has no gradient."""
        exponential = torch.empty_like(self.logits).exponential_(generator=generator)
        return (self.log_probs.detach() - exponential.log()).argmax(-1)

    def log_prob(self, action: Tensor) -> Tensor:
        _fits(action, self.batch_shape)
        return self.log_probs.gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        return self.cross_entropy(self)

    def mode(self) -> Tensor:
        return self.logits.argmax(-1)

    def kl(self, other: Distribution) -> Tensor:
        """``sum_a p(a) (log p(a) - log q(a))``."""
        if not isinstance(other, Categorical):
            raise self._no_closed_form(other, "KL")
        _fits(other.logits, self.logits.shape)
        log_p = self.log_probs
        return (log_p.exp() * (log_p - other.log_probs)).sum(-1)

    def cross_entropy(self, other: Distribution) -> Tensor:
        """``-sum_a p(a) log q(a)``."""
        if not isinstance(other, Categorical):
            raise self._no_closed_form(other, "cross-entropy")
        _fits(other.logits, self.logits.shape)
        return -(self.log_probs.exp() * other.log_probs).sum(-1)


def standard_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws from N(0, 1), of the shape and type of ``like``."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def _same_mean_and_std(mean: Tensor, std: Tensor) -> None:
    if mean.shape != std.shape:
        raise DistributionError(
            f"the mean has shape {tuple(mean.shape)} and the deviation {tuple(std.shape)}; "
            "expand the deviation to the mean's shape"
        )


def _fits(got: Tensor, expected: torch.Size) -> None:
    if got.shape != expected:
        raise DistributionError(
            f"got shape {tuple(got.shape)} where the distribution has {tuple(expected)}"
        )


@functools.cache
def _standard_gaussian(nodes: int = 64, width: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of expectations under a standard Gaussian, by the trapezoidal rule.

    For functions of tanh it converges far faster than Gauss-Hermite quadrature: with 64 nodes to
    2e-7 up to a deviation of 3, and to 2e-3 at the widest that SAC allows, 7.4.
    """
    points = np.linspace(-width, width, nodes)
    weights = np.exp(-0.5 * points**2)
    return points, weights / weights.sum()
