"""A policy as an attacker sees it: what it can be learnt of it, and it acting under attack."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ...hardware.errors import RetortError
from ...sim.interface import LearningEnv
from .. import networks
from ..batch import Batch
from ..bounds import Bounds
from ..losses.robust import Policy
from ..sources.rollout import Actor, RolloutSource, one_thread
from ..students import Student
from .attacks import (
    Attack,
    SarsaQ,
    Transitions,
    critic_attack,
    fit_sarsa,
    in_effect,
    mad_attack,
    random_attack,
    sarsa_attack,
)
from .episodes import actor_of

AttackName = Literal["random", "mad", "critic", "sarsa", "sarsa_mad"]
ATTACKS: tuple[AttackName, ...] = get_args(AttackName)
_WITH_VALUE = ("critic", "sarsa", "sarsa_mad")
_MAD_SHARE = 0.5  # of ``sarsa_mad``


class SweepError(RetortError):
    """A sweep cannot be made of what was given."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A policy to be attacked."""

    policy: networks.Actor | Student
    group: str = "teacher"  # of observations an actor sees; a student sees its own
    q: SarsaQ | None = None  # its action value, for the attacks that use one
    bounds: Bounds | None = None  # between which its actions are cut, where that is known

    @property
    def sees(self) -> str:
        """The group of observations that is attacked."""
        return "student" if isinstance(self.policy, Student) else self.group

    @property
    def state_size(self) -> int:
        """Of its hidden state."""
        return self.policy.state_size if isinstance(self.policy, Student) else 0

    def respond(self, state: Tensor) -> Policy:
        """What the policy does on normalised observations (N, size), its state (N, k) held."""
        policy = self.policy
        if isinstance(policy, Student):
            return in_effect(lambda normalised: policy.respond(normalised, state), self.bounds)
        return in_effect(policy.respond, self.bounds)


def learn_target(
    env: LearningEnv,
    policy: networks.Actor | Student,
    gamma: float,
    seed: int,
    *,
    group: str = "teacher",
    ticks: int = 200,
    updates: int = 2000,
) -> Target:
    """Watch a frozen policy and learn its action value, so that it can be attacked at its worst.

    It acts by samples, since a policy that does one thing only tells nothing of other actions.
    Rewards are scaled to a value of about one; attacks know no unit. Policies of discrete actions
    are not watched: their attacks use no value.

    Args:
        env: with autoreset.
        policy: to be attacked.
        gamma: discount.
        seed: of episodes, samples and the value's weights.
        group: of observations that an actor sees.
        ticks: to watch, of every environment.
        updates: of the value.
    """
    target = Target(policy, group, bounds=Bounds.of(env.single_action_space))
    generator = torch.Generator().manual_seed(seed)
    if _discrete(target):
        return target

    @torch.no_grad()
    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> Any:
        if isinstance(policy, Student):
            said, state = policy(groups["student"][None], state, reset[None])
            said = said.select(0)
        else:
            said = policy(groups[group])
        action = said.sample(generator)
        return action, said.log_prob(action), state

    batch = watch(env, act, seed, ticks, target.state_size)
    rows = transitions(batch, target, gamma)
    with one_thread():  # the networks are too small to share out
        q = fit_sarsa(rows, gamma, generator, updates=updates)
    return dataclasses.replace(target, q=q)


def transitions(batch: Batch, target: Target, gamma: float) -> Transitions:
    """Sarsa's quintuples of a batch that ``target`` acted in, rewards scaled by their size.

    Actions are as they took effect. Where an episode was cut off nobody acted next: those ticks are
    left out, and so is the last.
    """
    action = batch.action if target.bounds is None else target.bounds.cut(batch.action)
    seen = target.policy.normaliser(batch.observations[target.sees])
    known = ~batch.truncated[:-1]
    scale = (1.0 - gamma) / batch.reward.square().mean().sqrt().clamp(min=1e-8)
    return Transitions(
        observation=seen[:-1][known],
        action=action[:-1][known],
        reward=(scale * batch.reward)[:-1][known],
        next_observation=seen[1:][known],
        next_action=action[1:][known],
        terminated=batch.terminated[:-1][known],
    )


