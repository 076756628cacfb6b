"""Distillation with PPO's verbs: the student acts, teachers label, named terms are minimised.

Who acts is the source's business, what is minimised the terms'; neither knows the other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..hardware.errors import RetortError
from .batch import STUDENT, Batch, critic_advantages
from .checkpoint import load_optimiser_state, optimiser_state
from .distill_config import DistillConfig
from .distributions import Categorical, Distribution
from .diverged import check_finite
from .kept import KeptBatches, Recorded
from .mixture import mix, teacher_weights
from .networks import Critic
from .ppo import learning_reward
from .pseudo_reward import pseudo_reward
from .students import Student
from .teacher import Teacher, TeacherOutput, sampled_action
from .terms import Sample, Term, make_term


class Distiller:
    """A learner with three verbs: ``act``, ``record``, ``update``.

    Args:
        config: settings.
        student: learns, and acts.
        teachers: label; the first one drives where a teacher acts.
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
        self.labels = _labels([term.name for term in config.terms])
        self.needs = frozenset[str]().union(*(term.needs for _, term in self.terms))
        self.generator = torch.Generator().manual_seed(seed)
        self.queries = 0  # situations the teachers have labelled
        self._kept = KeptBatches(config.kept_batches)
        self._optimise()

    @torch.no_grad()
    def act(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The student's sampled action (N, actions), its log-probability (N,), its new state."""
        distribution, state = self.student(groups["student"][None], state, reset[None])
        if self.config.epsilon is not None:
            distribution = _exploring(distribution, self.config.epsilon)
        action = distribution.sample(self.generator)
        return action[0], distribution.log_prob(action)[0], state

    @torch.no_grad()
    def act_as_teacher(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The first teacher's sampled action; as ``act``."""
        return (*sampled_action(self.teachers[0], groups, reset, self.generator), state)

    @torch.no_grad()
    def record(self, batch: Batch, fraction: float, relative_score: float = 0.0) -> Recorded:
        """Label a batch, add pseudo-rewards, estimate advantages.

        Args:
            batch: what was done.
            fraction: of the budget that is spent, 0 to 1.
            relative_score: (J_S - J_0) / (J_T - J_0), for weights that follow it.
        """
        config = self.config
        self._prepare(batch)
        teachers = self._label(batch)
        value = self.critic(batch.observations["teacher"])
        weights = teacher_weights(
            config.teachers, batch.task, [said.value for said in teachers], value, fraction
        )
        own = (batch.driver == STUDENT).to(value.dtype).expand_as(value)
        reward = learning_reward(batch, config.gamma, config.fall_penalty)
        for settings, term in self.terms:
            if term.corrected:
                # In the units of the reward, which is scaled by (1 - gamma).
                weight = settings.at(fraction, relative_score) * (1.0 - config.gamma)
                reward = reward + weight * pseudo_reward(
                    term, batch, self.student, self.teachers, teachers, weights,
                    discount=config.gamma, generator=self.generator,
                )  # fmt: skip
        advantage, target = critic_advantages(
            batch, reward, self.critic, gamma=config.gamma, lam=config.lam
        )
        expected = _expected(teachers, weights, target)
        recorded = Recorded(batch, teachers, weights, advantage, target, own, expected)
        if config.mode == "aggregate":
            self._kept.keep(recorded)
        return recorded

    def update(
        self, recorded: Recorded, fraction: float, relative_score: float
    ) -> dict[str, float]:
        """Some epochs over the batch in minibatches of whole environments.

        Returns:
            Mean loss of each term by name, numbered where a name stands more than once.

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
                part = recorded
                if epoch > 0 and config.mode == "aggregate":
                    part = self._kept.pick(self.generator)
                totals += self._descend(self._sample(part, ids, fraction), part, ids, weights)
        means = (totals / (config.epochs * config.minibatches)).tolist()
        losses = dict(zip(self.labels, means, strict=True))
        check_finite("distill", losses, self.parameters)
        self.normalise(recorded.batch.observations)
        return losses

    def _descend(
        self, sample: Sample, recorded: Recorded, ids: Tensor, weights: list[float]
    ) -> Tensor:
        """One step downhill; the mean loss of each term."""
        acted = bool(sample.own.any())
        losses = [
            self._loss(term, sample, recorded, ids)
            if weight and (acted or not term.own)
            else torch.zeros(1)
            for weight, (_, term) in zip(weights, self.terms, strict=True)
        ]
        means = torch.stack([loss.mean() for loss in losses])
        if not means.requires_grad:
            return means  # there is nothing to be learnt from this minibatch
        self.optimiser.zero_grad()
        (torch.tensor(weights) * means).sum().backward()
        nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient_norm)
        self.optimiser.step()
        return means.detach()

    def _loss(self, term: Term, sample: Sample, recorded: Recorded, ids: Tensor) -> Tensor:
        """A term's loss, (T, n): over the teachers by their weights if it compares with them."""
        loss = self._taught_loss(term, sample, recorded, ids) if term.taught else term.loss(sample)
        beside = term.untaught(sample)
        return loss if beside is None else loss + beside

    def _taught_loss(self, term: Term, sample: Sample, recorded: Recorded, ids: Tensor) -> Tensor:
        if len(self.teachers) == 1:
            return term.loss(sample) * recorded.weights[:, ids, 0]
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
            value=functools.cache(lambda: self.critic(observations["teacher"])),
            ratio=ratio,
            advantage=advantage,
            lambda_return=recorded.lambda_return[:, ids],
            own=own,
            fraction=fraction,
            expected=None if recorded.expected is None else recorded.expected[:, ids],
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

    def _label(self, batch: Batch) -> tuple[TeacherOutput, ...]:
        """What every teacher says of a batch; what stands in it already, if anything does."""
        if batch.labels is not None:
            return batch.labels
        self.queries += batch.ticks * batch.num_envs * len(self.teachers)
        return tuple(self._said(batch))

    def _said(self, batch: Batch) -> Iterator[TeacherOutput]:
        for teacher in self.teachers:
            output, _ = teacher(
                batch.observations, teacher.initial_state(batch.num_envs), batch.reset
            )
            if "teacher_features" not in self.needs:
                output = dataclasses.replace(output, features={})
            yield output

    def _prepare(self, batch: Batch) -> None:
        """Let terms size what they learn on the first batch; then the optimiser knows it too."""
        waiting = [term for _, term in self.terms if not term.prepared]
        if not waiting:
            return
        teachers = batch.labels or tuple(self._said(batch))
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
        self.optimiser = torch.optim.Adam(self.parameters, lr=self.config.learning_rate, fused=True)

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
            "kept": self._kept.state_dict(),
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
        with torch.no_grad():
            self._kept.load_state_dict(state.get("kept", {}), lambda b: tuple(self._said(b)))


def _expected(
    teachers: Sequence[TeacherOutput], weights: Tensor, lambda_return: Tensor
) -> Tensor | None:
    """What teachers expect by their weights, (T, N); the student's own return where gates are
    closed and for teachers without values. None if no teacher has any.
    """
    if all(said.value is None for said in teachers):
        return None
    values = [lambda_return if said.value is None else said.value for said in teachers]
    return mix(weights, values) + (1.0 - weights.sum(-1)) * lambda_return


def _exploring(distribution: Distribution, epsilon: float) -> Distribution:
    if not isinstance(distribution, Categorical):
        raise RetortError("distill.epsilon is for discrete actions, the student's are continuous")
    return distribution.epsilon_greedy(epsilon)


def _labels(names: list[str]) -> list[str]:
    """Every name once: those that stand more than once are numbered."""
    total, seen = Counter(names), Counter[str]()
    made = []
    for name in names:
        seen[name] += 1
        made.append(name if total[name] == 1 else f"{name}_{seen[name]}")
    return made


def _asking(teacher: Teacher, reset: Tensor) -> Any:
    """A function from observation groups to what ``teacher`` says of them."""
    return lambda groups: teacher(groups, teacher.initial_state(reset.shape[1]), reset)[0]
