"""Attacks on a policy's normalised observations, to evaluate it under; not used in training.

An attack maps a normalised observation (..., size) to one at most ``epsilon`` away in every
component. Random, MAD, critic and Robust-Sarsa are those of Zhang et al. 2020; the push is ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..bounds import Bounds
from ..distributions import Distribution, Gaussian
from ..losses.robust import Policy, policy_perturbation, random_perturbation, worst_perturbation
from ..losses.shapes import same_shape
from ..networks import mlp

Attack = Callable[[Tensor], Tensor]
QFunction = Callable[[Tensor, Tensor], Tensor]  # observation, action -> (...)


def in_effect(policy: Policy, bounds: Bounds | None, leak: float = 0.01) -> Policy:
    """``policy`` with means as the environment cuts them.

    An attack on means beyond the bounds spends its box where nothing comes of it. A little of what
    is beyond is left, so that the gradient still shows the way back.
    """
    if bounds is None:
        return policy

    def effective(observation: Tensor) -> Distribution:
        said = policy(observation)
        if not isinstance(said, Gaussian):
            return said
        return Gaussian(bounds.cut(said.mean, leak), said.std)

    return effective


def random_attack(epsilon: float, generator: torch.Generator | None = None) -> Attack:
    """Uniform in the box: what noise alone does."""

    def attack(observation: Tensor) -> Tensor:
        return observation + random_perturbation(observation, epsilon, generator)

    return attack


def mad_attack(
    policy: Policy, epsilon: float, generator: torch.Generator | None = None, *, steps: int = 10
) -> Attack:
    """Maximal action difference: the observation that changes the policy most, in KL."""

    def attack(observation: Tensor) -> Tensor:
        return observation + policy_perturbation(
            policy, observation, epsilon, generator, steps=steps
        )

    return attack


def push_attack(
    policy: Policy,
    direction: Tensor,
    epsilon: float,
    generator: torch.Generator | None = None,
    *,
    steps: int = 10,
) -> Attack:
    """The observation that moves the action farthest in one ``direction``, maximises ``d . mu``.

    Not of the literature. A change of the action that comes and goes averages out over some ticks;
    one that always has the same direction does not, and needs no value to be learnt. The attacker
    tries directions and keeps the worst.

    Args:
        policy: normalised observation (..., size) to a distribution.
        direction: (..., actions), a row for each observation.
        epsilon: half the width of the box.
        generator: of the random start.
        steps: of ascent.
    """

    return _ascent(
        lambda perturbed: (direction * policy(perturbed).mode()).sum(-1), epsilon, generator, steps
    )


def critic_attack(
    value: Callable[[Tensor], Tensor],
    epsilon: float,
    generator: torch.Generator | None = None,
    *,
    steps: int = 10,
) -> Attack:
    """The observation that the critic thinks worst of: minimises ``V(o + delta)``.

    Args:
        value: normalised observation (..., size) to (...).
        epsilon: half the width of the box.
        generator: of the random start.
        steps: of descent.
    """

    return _ascent(lambda perturbed: -value(perturbed), epsilon, generator, steps)


def _ascent(
    objective: Callable[[Tensor], Tensor],
    epsilon: float,
    generator: torch.Generator | None,
    steps: int,
) -> Attack:
    """The observation at which ``objective``, (..., size) to (...), is largest."""

    def attack(observation: Tensor) -> Tensor:
        return observation + worst_perturbation(
            objective, observation, epsilon, generator, steps=steps, method="pgd"
        )

    return attack


def sarsa_attack(
    policy: Policy,
    q: QFunction,
    epsilon: float,
    generator: torch.Generator | None = None,
    *,
    steps: int = 10,
    mad_share: float = 0.0,
) -> Attack:
    """Robust-Sarsa: make the policy act worst by its own action value, ``min Q(o, pi(o + delta))``.

    With a ``mad_share`` m between 0 and 1 it is RS+MAD: the ascent is on
    ``-(1 - m) Q / s_Q + m KL / s_KL``, each term divided by its root mean square over the batch at
    a random perturbation, since the two have no common unit.

    Args:
        policy: normalised observation (..., size) to a distribution; its mode is what acts.
        q: of the true observation and the action taken, (...); see ``fit_sarsa``.
        epsilon: half the width of the box.
        generator: of the random start.
        steps: of ascent.
        mad_share: m.
    """

    def attack(observation: Tensor) -> Tensor:
        with torch.no_grad():
            clean = policy(observation)
            nearby = policy(random_attack(epsilon, generator)(observation))
            fall = q(observation, clean.mode()) - q(observation, nearby.mode())
            q_scale = fall.square().mean().sqrt().clamp(min=1e-8)
            kl_scale = clean.kl(nearby).square().mean().sqrt().clamp(min=1e-8)

        def objective(perturbed: Tensor) -> Tensor:
            there = policy(perturbed)
            result = -(1.0 - mad_share) * q(observation, there.mode()) / q_scale
            if mad_share > 0.0:
                result = result + mad_share * clean.kl(there) / kl_scale
            return result

        method = "sgld" if mad_share > 0.0 else "pgd"
        return observation + worst_perturbation(
            objective, observation, epsilon, generator, steps=steps, method=method
        )

    return attack


@dataclasses.dataclass(frozen=True)
class Transitions:
    """What a policy lived through, as rows: Sarsa's quintuples."""

    observation: Tensor  # (n, size) normalised
    action: Tensor  # (n, actions)
    reward: Tensor  # (n,)
    next_observation: Tensor  # (n, size) the final one where the episode ended
    next_action: Tensor  # (n, actions) what the policy does there
    terminated: Tensor  # (n,) bool


