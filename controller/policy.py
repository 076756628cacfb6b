"""Policies in NumPy: what the robot's computer runs. Loaded from named float32 tensors.

A policy has no hidden memory of its own: what it remembers is an argument and a result of ``step``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..hardware.errors import RetortError
from . import program
from .contract import Contract

Hidden = np.ndarray | None
Tensors = Mapping[str, np.ndarray]


class PolicyError(RetortError):
    """Tensors or description of a policy are not as they must be."""


class Policy(ABC):
    """From observations to mean actions, one step at a time."""

    parameters: int  # learned numbers, the normaliser not counted

    @abstractmethod
    def initial_state(self) -> Hidden:
        """What the policy remembers before the first step; None if it remembers nothing."""

    @abstractmethod
    def step(self, observation: np.ndarray, hidden: Hidden) -> tuple[np.ndarray, Hidden]:
        """One decision.

        Args:
            observation: (observation_size,), as ``program.observe`` gives it, not normalised.
            hidden: from ``initial_state`` or the previous step.

        Returns:
            The mean action (joints,), not squashed, and what to remember.
        """


def _elu(x: np.ndarray, spare: np.ndarray) -> None:
    np.minimum(x, 0.0, out=spare)
    np.expm1(spare, out=spare)
    np.maximum(x, 0.0, out=x)
    x += spare


def _tanh(x: np.ndarray, spare: np.ndarray) -> None:
    np.tanh(x, out=x)


def _relu(x: np.ndarray, spare: np.ndarray) -> None:
    np.maximum(x, 0.0, out=x)


# In place; the second argument is a scratch buffer of the same shape.
ACTIVATIONS: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "elu": _elu,
    "tanh": _tanh,
    "relu": _relu,
}


class Mlp(Policy):
    """Fully connected layers; the activation follows all but the last.

    Tensors: ``normaliser.mean``, ``normaliser.std`` (observation_size,), ``layers.{i}.weight``
    (out, in) and ``layers.{i}.bias`` (out,).
    """

    def __init__(self, contract: Contract, meta: Mapping[str, Any], tensors: Tensors) -> None:
        self._contract = contract
        self._activation = _choose(ACTIVATIONS, meta.get("activation"), "activation")
        size = contract.observation_size
        self._mean = _tensor(tensors, "normaliser.mean", (size,))
        self._std = _tensor(tensors, "normaliser.std", (size,))
        if not np.all(self._std > 0):
            raise PolicyError("normaliser.std holds values that are not positive; export again")
        self._layers = _layers(tensors, size, contract.action_size)
        expected = {"normaliser.mean", "normaliser.std"} | {
            f"layers.{i}.{part}" for i in range(len(self._layers)) for part in ("weight", "bias")
        }
        if unknown := sorted(set(tensors) - expected):
            raise PolicyError(f"the policy holds tensors an mlp does not have: {unknown}")
        self._outputs = [np.empty_like(bias) for _, bias in self._layers]
        self._spare = [np.empty_like(bias) for _, bias in self._layers]
        self.parameters = sum(weight.size + bias.size for weight, bias in self._layers)

    def initial_state(self) -> Hidden:
        return None

    def step(self, observation: np.ndarray, hidden: Hidden) -> tuple[np.ndarray, Hidden]:
        x = program.normalise(self._contract, observation, self._mean, self._std)
        last = len(self._layers) - 1
        for i, (weight, bias) in enumerate(self._layers):
            output = self._outputs[i]
            np.dot(weight, x, out=output)
            output += bias
            if i < last:
                self._activation(output, self._spare[i])
            x = output
        return x.copy(), None


ARCHITECTURES: dict[str, Callable[[Contract, Mapping[str, Any], Tensors], Policy]] = {"mlp": Mlp}


def load_policy(contract: Contract, meta: Mapping[str, Any], tensors: Tensors) -> Policy:
    """Build the policy that ``meta`` describes.

    Args:
        contract: what goes in and out.
        meta: ``{"architecture": "mlp", "activation": "elu"}``.
        tensors: float32 arrays by name.

    Raises:
        PolicyError: unknown architecture or activation; a tensor is missing, unknown, not finite,
            or has another shape.
    """
    return _choose(ARCHITECTURES, meta.get("architecture"), "architecture")(contract, meta, tensors)


def _layers(
    tensors: Tensors, size: int, action_size: int
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    numbers = {
        int(match[1]) for name in tensors if (match := re.match(r"layers\.(\d+)\.weight$", name))
    }
    if not numbers:
        raise PolicyError("the policy holds no tensor layers.0.weight; export it again")
    result = []
    for i in range(max(numbers) + 1):
        weight = _tensor(tensors, f"layers.{i}.weight", (None, size))
        size = weight.shape[0]
        result.append((weight, _tensor(tensors, f"layers.{i}.bias", (size,))))
    if size != action_size:
        raise PolicyError(
            f"the policy gives {size} actions, the contract has {action_size}; export it again "
            "with its own contract"
        )
    return tuple(result)


def _tensor(tensors: Tensors, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if name not in tensors:
        raise PolicyError(f"the policy lacks the tensor {name}; it has {sorted(tensors)}")
    value = np.ascontiguousarray(tensors[name], dtype=np.float32)
    fits = value.ndim == len(shape) and all(
        want in (None, got) for got, want in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise PolicyError(f"tensor {name} has shape {value.shape}; the contract needs {wanted}")
    if not np.all(np.isfinite(value)):
        raise PolicyError(f"tensor {name} holds values that are not finite; train or export again")
    return value


def _choose(choices: Mapping[str, Any], name: object, what: str) -> Any:
    if name not in choices:
        raise PolicyError(f"policy {what} is {name!r}; there are {', '.join(choices)}")
    return choices[name]  # type: ignore[index]
