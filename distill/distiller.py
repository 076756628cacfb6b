"""Distillation with PPO's verbs: the student acts, teachers label, named terms are minimised.

Who acts is the source's business, what is minimised the terms'; neither knows the other.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Literal

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
)
from .batch import STUDENT, TEACHER, Batch, critic_advantages, spread
from .checkpoint import load_optimiser_state, optimiser_state
from .concurrent import ConcurrentConfig
from .curriculum import Curriculum
from .distributions import Distribution
from .diverged import check_finite
from .losses.policy import corrected_reward
from .mixture import MixtureConfig, mix, teacher_weights
from .networks import Critic
from .ppo import BUDGET, DISCOUNT, EVENT_RATE, WIDTH, learning_reward
from .rollout import RolloutSource
from .students import Student
from .teacher import Teacher, TeacherOutput
from .terms import Sample, Term, TermConfig, TermError, make_term, weighted_sum

Mode = Literal["student", "teacher", "mixed", "aggregate", "concurrent"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Settings of distillation; the defaults distil the balancer.

    ``mode`` says where the data comes from. ``student``: the student acts, but for
    ``teacher_share`` of the environments. ``teacher``: the teacher acts in all of them. ``mixed``:
    the teacher's share falls linearly from all to ``teacher_share``. ``aggregate``: as ``student``,
    and labelled batches are kept and learnt from again (DAgger, Ross et al. 2011). ``concurrent``:
    as ``student``, while the teacher goes on learning (``concurrent`` says how).
    """

    mode: Mode = "student"
    steps: int = 1_600_000  # environment steps in all, the teacher's share included
    num_envs: int = 512
    ticks: int = 24
    episode_seconds: float = 2.5  # one window of the curriculum
    event_rate: float = 2.0  # as in PPOConfig
    teacher_share: float = 0.15  # of the environments that the teacher drives
    kept_batches: int = 50  # of ``aggregate``; the oldest go first
    terms: tuple[TermConfig, ...] = (
        TermConfig(name="policy_kl", weight=1.0, end=0.05, schedule="linear"),
        TermConfig(name="value"),
        TermConfig(name="rl", weight=0.0, end=1.0, schedule="linear"),
    )
    teachers: MixtureConfig = MixtureConfig()
    concurrent: ConcurrentConfig = ConcurrentConfig()
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
        check_fields(
            self,
            **BUDGET,
            critic_hidden=WIDTH,
            gamma=DISCOUNT,
            lam=SHARE,
            learning_rate=Range(0.0, 1.0, open_low=True),
            final_learning_rate=between(0.0, 1.0),
            max_gradient_norm=POSITIVE,
            episode_seconds=SECONDS,
            event_rate=EVENT_RATE,
            teacher_share=SHARE,
            kept_batches=between(1, 10**6),
            std_floor=POSITIVE,
            fall_penalty=NOT_NEGATIVE,
        )
        check("minibatches", self.minibatches, between(1, self.num_envs))  # of environments
        if not self.terms:
            raise ValueError("distill.terms is empty; name at least one, as 'policy_kl'")
        for i, term in enumerate(self.terms):
            try:
                make_term(term)  # a mistake here should not wait for the teacher
            except TermError as error:
                raise ValueError(f"distill.terms[{i}]: {error}") from error

    def share(self, fraction: float) -> float:
        """Share of the environments that the teacher drives after ``fraction`` of the budget."""
        if self.mode == "teacher":
            return 1.0
        if self.mode == "concurrent":
            return self.concurrent.teacher_share
        if self.mode == "mixed":
            return 1.0 + (self.teacher_share - 1.0) * min(max(fraction, 0.0), 1.0)
        return self.teacher_share


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A batch with what teachers and critic say of it."""

    batch: Batch
    teachers: tuple[TeacherOutput, ...]  # (T, N, ...) each
    weights: Tensor  # (T, N, teachers)
    advantage: Tensor  # (T, N)
    lambda_return: Tensor  # (T, N)
    own: Tensor  # (T, N)


class Distiller:
    """A learner with three verbs: ``act``, ``record``, ``update``.

    Args:
        config: settings.
        student: learns, and acts.
        teachers: label; the first one drives where a teacher acts, or that of the task.
        critic: the student's, on the privileged observation; it never leaves training.
        seed: of sampled actions and minibatches.
    """

    def __init__(
        self,
        config: DistillConfig,
        student: Student,
        teachers: Teacher | Sequence[Teacher],
        critic: Critic,
        seed: int,
    ) -> None:
        self.config = config
        self.student, self.critic = student, critic
        self.teachers: tuple[Teacher, ...] = (
            tuple(teachers) if isinstance(teachers, Sequence) else (teachers,)
        )
        self.terms = [(term, make_term(term)) for term in config.terms]
        self.needs = frozenset[str]().union(*(term.needs for _, term in self.terms))
        self.generator = torch.Generator().manual_seed(seed)
        self.queries = 0  # situations the teachers have labelled
        self._kept: deque[Recorded] = deque(maxlen=config.kept_batches)
        self._optimise()

    @torch.no_grad()
    def act(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The student's sampled action (N, actions), its log-probability (N,), its new state."""
        distribution, state = self.student(groups["student"][None], state, reset[None])
        action = distribution.sample(self.generator)
        return action[0], distribution.log_prob(action)[0], state

    @torch.no_grad()
    def act_as_teacher(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The first teacher's sampled action; as ``act``."""
        sequence = {group: values[None] for group, values in groups.items()}
        teacher = self.teachers[0]
        output, _ = teacher(sequence, teacher.initial_state(len(reset)), reset[None])
        action = output.distribution.sample(self.generator)
        return action[0], output.distribution.log_prob(action)[0], state

    @torch.no_grad()
    def record(self, batch: Batch, fraction: float) -> Recorded:
        """Label a batch, add pseudo-rewards, estimate advantages."""
        config = self.config
        self._prepare(batch)
        teachers = tuple(self._label(batch))
        value = self.critic(batch.observations["teacher"])
        weights = teacher_weights(
            config.teachers, batch.task, [said.value for said in teachers], value
        )
        own = (batch.driver == STUDENT).to(value.dtype).expand_as(value)
        reward = learning_reward(batch, config.gamma, config.fall_penalty)
        for settings, term in self.terms:
            if term.corrected:
                # In the units of the reward, which is scaled by (1 - gamma).
                weight = settings.at(fraction, 0.0) * (1.0 - config.gamma)
                reward = reward + weight * self._pseudo_reward(term, batch, teachers, weights)
        advantage, target = critic_advantages(
            batch, reward, self.critic, gamma=config.gamma, lam=config.lam
        )
        recorded = Recorded(batch, teachers, weights, advantage, target, own)
        if config.mode == "aggregate":
            # What is learnt from again was taken by an older student: no material for RL.
            self._kept.append(dataclasses.replace(recorded, own=torch.zeros_like(own)))
        return recorded

    def update(
        self, recorded: Recorded, fraction: float, relative_score: float
    ) -> dict[str, float]:
        """Some epochs over the batch in minibatches of whole environments.

        Returns:
            Mean loss of each term by name.

        Raises:
            DivergedError: one of them or a weight is not finite.
        """
        config = self.config
        rate = config.learning_rate
        rate += (config.final_learning_rate - rate) * min(max(fraction, 0.0), 1.0)
        self.optimiser.param_groups[0]["lr"] = rate
        weights = [term.at(fraction, relative_score) for term, _ in self.terms]
        totals = torch.zeros(len(self.terms))
        for epoch in range(config.epochs):
            order = torch.randperm(recorded.batch.num_envs, generator=self.generator)
            for ids in order.chunk(config.minibatches):
                part = recorded if epoch == 0 else self._again(recorded)
                totals += self._descend(self._sample(part, ids, fraction), part, ids, weights)
        means = (totals / (config.epochs * config.minibatches)).tolist()
        losses = {term.name: mean for (term, _), mean in zip(self.terms, means, strict=True)}
        check_finite("distill", losses, self.parameters)
        self.normalise(recorded.batch.observations)
        return losses

    def _descend(
        self, sample: Sample, recorded: Recorded, ids: Tensor, weights: list[float]
    ) -> Tensor:
        """One step downhill; the mean loss of each term."""
        losses = [
            self._loss(term, sample, recorded, ids) if weight else torch.zeros(1)
            for weight, (_, term) in zip(weights, self.terms, strict=True)
        ]
        named = {
            f"{i}": (weight, loss)
            for i, (weight, loss) in enumerate(zip(weights, losses, strict=True))
        }
        self.optimiser.zero_grad()
        weighted_sum(named).backward()
        nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient_norm)
        self.optimiser.step()
        return torch.stack([loss.detach().mean() for loss in losses])

    def _loss(self, term: Term, sample: Sample, recorded: Recorded, ids: Tensor) -> Tensor:
        """A term's loss, (T, n): over the teachers by their weights if it compares with them."""
        if not term.taught or len(self.teachers) == 1:
            loss = term.loss(sample)
            return loss * recorded.weights[:, ids, 0] if term.taught else loss
        part = (slice(None), ids)
        losses = []
        for teacher, said in zip(self.teachers, recorded.teachers, strict=True):
            one = dataclasses.replace(
                sample, teacher=said.select(part), ask=_asking(teacher, sample.reset)
            )
            losses.append(term.loss(one))
        return mix(recorded.weights[:, ids], losses)

    def _sample(self, recorded: Recorded, ids: Tensor, fraction: float) -> Sample:
        batch = recorded.batch
        observations = {group: values[:, ids] for group, values in batch.observations.items()}
        reset, action = batch.reset[:, ids], batch.action[:, ids]
        student, features = self._student(observations["student"], batch.initial_state[ids], reset)
        own = recorded.own[:, ids]
        change = student.log_prob(action) - batch.log_prob[:, ids]
        # Chosen before the exponential: one that overflows where it is not used spoils gradients.
        ratio = torch.exp(torch.where(own > 0, change, torch.zeros_like(change)))
        advantage = recorded.advantage[:, ids]
        chosen = advantage[own > 0]
        if len(chosen) > 1:
            advantage = (advantage - chosen.mean()) / (chosen.std() + 1e-8)
        sample = Sample(
            observations=observations,
            reset=reset,
            student=student,
            teacher=recorded.teachers[0].select((slice(None), ids)),
            action=action,
            value=self.critic(observations["teacher"]),
            ratio=ratio,
            advantage=advantage,
            lambda_return=recorded.lambda_return[:, ids],
            own=own,
            fraction=fraction,
            generator=self.generator,
            features=features,
        )
        if "respond" in self.needs:
            memory = features.get("memory")
            held = None if memory is None else memory.detach()
            sample.normalised = self.student.normaliser(observations["student"])
            sample.scale = self.student.normaliser.std
            sample.respond = lambda normalised: self.student.respond(normalised, held)
            sample.ask = _asking(self.teachers[0], reset)
        return sample

    def _student(
        self, sequence: Tensor, state: Tensor, reset: Tensor
    ) -> tuple[Distribution, dict[str, Tensor]]:
        if self.needs & {"features", "respond"}:
            distribution, _, features = self.student.forward_features(sequence, state, reset)
            return distribution, features
        return self.student(sequence, state, reset)[0], {}

    def _label(self, batch: Batch) -> Iterator[TeacherOutput]:
        """What every teacher says of a batch; what stands in it already, if anything does."""
        if batch.labels is not None:
            yield from batch.labels
            return
        for teacher in self.teachers:
            output, _ = teacher(
                batch.observations, teacher.initial_state(batch.num_envs), batch.reset
            )
            self.queries += batch.ticks * batch.num_envs
            if "teacher_features" not in self.needs:
                output = dataclasses.replace(output, features={})
            yield output

    def _pseudo_reward(
        self, term: Term, batch: Batch, teachers: tuple[TeacherOutput, ...], weights: Tensor
    ) -> Tensor:
        """``-l(s')`` of a corrected term, (T, N)."""
        seen = batch.observations
        student, state, features = self.student.forward_features(
            seen["student"], batch.initial_state, batch.reset
        )
        at = self._compare(term, student, teachers, weights)
        never = torch.zeros(1, batch.num_envs, dtype=torch.bool)
        last = {group: values[None] for group, values in batch.last_observations.items()}
        ended = batch.terminated[-1] | batch.truncated[-1]
        after, _, _ = self.student.forward_features(last["student"], state, ended[None])
        said = self._ask(last, never)
        last_loss = self._compare(term, after, said, weights[-1:])[0]
        final_loss = torch.zeros_like(batch.reward)
        if len(batch.final_index):
            final = {group: values[None] for group, values in batch.final_observations.items()}
            tick, env = batch.final_index.unbind(-1)
            memory = batch.initial_state[env]
            if "memory" in features:  # the state before the next tick, not yet forgotten
                memory = self._state_after(batch, features["memory"], tick, env)
            one, _, _ = self.student.forward_features(final["student"], memory, never[:, env])
            said = self._ask(final, never[:, env])
            rows = self._compare(term, one, said, weights[tick, env][None])[0]
            final_loss = spread(batch, rows)
        return corrected_reward(
            at, last_loss, final_loss, batch.terminated, batch.truncated, self.config.gamma
        )

    def _state_after(self, batch: Batch, memory: Tensor, tick: Tensor, env: Tensor) -> Tensor:
        """The student's state after ``tick`` of ``env``, (K, state_size), resets left out."""
        sequence = batch.observations["student"][tick, env][None]
        first = batch.reset[tick, env][None]
        return self.student(sequence, memory[tick, env], first)[1]

    def _ask(self, groups: dict[str, Tensor], reset: Tensor) -> tuple[TeacherOutput, ...]:
        n = reset.shape[1]
        return tuple(t(groups, t.initial_state(n), reset)[0] for t in self.teachers)

    def _compare(
        self,
        term: Term,
        student: Distribution,
        teachers: tuple[TeacherOutput, ...],
        weights: Tensor,
    ) -> Tensor:
        """A corrected term's loss where nothing but distributions is needed, (T, N)."""
        blank = torch.zeros(student.batch_shape)
        losses = []
        for said in teachers:
            sample = Sample(
                observations={},
                reset=blank > 0,
                student=student,
                teacher=said,
                action=blank,
                value=blank,
                ratio=blank + 1.0,
                advantage=blank,
                lambda_return=blank,
                own=blank + 1.0,
                fraction=0.0,
                generator=self.generator,
            )
            losses.append(term.loss(sample))
        return mix(weights, losses)

    def _again(self, recorded: Recorded) -> Recorded:
        """What a later epoch learns from: the batch at hand, or one that was kept."""
        if not self._kept:
            return recorded
        pick = torch.randint(len(self._kept), (), generator=self.generator)
        return self._kept[int(pick)]

    def _prepare(self, batch: Batch) -> None:
        """Let terms size what they learn on the first batch; then the optimiser knows it too."""
        waiting = [term for _, term in self.terms if not term.prepared]
        if not waiting:
            return
        teachers = tuple(self._label(batch))
        blank = torch.zeros_like(batch.reward)
        recorded = Recorded(
            batch, teachers, torch.ones(*blank.shape, len(teachers)), blank, blank, blank
        )
        sample = self._sample(recorded, torch.arange(min(2, batch.num_envs)), 0.0)
        seed = int(torch.randint(1 << 31, (), generator=self.generator))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for term in waiting:
                term.prepare(sample)
                term.prepared = True
        self._optimise()

    def _optimise(self) -> None:
        self.parameters = [
            *self.student.parameters(),
            *self.critic.parameters(),
            *(p for _, term in self.terms for p in term.parameters()),
        ]
        self.optimiser = torch.optim.Adam(self.parameters, lr=self.config.learning_rate)

    def normalise(self, observations: dict[str, Tensor]) -> None:
        """Merge observations (..., size) into the statistics of student and critic."""
        self.student.normaliser.update(observations["student"])
        self.critic.normaliser.update(observations["teacher"])

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, random stream."""
        return {
            "student": self.student.state_dict(),
            "critic": self.critic.state_dict(),
            "terms": {str(i): term.state_dict() for i, (_, term) in enumerate(self.terms)},
            "optimiser": optimiser_state(self.optimiser),
            "generator": self.generator.get_state(),
            "queries": self.queries,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.student.load_state_dict(state["student"])
        self.critic.load_state_dict(state["critic"])
        for i, (_, term) in enumerate(self.terms):
            term.load_state_dict(state.get("terms", {}).get(str(i), {}))
            term.prepared = True
        self._optimise()
        load_optimiser_state(self.optimiser, state["optimiser"])
        self.generator.set_state(state["generator"])
        self.queries = int(state["queries"])


def _asking(teacher: Teacher, reset: Tensor) -> Any:
    """A function from observation groups to what ``teacher`` says of them."""
    return lambda groups: teacher(groups, teacher.initial_state(reset.shape[1]), reset)[0]


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
        source.share_with_teacher(config.share(fraction))
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
        minutes = per_iteration * source.env.period / 60.0
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
