"""Proximal policy optimisation (Schulman et al. 2017), the whole algorithm, top to bottom.

Actor and critic both see the privileged observation; this trains teachers.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..hardware.checks import (
    NOT_NEGATIVE,
    POSITIVE,
    SECONDS,
    SHARE,
    Range,
    between,
    check,
    check_fields,
    check_rising,
)
from ..sim.interface import LearningEnv
from .batch import Batch, critic_advantages
from .checkpoint import load_optimiser_state, optimiser_state
from .distributions import Distribution
from .diverged import check_finite
from .networks import Activation, Actor, Critic, GaussianActor, flatten, make_actor
from .ppo_gradient import Rows, is_written_out, ppo_gradient
from .return_scale import ReturnScale
from .sources.rollout import RolloutSource

WIDTH = between(1, 65_536)  # of a layer
# What learning of any kind may be given.
LEARNING = {
    "steps": between(1, 10**12),
    "num_envs": between(1, 10**6),
    "ticks": between(1, 10**5),
    "epochs": between(1, 1000),
    "minibatches": between(1, 10**6),
    "critic_hidden": WIDTH,
    "gamma": Range(0.0, 1.0, open_high=True),  # rewards are scaled by 1 - gamma
    "lam": SHARE,
    "learning_rate": Range(0.0, 1.0, open_low=True),
    "final_learning_rate": between(0.0, 1.0),
    "max_gradient_norm": POSITIVE,
    "episode_seconds": SECONDS,
    "event_rate": between(0.001, 1000.0),
    "fall_penalty": NOT_NEGATIVE,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of PPO; the defaults train the balancer, ``ppo_settings`` has Gymnasium's tasks.

    The learning rate follows the measured KL towards ``target_kl`` (``adaptive``), or falls
    linearly over the budget to ``final_learning_rate`` (``linear``). The first suits few passes
    over large rollouts; with many passes it spends its KL on the first and stalls in the others.
    There ``kl_limit`` keeps a wide network at a high rate from running away: clipping alone does
    not, since rows that are clipped may still be carried along by the others.

    Rewards are learnt from as ``(1 - gamma) r``, for rewards that are near 1 at their best
    (``horizon``), or as ``r`` over the running deviation of the discounted return (``return``): a
    critic of values far from one is lost in the noise of its own steps.
    """

    steps: int = 2_000_000  # environment steps in all
    num_envs: int = 512
    ticks: int = 24  # of one rollout
    episode_seconds: float = 5.0
    event_rate: float = 2.0  # commands change and pushes come this much more often than they will
    hidden: tuple[int, ...] = (128, 128)
    critic_hidden: tuple[int, ...] = (128, 64)
    activation: Activation = "elu"
    initial_std: float = 0.5
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 1e-3
    learning_rate_schedule: Literal["adaptive", "linear"] = "adaptive"
    target_kl: float = 0.012  # of ``adaptive``
    kl_limit: float | None = None  # an update that is further from where it began ends there
    final_learning_rate: float = 0.0  # of ``linear``
    gamma: float = 0.985
    lam: float = 0.95
    reward_scale: Literal["horizon", "return"] = "horizon"
    # On the scale of values, where 1 is a perfect policy's: mild while it learns to follow, then
    # rising linearly over the budget, because the discount hides what a fall really costs.
    fall_penalty: float = 0.3
    final_fall_penalty: float = 3.0
    clip: float = 0.2
    entropy: float = 0.003
    value_weight: float = 1.0
    max_gradient_norm: float = 1.0
    level: tuple[float, float] = (0.0, 1.0)  # difficulty of each axis, drawn from this range
    hardest_share: float = 0.8  # of the last episodes are at the upper end of every axis

    def __post_init__(self) -> None:
        check_fields(
            self,
            **LEARNING,
            hidden=WIDTH,
            initial_std=Range(0.0, 100.0, open_low=True),
            target_kl=POSITIVE,
            kl_limit=POSITIVE,
            final_fall_penalty=NOT_NEGATIVE,
            clip=Range(0.0, 1.0, open_low=True),
            entropy=NOT_NEGATIVE,
            value_weight=NOT_NEGATIVE,
            level=SHARE,
            hardest_share=SHARE,
        )
        check_rising("level", self.level)
        # Advantages are compared within a minibatch, for which it takes two.
        check("minibatches", self.minibatches, between(1, max(1, self.ticks * self.num_envs // 2)))


class Pull(NamedTuple):
    """``weight`` times KL(self || ``towards``) in the loss of a policy, which keeps a teacher near
    what its student can do (guided policy optimisation).
    """

    towards: Distribution  # (T, N), another policy on the same situations
    weight: float
    moves: Sequence[nn.Parameter]  # of the policy


class PPO:
    """A learner with three verbs: ``act``, ``record``, ``update``."""

    def __init__(self, config: PPOConfig, env: LearningEnv, seed: int) -> None:
        self.config = config
        self.axes = len(env.axes)
        self.fraction = 0.0  # of the budget that is spent
        self.generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            size = env.groups["teacher"]
            self.actor = make_actor(
                size,
                env.single_action_space,
                config.hidden,
                config.activation,
                initial_std=config.initial_std,
            )
            self.critic = Critic(size, config.critic_hidden, config.activation)
        self.return_scale = ReturnScale(config.gamma)
        self.make_optimiser()

    def make_optimiser(self) -> None:
        """A new optimiser for the networks as they are now.

        Their parameters become parts of one vector, which is clipped and stepped as a whole: a loop
        over as many small tensors takes longer than what it does to them.
        """
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.flat = flatten(self.parameters)
        self.optimiser = torch.optim.Adam([self.flat], lr=self.config.learning_rate, fused=True)

    def draw_levels(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Difficulty of new episodes, (len(ids), axes) in [0, 1]; harder as the budget is spent."""
        low, high = self.config.level
        levels = rng.uniform(low, high, (len(ids), self.axes))
        levels[rng.random(len(ids)) < self.config.hardest_share * self.fraction] = high
        return levels

    @torch.no_grad()
    def act(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A sampled action (N, actions), its log-probability (N,), and the state unchanged."""
        distribution = self.actor(groups["teacher"])
        action = distribution.sample(self.generator)
        return action, distribution.log_prob(action), state

    @torch.no_grad()
    def record(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Advantages and value targets of a batch, each (T, N)."""
        config = self.config
        penalty = config.fall_penalty
        penalty += (config.final_fall_penalty - penalty) * self.fraction
        reward = learning_reward(batch, config.gamma, penalty) * self._value_scale(batch)
        return critic_advantages(batch, reward, self.critic, gamma=config.gamma, lam=config.lam)

    def _value_scale(self, batch: Batch) -> float:
        """What values are multiplied by, relative to (1 - gamma) times the return."""
        if self.config.reward_scale == "horizon":
            return 1.0
        self.return_scale.update(batch)
        return 1.0 / self.value_unit

    @property
    def value_unit(self) -> float:
        """What the critic's answers are multiplied by to be (1 - gamma) times the return."""
        return self.return_scale.value_unit(self.config.reward_scale)

    def critic_of_returns(self) -> Critic:
        """The critic in units of (1 - gamma) times the return, as teachers give values."""
        critic = copy.deepcopy(self.critic)
        last = critic.network[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            for parameter in last.parameters():
                parameter *= self.value_unit
        return critic

    def update(self, batch: Batch, pull: Pull | None = None) -> dict[str, float]:
        """Several epochs of minibatch descent on one rollout.

        Args:
            batch: what this policy did.
            pull: added to the loss.

        Returns:
            Means of the losses; entropy of the new policy and KL from the old to it.

        Raises:
            DivergedError: they or the weights are not finite.
        """
        config = self.config
        if config.learning_rate_schedule == "linear":
            first, last = config.learning_rate, config.final_learning_rate
            self.optimiser.param_groups[0]["lr"] = first + (last - first) * self.fraction
        advantage, target = self.record(batch)
        observation = batch.observations["teacher"].flatten(0, 1)
        with torch.no_grad():
            seen = self.actor.normaliser(observation)  # the same in every epoch
            valued = self.critic.normaliser(observation)
            old = self.actor.respond(seen)
        columns = [
            seen,
            valued,
            batch.action.flatten(0, 1),
            *(x.flatten() for x in (batch.log_prob, advantage, target)),
        ]
        if pull is not None:
            pull = pull._replace(towards=pull.towards.detach().flatten())
        # Most of a small minibatch is autograd's own work; the usual loss has its gradient by hand.
        written_out = (
            pull is None
            and config.learning_rate_schedule == "linear"
            and is_written_out(self.actor, self.critic)
        )
        totals, steps = torch.zeros(2), 0
        new, kl = old, 0.0
        for epoch in range(1, config.epochs + 1):
            order = torch.randperm(len(observation), generator=self.generator)
            # Shuffled once and then cut: one copy per epoch, not one per minibatch.
            parts = zip(
                order.chunk(config.minibatches),
                *(column[order].chunk(config.minibatches) for column in columns),
                strict=True,
            )
            for ids, *part in parts:
                rows = Rows(*part)
                rows = rows._replace(advantage=standardise(rows.advantage))
                if written_out:
                    losses, gradients = ppo_gradient(
                        self.actor,
                        self.critic,
                        rows,
                        config.clip,
                        config.value_weight,
                        config.entropy,
                    )
                    self._step(gradients)
                else:
                    losses = self._descend(rows, old, ids, pull)
                totals += losses
                steps += 1
            if config.kl_limit is not None or epoch == config.epochs:
                with torch.no_grad():
                    new = self.actor.respond(seen)
                    kl = float(old.kl(new).mean())
                if config.kl_limit is not None and kl > config.kl_limit:
                    break
        policy_loss, value_loss = (totals / steps).tolist()
        losses = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": float(new.entropy().mean()),
            "kl": kl,
        }
        check_finite("teacher", losses, self.parameters)
        self.measure(batch)
        return {
            **losses,
            "action_std": action_std(self.actor),
            "learning_rate": self.optimiser.param_groups[0]["lr"],
        }

    def _descend(self, rows: Rows, old: Distribution, ids: Tensor, pull: Pull | None) -> Tensor:
        """One step by autograd; policy and value loss, (2,)."""
        config = self.config
        distribution = self.actor.respond(rows.seen)
        value = self.critic.network(rows.valued).squeeze(-1)
        ratio = torch.exp(distribution.log_prob(rows.action) - rows.log_prob)
        policy_loss = -surrogate(ratio, rows.advantage, config.clip).mean()
        value_loss = (value - rows.target).square().mean()
        loss = policy_loss + config.value_weight * value_loss
        if config.entropy > 0.0:
            loss = loss - config.entropy * distribution.entropy().mean()
        gradients = torch.autograd.grad(loss, self.parameters, retain_graph=pull is not None)
        if pull is not None:
            kl = distribution.kl(pull.towards.select(ids)).mean()
            found = torch.autograd.grad(pull.weight * kl, pull.moves)
            by_pull = dict(zip(pull.moves, found, strict=True))
            gradients = [
                gradient + by_pull.get(parameter, 0.0)
                for parameter, gradient in zip(self.parameters, gradients, strict=True)
            ]
        self._step(gradients)
        if config.learning_rate_schedule == "adaptive":
            with torch.no_grad():
                self._follow(float(old.select(ids).kl(distribution).mean()))
        return torch.stack([policy_loss, value_loss]).detach()

    def _step(self, gradients: Sequence[Tensor]) -> None:
        """Move all parameters by their gradients, which are clipped together."""
        self.flat.grad = torch.cat([gradient.flatten() for gradient in gradients])
        nn.utils.clip_grad_norm_(self.flat, self.config.max_gradient_norm)
        self.optimiser.step()

    def _follow(self, kl: float) -> None:
        """Move the learning rate towards the target KL (rsl_rl's adaptive schedule)."""
        group = self.optimiser.param_groups[0]
        if kl > 2.0 * self.config.target_kl:
            group["lr"] = max(1e-5, group["lr"] / 1.5)
        elif 0.0 < kl < 0.5 * self.config.target_kl:
            group["lr"] = min(1e-2, group["lr"] * 1.5)

    def measure(self, batch: Batch) -> None:
        """Merge a batch into the statistics of actor and critic."""
        self.actor.normaliser.update(batch.observations["teacher"])
        self.critic.normaliser.update(batch.observations["teacher"])

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser and random stream."""
        return {
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "optimiser": optimiser_state(self.optimiser),
            "generator": self.generator.get_state(),
            "return_scale": self.return_scale.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.actor.load_state_dict(state["actor"])
        self.critic.load_state_dict(state["critic"])
        load_optimiser_state(self.optimiser, state["optimiser"])
        self.generator.set_state(state["generator"])
        self.return_scale.load_state_dict(state.get("return_scale", {}))


def learning_reward(batch: Batch, gamma: float, fall_penalty: float) -> Tensor:
    """``(1 - gamma) r``, less ``fall_penalty`` where an episode terminated, (T, N).

    Scaled so that values are of order one whatever gamma is. Without the penalty a policy that
    holds its speed exactly while it topples is a local optimum PPO takes long to leave.
    """
    return batch.reward * (1.0 - gamma) - fall_penalty * batch.terminated.to(batch.reward.dtype)


def action_std(actor: Actor) -> float:
    """Mean deviation of a Gaussian actor; 0 for one that chooses."""
    return float(actor.log_std.detach().exp().mean()) if isinstance(actor, GaussianActor) else 0.0


def surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """``min(rho A, clip(rho, 1 - eps, 1 + eps) A)``, per sample, to be maximised."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def standardise(x: Tensor) -> Tensor:
    """Zero mean, unit deviation over all entries; zero where there is nothing to compare with."""
    if x.numel() < 2:
        return torch.zeros_like(x)
    return (x - x.mean()) / (x.std() + 1e-8)


def train(
    ppo: PPO, source: RolloutSource, *, steps_done: int = 0, seconds: float = 0.0
) -> Iterator[dict[str, Any]]:
    """Yield one dict of figures per iteration until the budget of environment steps is spent."""
    config = ppo.config
    per_iteration = config.ticks * config.num_envs
    if steps_done == 0:
        # The first rollout only gives the normaliser its scale: learning from it would compare
        # probabilities under two scales.
        began = time.perf_counter()
        ppo.measure(source.collect(ppo.act))
        seconds += time.perf_counter() - began
        steps_done = per_iteration
    while steps_done < config.steps:
        began = time.perf_counter()
        ppo.fraction = min(1.0, steps_done / config.steps)
        batch = source.collect(ppo.act)
        figures = ppo.update(batch)
        elapsed = time.perf_counter() - began
        steps_done += per_iteration
        seconds += elapsed
        simulated_minutes = per_iteration * source.env.period / 60.0
        episodes = batch.episodes
        score = float(episodes.score.mean()) if len(episodes.score) else None
        yield {
            "steps": steps_done,
            "seconds": seconds,
            "steps_per_second": per_iteration / elapsed,
            "score": score,
            "reward": float(batch.reward.mean()),
            "episode_return": None if score is None else score * source.env.episode_ticks,
            "falls_per_minute": float(batch.terminated.sum()) / simulated_minutes,
            **figures,
        }