def attacked(
    target: Target, attack: AttackName, epsilon: float, seed: int, *, steps: int = 10
) -> Actor:
    """``target`` acting by its mode on observations that are at most ``epsilon`` off.

    Args:
        target: policy and what is known of it.
        attack: by which the worst of the box is looked for, at every tick anew.
        epsilon: half the box' width, in normalised units.
        seed: of the attack's randomness.
        steps: of its ascent.

    Raises:
        SweepError: an attack that this policy cannot be put to.
    """
    check_attack(target, attack)
    generator = torch.Generator().manual_seed(seed)
    policy, inner = target.policy, actor_of(target.policy, target.group)

    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> Any:
        if state.shape[1] != target.state_size:  # an episode begins: nobody knew what is kept
            state = torch.zeros(len(reset), target.state_size)
        held = torch.where(reset[:, None], torch.zeros_like(state), state)
        seen = groups[target.sees]
        with torch.no_grad():
            normalised = policy.normaliser(seen)
        finder = _attack(attack, target.respond(held), target.q, epsilon, generator, steps)
        change = finder(normalised) - normalised
        changed = seen + change * policy.normaliser.std
        return inner({**groups, target.sees: changed}, state, reset)

    return act


def possible_attacks(target: Target) -> tuple[AttackName, ...]:
    """Attacks that ``target`` can be put to: without an action value, those that use none."""
    return tuple(name for name in ATTACKS if target.q is not None or name not in _WITH_VALUE)


def _attack(
    name: AttackName,
    policy: Policy,
    q: SarsaQ | None,
    epsilon: float,
    generator: torch.Generator,
    steps: int,
) -> Attack:
    if name == "random":
        return random_attack(epsilon, generator)
    if name == "mad":
        return mad_attack(policy, epsilon, generator, steps=steps)
    assert q is not None
    if name == "critic":
        # The policy's value is that of what it does: V(o) = Q(o, pi(o)).
        return critic_attack(
            lambda seen: q(seen, policy(seen).mode()), epsilon, generator, steps=steps
        )
    share = _MAD_SHARE if name == "sarsa_mad" else 0.0
    return sarsa_attack(policy, q, epsilon, generator, steps=steps, mad_share=share)


def check_attack(target: Target, attack: AttackName) -> None:
    """``target`` must be one that ``attack`` can be made on.

    Raises:
        SweepError: there is no such attack, or this policy cannot be put to it; the message says
            why and which it can.
    """
    if attack not in ATTACKS:
        raise SweepError(f"there is no attack {attack!r}; there are {', '.join(ATTACKS)}")
    if attack not in possible_attacks(target):
        why = (
            "actions are discrete and have no gradient"
            if _discrete(target)
            else "its action value is not known; make the target with learn_target"
        )
        raise SweepError(
            f"the attack {attack!r} is not possible on this policy: {why}; possible are "
            + ", ".join(possible_attacks(target))
        )


def _discrete(target: Target) -> bool:
    policy = target.policy
    if isinstance(policy, Student):
        return policy.interface.discrete
    return isinstance(policy, networks.CategoricalActor)


def watch(env: LearningEnv, actor: Actor, seed: int, ticks: int, state_size: int) -> Batch:
    """What ``actor`` does in ``ticks`` ticks of every environment, from a random time on.

    Args:
        env: with autoreset.
        actor: may give no log-probability.
        seed: of the episodes.
        ticks: of the batch.
        state_size: of the actor's hidden state.
    """
    source = RolloutSource(env, ticks, hidden_size=state_size)
    source.start(seed)

    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> tuple[Tensor, ...]:
        action, log_prob, state = actor(groups, state, reset)
        # Those that act by their mode say no probability.
        return action, torch.zeros(len(reset)) if log_prob is None else log_prob, state

    return source.collect(act)  # pyright: ignore[reportArgumentType]