class SarsaQ(nn.Module):
    """A perceptron from observation and action to an action value, (...)."""

    def __init__(self, size: int, actions: int, hidden: tuple[int, ...] = (64, 64)) -> None:
        super().__init__()
        self.network = mlp((size + actions, *hidden, 1), "tanh")

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.network(torch.cat([observation, action], dim=-1)).squeeze(-1)


def sarsa_loss(
    q: SarsaQ,
    target: QFunction,
    rows: Transitions,
    gamma: float,
    *,
    action_epsilon: float = 0.0,
    smoothness: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """``(Q(o, a) - r - gamma Q'(o', a'))^2 + smoothness max_d (Q(o, a + d) - Q(o, a))^2``, (n,).

    The second term, over ``|d|_inf <= action_epsilon``, is what makes the Sarsa value *robust*: it
    has no spurious pits in the action for an attack to aim at.
    """
    same_shape(reward=rows.reward, terminated=rows.terminated)
    with torch.no_grad():
        following = target(rows.next_observation, rows.next_action)
        following = torch.where(rows.terminated, torch.zeros_like(following), following)
        goal = rows.reward + gamma * following
    here = q(rows.observation, rows.action)
    same_shape(value=here, reward=rows.reward)
    loss = (here - goal).square()
    if smoothness > 0.0:
        centre = here.detach()
        worst = worst_perturbation(
            lambda action: (q(rows.observation, action) - centre).square(),
            rows.action,
            action_epsilon,
            generator,
            steps=3,
        )
        change = q(rows.observation, rows.action + worst) - here
        loss = loss + smoothness * change.square()
    return loss


def fit_sarsa(
    rows: Transitions,
    gamma: float,
    generator: torch.Generator,
    *,
    hidden: tuple[int, ...] = (64, 64),
    updates: int = 2000,
    minibatch: int = 256,
    learning_rate: float = 1e-3,
    target_rate: float = 0.2,
    action_epsilon: float = 0.1,
    smoothness: float = 0.3,
) -> SarsaQ:
    """The action value of the policy that made ``rows``, for ``sarsa_attack``.

    Args:
        rows: transitions of the frozen policy that is to be attacked.
        gamma: discount.
        generator: of weights, minibatches and perturbations.
        hidden: layers of the network.
        updates, minibatch, learning_rate: of Adam.
        target_rate: share by which the target network follows at every update.
        action_epsilon, smoothness: as in ``sarsa_loss``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        sizes = (rows.observation.shape[-1], rows.action.shape[-1], hidden)
        q, target = SarsaQ(*sizes), SarsaQ(*sizes)
    target.load_state_dict(q.state_dict())
    optimiser = torch.optim.Adam(q.parameters(), lr=learning_rate)
    fields = [getattr(rows, field.name) for field in dataclasses.fields(rows)]
    for _ in range(updates):
        ids = torch.randint(len(rows.reward), (minibatch,), generator=generator)
        some = Transitions(*(tensor[ids] for tensor in fields))
        loss = sarsa_loss(
            q,
            target,
            some,
            gamma,
            action_epsilon=action_epsilon,
            smoothness=smoothness,
            generator=generator,
        )
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), q.parameters(), strict=True):
                slow.lerp_(fast, target_rate)
    return q.requires_grad_(False)
