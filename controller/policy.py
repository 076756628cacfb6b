"""Policies in NumPy: what the robot's computer runs. Loaded from named tensors.

A policy has no hidden memory of its own: what it remembers is an argument and a result of ``step``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from .architecture import (
    PolicyError,
    Tensors,
    architecture_of,
    columns_read,
    read_layers,
    tensor,
)
from .contract import Contract
from .layers import make_step

__all__ = ["Hidden", "Policy", "PolicyError", "Stack", "Tensors", "load_policy"]

Hidden = np.ndarray | None


class Policy(ABC):
    """From observations to mean actions, one step at a time."""

    parameters: int  # learned numbers, the normaliser not counted
    state_size: int  # numbers remembered from step to step

    @abstractmethod
    def initial_state(self) -> Hidden:
        """What the policy remembers before the first step; None if it remembers nothing."""

    @abstractmethod
    def step(self, observation: np.ndarray, hidden: Hidden) -> tuple[np.ndarray, Hidden]:
        """One decision.

        Args:
            observation: (observation_size,), as ``program.observe`` gives it, not normalised.
            hidden: from ``initial_state`` or the previous step. It is changed in place: whoever
                wants to keep an old one copies it.

        Returns:
            The mean action (joints,), not squashed, and what to remember.
        """


class Stack(Policy):
    """Normaliser, then layers one after the other; see ``architecture`` for what there is.

    Nothing is allocated in a step but the action that is handed out. int8 weights are multiplied
    out when they are loaded: NumPy has no product of int8 with float32.

    Args:
        meta: ``{"architecture": "gru", "activation": "elu"}``.
        tensors: float32 by name (weights may be int8), ``normaliser.mean`` and ``normaliser.std``
            among them.
        columns: (inputs,) which numbers of the observation go in.
        outputs: numbers that come out.
        limit: normalised observations are clipped to +- this.
    """

    def __init__(
        self,
        meta: Mapping[str, Any],
        tensors: Tensors,
        *,
        columns: np.ndarray,
        outputs: int,
        limit: float,
    ) -> None:
        size = len(columns)
        layers = read_layers(meta, tensors, size, outputs)
        self._mean = tensor(tensors, "normaliser.mean", (size,))
        self._std = tensor(tensors, "normaliser.std", (size,))
        if not np.all(self._std > 0):
            raise PolicyError("normaliser.std holds values that are not positive; export again")
        whole = np.arange(columns[0], columns[0] + size)
        run = np.array_equal(columns, whole)
        self._columns = slice(int(columns[0]), int(columns[0]) + size) if run else columns
        self._limit = np.float32(limit)
        self._input = np.empty(size, np.float32)
        self.parameters = sum(layer.parameters for layer in layers)
        self.state_size = sum(layer.state_size for layer in layers)
        self._nothing = np.empty(0, np.float32)
        self._steps, start = [], 0
        for layer in layers:
            part = slice(start, start + layer.state_size)
            self._steps.append((make_step(layer, tensors, meta), part))
            start = part.stop

    def initial_state(self) -> Hidden:
        return np.zeros(self.state_size, np.float32) if self.state_size else None

    def step(self, observation: np.ndarray, hidden: Hidden) -> tuple[np.ndarray, Hidden]:
        # clip((observation - mean) / std, +-limit), into an array that exists already
        x, limit = self._input, self._limit
        np.subtract(observation[self._columns], self._mean, out=x)
        np.divide(x, self._std, out=x)
        np.minimum(x, limit, out=x)
        np.maximum(x, -limit, out=x)
        state = self._nothing if hidden is None else hidden
        for step, part in self._steps:
            x = step(x, state[part])
        return x.copy(), hidden


def load_policy(contract: Contract, meta: Mapping[str, Any], tensors: Tensors) -> Policy:
    """Build the policy that ``meta`` describes.

    Args:
        contract: what goes in and out.
        meta: ``{"architecture": "mlp", "activation": "elu"}``; ``group`` too if weights are int8.
        tensors: float32 arrays by name; weights may be int8 with float32 ``{name}.scale``.

    Raises:
        PolicyError: unknown architecture or activation; a tensor is missing, unknown, not finite,
            or has another shape.
    """
    return Stack(
        meta,
        tensors,
        columns=columns_read(contract, architecture_of(meta)),
        outputs=contract.action_size,
        limit=contract.normaliser_clip,
    )
