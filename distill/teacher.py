"""Teachers: anything that gives action distributions, and perhaps values, in the student's action
space. A teacher owns its observations' normaliser and its hidden state.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Normal

from .networks import Critic, GaussianActor


@dataclasses.dataclass(frozen=True)
class TeacherOutput:
    """What a teacher says of a batch of situations; None for what it cannot say."""

    distribution: Normal  # (..., actions)
    value: Tensor | None = None  # (...) in units of (1 - gamma) times the return
    q: Tensor | None = None  # (..., actions) for discrete actions
    latent: Tensor | None = None  # (..., size)


class Teacher(Protocol):
    """A policy to learn from."""

    cacheable: bool  # its outputs depend on the observation alone

    def initial_state(self, n: int) -> Tensor: ...

    def __call__(
        self, observations: dict[str, Tensor], state: Tensor, resets: Tensor
    ) -> tuple[TeacherOutput, Tensor]:
        """Label a sequence.

        Args:
            observations: groups, (T, N, size) each; a teacher takes the one it knows.
            state: (N, size) hidden state before the first tick.
            resets: (T, N) bool.

        Returns:
            Outputs of shape (T, N, ...) and the new hidden state.
        """
        ...


class ActorTeacher:
    """A Gaussian actor with an optional critic on the privileged observation.

    Args:
        actor: the policy.
        critic: values of the teacher's own policy.
        std_floor: least deviation it may claim, so that over-confidence is not copied.
    """

    cacheable = True

    def __init__(
        self, actor: GaussianActor, critic: Critic | None = None, *, std_floor: float = 0.05
    ) -> None:
        self.actor = actor.eval().requires_grad_(False)
        self.critic = None if critic is None else critic.eval().requires_grad_(False)
        self.std_floor = std_floor

    def initial_state(self, n: int) -> Tensor:
        return torch.zeros(n, 0)

    @torch.no_grad()
    def __call__(
        self, observations: dict[str, Tensor], state: Tensor, resets: Tensor
    ) -> tuple[TeacherOutput, Tensor]:
        observation = observations["teacher"]
        said = self.actor(observation)
        distribution = Normal(said.mean, said.stddev.clamp(min=self.std_floor), validate_args=False)
        value = None if self.critic is None else self.critic(observation)
        return TeacherOutput(distribution, value), state
