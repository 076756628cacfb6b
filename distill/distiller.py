"""Distillation with PPO's verbs: the student acts, the teacher labels, named terms are minimised.

Who acts is the source's business, what is minimised the terms'; neither knows the other.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batch import STUDENT, TEACHER, Batch, critic_advantages
from .checkpoint import load_optimiser_state, optimiser_state
from .curriculum import Curriculum
from .networks import Critic, log_prob
from .ppo import check_sizes, learning_reward
from .rollout import RolloutSource
from .students import Student
from .teacher import Teacher, TeacherOutput
from .terms import Sample, TermConfig, make_term, weighted_sum


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Settings of distillation; the defaults distil the balancer."""

    steps: int = 1_600_000  # environment steps in all, the teacher's share included
    num_envs: int = 512
    ticks: int = 24
    episode_seconds: float = 2.5  # one window of the curriculum
    event_rate: float = 2.0  # as in PPOConfig
    teacher_share: float = 0.15  # of the environments that the teacher drives
    terms: tuple[TermConfig, ...] = (
        TermConfig(name="policy_kl", weight=1.0, end=0.05, schedule="linear"),
        TermConfig(name="value"),
        TermConfig(name="rl", weight=0.0, end=1.0, schedule="linear"),
    )
    critic_hidden: tuple[int, ...] = (64, 64)
    std_floor: float = 0.05  # least deviation the teacher may claim
    epochs: int = 2
    minibatches: int = 4
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-4
    gamma: float = 0.985
    lam: float = 0.95
    fall_penalty: float = 3.0  # PPO's final one, so that values mean the same
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        for term in self.terms:
            make_term(term)  # a mistake here should not wait for the teacher
        check_sizes(self.steps, self.num_envs, self.ticks, self.epochs, self.minibatches)
        if not 0 <= self.teacher_share <= 1:
            raise ValueError(f"distill.teacher_share is {self.teacher_share}; use 0 to 1")


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A batch with what teacher and critic say of it."""

    batch: Batch
    teacher: TeacherOutput  # (T, N, ...)
    advantage: Tensor  # (T, N)
    lambda_return: Tensor  # (T, N)
    own: Tensor  # (T, N)


class Distiller:
    """A learner with three verbs: ``act``, ``record``, ``update``.

    Args:
        config: settings.
        student: learns, and acts.
        teacher: labels.
        critic: the student's, on the privileged observation; it never leaves training.
        seed: of sampled actions and minibatches.
    """

    def __init__(
        self,
        config: DistillConfig,
        student: Student,
        teacher: Teacher,
        critic: Critic,
        seed: int,
    ) -> None:
        self.config = config
        self.student, self.teacher, self.critic = student, teacher, critic
        self.terms = [(term, make_term(term)) for term in config.terms]
        self.parameters = [
            *student.parameters(),
            *critic.parameters(),
            *(p for _, term in self.terms for p in term.parameters()),
        ]
        self.optimiser = torch.optim.Adam(self.parameters, lr=config.learning_rate)
        self.generator = torch.Generator().manual_seed(seed)
        self.queries = 0  # situations the teacher has labelled

    @torch.no_grad()
    def act(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The student's sampled action (N, actions), its log-probability (N,), its new state."""
        distribution, state = self.student(groups["student"][None], state, reset[None])
        noise = torch.randn(distribution.mean.shape, generator=self.generator)
        action = distribution.mean + distribution.stddev * noise
        return action[0], log_prob(distribution, action)[0], state

    @torch.no_grad()
    def act_as_teacher(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's sampled action; as ``act``."""
        sequence = {group: values[None] for group, values in groups.items()}
        nothing = self.teacher.initial_state(len(reset))
        output, _ = self.teacher(sequence, nothing, reset[None])
        distribution = output.distribution
        noise = torch.randn(distribution.mean.shape, generator=self.generator)
        action = distribution.mean + distribution.stddev * noise
        return action[0], log_prob(distribution, action)[0], state

    @torch.no_grad()
    def record(self, batch: Batch, fraction: float) -> Recorded:
        """Label a batch, add pseudo-rewards, estimate advantages."""
        config, observations = self.config, batch.observations
        initial = self.teacher.initial_state(batch.num_envs)
        teacher, _ = self.teacher(observations, initial, batch.reset)
        self.queries += batch.ticks * batch.num_envs
        value = self.critic(observations["teacher"])
        own = (batch.driver == STUDENT).to(value.dtype).expand_as(value)
        reward = learning_reward(batch, config.gamma, config.fall_penalty)
        for _, term in self.terms:
            student, _ = self.student(observations["student"], batch.initial_state, batch.reset)
            blank = torch.zeros_like(value)
            sample = Sample(
                student, value, teacher, batch.action, blank + 1.0, blank, blank, own, fraction
            )
            extra = term.pseudo_reward(sample)
            if extra is not None:
                reward = reward + extra
        advantage, target = critic_advantages(
            batch, reward, self.critic, gamma=config.gamma, lam=config.lam
        )
        return Recorded(batch, teacher, advantage, target, own)

    def update(
        self, recorded: Recorded, fraction: float, relative_score: float
    ) -> dict[str, float]:
        """Some epochs over the batch in minibatches of whole environments.

        Returns:
            Mean loss of each term by name.
        """
        config, batch = self.config, recorded.batch
        rate = config.learning_rate
        rate += (config.final_learning_rate - rate) * min(max(fraction, 0.0), 1.0)
        self.optimiser.param_groups[0]["lr"] = rate
        weights = [term.at(fraction, relative_score) for term, _ in self.terms]
        totals = torch.zeros(len(self.terms))
        for _ in range(config.epochs):
            order = torch.randperm(batch.num_envs, generator=self.generator)
            for ids in order.chunk(config.minibatches):
                sample = self._sample(recorded, ids, fraction)
                losses = [term.loss(sample) for _, term in self.terms]
                named = {
                    f"{i}": (weight, loss)
                    for i, (weight, loss) in enumerate(zip(weights, losses, strict=True))
                }
                self.optimiser.zero_grad()
                weighted_sum(named).backward()
                nn.utils.clip_grad_norm_(self.parameters, config.max_gradient_norm)
                self.optimiser.step()
                totals += torch.stack([loss.detach().mean() for loss in losses])
        self.normalise(batch.observations)
        means = (totals / (config.epochs * config.minibatches)).tolist()
        return {term.name: mean for (term, _), mean in zip(self.terms, means, strict=True)}

    def _sample(self, recorded: Recorded, ids: Tensor, fraction: float) -> Sample:
        batch = recorded.batch
        student, _ = self.student(
            batch.observations["student"][:, ids],
            batch.initial_state[ids],
            batch.reset[:, ids],
        )
        action = batch.action[:, ids]
        ratio = torch.exp(log_prob(student, action) - batch.log_prob[:, ids])
        own = recorded.own[:, ids]
        advantage = recorded.advantage[:, ids]
        chosen = advantage[own > 0]
        if len(chosen) > 1:
            advantage = (advantage - chosen.mean()) / (chosen.std() + 1e-8)
        return Sample(
            student=student,
            value=self.critic(batch.observations["teacher"][:, ids]),
            teacher=_pick(recorded.teacher, ids),
            action=action,
            ratio=torch.where(own > 0, ratio, torch.ones_like(ratio)),
            advantage=advantage,
            lambda_return=recorded.lambda_return[:, ids],
            own=own,
            fraction=fraction,
        )

    def normalise(self, observations: dict[str, Tensor]) -> None:
        """Merge observations (..., size) into the statistics of student and critic."""
        self.student.normaliser.update(observations["student"])
        self.critic.normaliser.update(observations["teacher"])

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, random stream."""
        return {
            "student": self.student.state_dict(),
            "critic": self.critic.state_dict(),
            "optimiser": optimiser_state(self.optimiser),
            "generator": self.generator.get_state(),
            "queries": self.queries,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.student.load_state_dict(state["student"])
        self.critic.load_state_dict(state["critic"])
        load_optimiser_state(self.optimiser, state["optimiser"])
        self.generator.set_state(state["generator"])
        self.queries = int(state["queries"])


def distil(
    distiller: Distiller,
    source: RolloutSource,
    curriculum: Curriculum,
    *,
    steps_done: int = 0,
    seconds: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Yield one dict of figures per iteration until the budget of environment steps is spent."""
    config = distiller.config
    per_iteration = config.ticks * config.num_envs
    if steps_done == 0:  # as in PPO: the first rollout gives the normalisers their scale
        distiller.normalise(source.collect(distiller.act, distiller.act_as_teacher).observations)
        steps_done = per_iteration
    while steps_done < config.steps:
        began = time.perf_counter()
        fraction = steps_done / config.steps
        batch = source.collect(distiller.act, distiller.act_as_teacher)
        episodes = batch.episodes
        by_teacher = (batch.driver == TEACHER)[episodes.env].numpy()
        score = episodes.score.numpy()
        curriculum.record(episodes.running.numpy(), score, by_teacher)
        recorded = distiller.record(batch, fraction)
        losses = distiller.update(recorded, fraction, curriculum.relative_score())
        curriculum.advance(fraction)
        elapsed = time.perf_counter() - began
        steps_done += per_iteration
        seconds += elapsed
        students = ~(batch.driver == TEACHER)
        minutes = per_iteration * source.env.contract.period / 60.0
        falls = float(batch.terminated[:, students].sum())
        yield {
            "steps": steps_done,
            "seconds": seconds,
            "steps_per_second": per_iteration / elapsed,
            "score_student": _mean(score[~by_teacher]),
            "score_teacher": _mean(score[by_teacher]),
            "levels": curriculum.frontier,
            "terms": losses,
            "falls_per_minute": falls / (minutes * float(students.float().mean()) + 1e-9),
            "teacher_queries": distiller.queries,
            "learning_rate": distiller.optimiser.param_groups[0]["lr"],
        }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _pick(output: TeacherOutput, ids: Tensor) -> TeacherOutput:
    distribution = output.distribution
    picked = type(distribution)(
        distribution.mean[:, ids], distribution.stddev[:, ids], validate_args=False
    )
    rest = (None if x is None else x[:, ids] for x in (output.value, output.q, output.latent))
    return TeacherOutput(picked, *rest)
