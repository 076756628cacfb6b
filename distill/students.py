"""Students: what runs on the robot. Each maps a sequence and a state to distributions and a state.

A memoryless student is the case of an empty state. A new kind is one class and one line in KINDS.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor, nn

from ..controller.contract import Contract
from .distributions import Distribution
from .networks import Activation, GaussianActor, Normaliser


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """Which student, and how large."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (32,)
    activation: Activation = "elu"
    initial_std: float = 0.3


class Student(nn.Module):
    """A policy over the contract's observations; subclasses say how it remembers."""

    state_size: int = 0

    @property
    def normaliser(self) -> Normaliser:
        """Of the observations, the first thing that is applied."""
        raise NotImplementedError

    def initial_state(self, n: int) -> Tensor:
        """(n, state_size) zeros."""
        return torch.zeros(n, self.state_size)

    def forward(
        self, sequence: Tensor, state: Tensor, resets: Tensor
    ) -> tuple[Distribution, Tensor]:
        """Actions for a sequence.

        Args:
            sequence: (T, N, observation_size), not normalised.
            state: (N, state_size) before the first tick.
            resets: (T, N) bool: forget before this tick.

        Returns:
            A distribution of shape (T, N, actions) and the state after the last tick.
        """
        raise NotImplementedError

    def forward_features(
        self, sequence: Tensor, state: Tensor, resets: Tensor
    ) -> tuple[Distribution, Tensor, dict[str, Tensor]]:
        """As ``forward``, with the inner layers by name, (T, N, width) each.

        A student that remembers also gives ``memory``, its state before every tick.
        """
        raise NotImplementedError

    def respond(self, normalised: Tensor, memory: Tensor | None) -> Distribution:
        """Answers to single normalised observations (..., size), the state before each given.

        Args:
            normalised: what ``normaliser`` would have made of an observation.
            memory: (..., state_size), or None for a student without state.
        """
        raise NotImplementedError

    def parameter_count(self) -> int:
        """What is stored and multiplied on the robot, normaliser aside."""
        raise NotImplementedError

    def export(self) -> tuple[dict[str, str], dict[str, Tensor]]:
        """Description and tensors for the robot's runtime, ``controller.policy``."""
        raise NotImplementedError


class MlpStudent(Student):
    """A perceptron over the history in the observation; its state is empty."""

    def __init__(self, config: StudentConfig, contract: Contract) -> None:
        super().__init__()
        self.actor = GaussianActor(
            contract.observation_size,
            contract.action_size,
            config.hidden,
            config.activation,
            initial_std=config.initial_std,
            limit=contract.normaliser_clip,
        )

    @property
    def normaliser(self) -> Normaliser:
        return self.actor.normaliser

    def forward(
        self, sequence: Tensor, state: Tensor, resets: Tensor
    ) -> tuple[Distribution, Tensor]:
        return self.actor(sequence), state

    def forward_features(
        self, sequence: Tensor, state: Tensor, resets: Tensor
    ) -> tuple[Distribution, Tensor, dict[str, Tensor]]:
        distribution, features = self.actor.features(sequence)
        return distribution, state, features

    def respond(self, normalised: Tensor, memory: Tensor | None) -> Distribution:
        return self.actor.respond(normalised)

    def parameter_count(self) -> int:
        return self.actor.parameter_count()

    def export(self) -> tuple[dict[str, str], dict[str, Tensor]]:
        linear = [m for m in self.actor.network if isinstance(m, nn.Linear)]
        tensors = {
            "normaliser.mean": self.normaliser.mean,
            "normaliser.std": self.normaliser.std,
        }
        for i, layer in enumerate(linear):
            tensors[f"layers.{i}.weight"] = layer.weight
            tensors[f"layers.{i}.bias"] = layer.bias
        copies = {name: t.detach().float().contiguous().clone() for name, t in tensors.items()}
        return {"architecture": "mlp", "activation": self.actor.activation}, copies


KINDS = {"mlp": MlpStudent}


def make_student(config: StudentConfig, contract: Contract) -> Student:
    """The student that ``config`` describes, for ``contract``."""
    return KINDS[config.kind](config, contract)
