"""Teachers: anything that gives action distributions, and perhaps more, in the student's action
space. A teacher owns its observations' normaliser and its hidden state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..bounds import Bounds
from ..distributions import Distribution, Gaussian
from ..networks import Actor, Critic


@dataclasses.dataclass(frozen=True)
class BoundCritics:
    """Critics Q(s, a) with the situations they are asked about: a function of the action alone."""

    critics: Callable[[Tensor, Tensor], Tensor]  # observation, action -> (critics, ...)
    observation: Tensor  # (..., size)
    bounds: Bounds | None = None  # of the actions that they have seen; of others they know nothing

    def __call__(self, action: Tensor) -> Tensor:
        """Q of actions (..., actions), as they are within bounds, (critics, ...)."""
        if self.bounds is not None:
            action = self.bounds.hold(action)
        return self.critics(self.observation, action)

    def select(self, index: Any) -> BoundCritics:
        """Of the situations at ``index`` of the leading shape."""
        return dataclasses.replace(self, observation=self.observation[index])


@dataclasses.dataclass(frozen=True)
class TeacherOutput:
    """What a teacher says of a batch of situations, (...); None for what it cannot say."""

    distribution: Distribution
    value: Tensor | None = None  # (...) in units of (1 - gamma) times the return
    q: Tensor | None = None  # (..., choices) of discrete actions, in the unit of ``value``
    latent: Tensor | None = None  # (..., size)
    critics: BoundCritics | None = None  # of continuous actions
    features: dict[str, Tensor] = dataclasses.field(default_factory=dict)  # inner layers

    def select(self, index: Any) -> TeacherOutput:
        """The part at ``index`` of the leading shape."""

        def pick(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[index]

        critics = self.critics
        return TeacherOutput(
            self.distribution.select(index),
            pick(self.value),
            pick(self.q),
            pick(self.latent),
            None if critics is None else critics.select(index),
            {name: tensor[index] for name, tensor in self.features.items()},
        )


class ValuesOf(NamedTuple):
    """What a critic's values count: only values that count the same can be compared."""

    discount: float  # gamma
    fall_penalty: float = 0.0  # at the end of an episode that terminated

    def __str__(self) -> str:
        return f"gamma {self.discount:g} and a fall_penalty of {self.fall_penalty:g}"


class Teacher(Protocol):
    """A policy to learn from. What it remembers of an episode is in its hidden state alone.

    These two methods are all that is needed. What it says of a situation stays the same, but for
    one that has ``learnt``: nobody asks again about batches that are kept. A teacher may have two
    attributes besides, each left out where there is nothing to say:

    - ``values_of``: ``ValuesOf``, what its values count; only those that count the same are
      compared.
    - ``learnt``: parameters that its own learner moves while a student learns from it; what a
      student shares of them, it does not move.
    """

    def initial_state(self, n: int) -> Tensor:
        """Hidden states of ``n`` beginning episodes, (n, size); (n, 0) if it remembers nothing."""
        ...

    def __call__(
        self, observations: dict[str, Tensor], state: Tensor, resets: Tensor
    ) -> tuple[TeacherOutput, Tensor]:
        """Label a sequence. Gradients reach the observations where those require them.

        Args:
            observations: groups, (T, N, size) each; a teacher takes the one it knows.
            state: (N, size) hidden state before the first tick.
            resets: (T, N) bool: forget before this tick.

        Returns:
            Outputs of shape (T, N, ...) and the hidden state after the last tick, (N, size).
        """
        ...


def sampled_action(
    teacher: Teacher,
    groups: dict[str, Tensor],
    state: Tensor,
    reset: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """What a teacher does at one tick, with its own deviation.

    Args:
        teacher: is asked.
        groups: observations by group, (N, size) each.
        state: (N, size) its hidden state before the tick.
        reset: (N,) bool.
        generator: of the sample.

    Returns:
        Actions (N, actions), or (N,) of choices, log-probabilities (N,), and its new hidden state.
    """
    sequence = {group: values[None] for group, values in groups.items()}
    output, state = teacher(sequence, state, reset[None])
    action = output.distribution.sample(generator)
    return action[0], output.distribution.log_prob(action)[0], state


def numbered(states: Sequence[Tensor]) -> dict[str, Tensor]:
    """Hidden states of several teachers as a checkpoint holds them."""
    return {str(i): state for i, state in enumerate(states)}


def in_order(states: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The inverse of ``numbered``."""
    return tuple(states[number] for number in sorted(states, key=int))


@torch.no_grad()
def states_after(
    teacher: Teacher, observations: dict[str, Tensor], state: Tensor, resets: Tensor
) -> Tensor:
    """The hidden state after every tick of a sequence, (T, N, size); arguments as a teacher's."""
    if not state.shape[-1]:
        return state.expand(*resets.shape, 0)
    states = []
    for t in range(len(resets)):
        now = {group: values[t : t + 1] for group, values in observations.items()}
        _, state = teacher(now, state, resets[t : t + 1])
        states.append(state)
    return torch.stack(states)


class ActorTeacher:
    """An actor of ours with an optional critic.

    Args:
        actor: the policy.
        critic: values of the teacher's own policy.
        std_floor: least deviation it may claim, so that over-confidence is not copied.
        group: the observations it knows.
        frozen: false for a teacher that is still learning elsewhere.
        columns: which numbers of them it was trained on; all when None.
        value_unit: what the critic's answers are multiplied by to be (1 - gamma) times returns.
        values_of: what its values count; None where it is not known.
    """

    def __init__(
        self,
        actor: Actor,
        critic: Critic | None = None,
        *,
        std_floor: float = 0.05,
        group: str = "teacher",
        frozen: bool = True,
        columns: slice | None = None,
        value_unit: float = 1.0,
        values_of: ValuesOf | None = None,
    ) -> None:
        self.actor, self.critic = actor, critic
        if frozen:
            actor.eval().requires_grad_(False)
        if frozen and critic is not None:
            critic.eval().requires_grad_(False)
        self.std_floor = std_floor
        self.group = group
        self.columns = slice(None) if columns is None else columns
        self.value_unit, self.values_of = value_unit, values_of

    @property
    def learnt(self) -> list[nn.Parameter]:
        """What its own learner moves, layers that a student shares among them; nothing of a frozen
        one.
        """
        networks = [network for network in (self.actor, self.critic) if network is not None]
        return [p for network in networks for p in network.parameters() if p.requires_grad]

    def initial_state(self, n: int) -> Tensor:
        return torch.zeros(n, 0)

    def __call__(
        self, observations: dict[str, Tensor], state: Tensor, resets: Tensor
    ) -> tuple[TeacherOutput, Tensor]:
        observation = observations[self.group][..., self.columns]
        said, features = self.actor.features(observation)
        if isinstance(said, Gaussian):
            said = Gaussian(said.mean, said.std.clamp(min=self.std_floor))
        value = None if self.critic is None else self.critic(observation) * self.value_unit
        return TeacherOutput(said, value, features=features), state
