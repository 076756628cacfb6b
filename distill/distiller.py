"""Distillation with PPO's verbs: the student acts, teachers label, named terms are minimised.

Who acts is the source's business, what is minimised the terms'; neither knows the other.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..hardware.errors import RetortError
from .batch import STUDENT, Batch, critic_advantages
from .checkpoint import CheckpointError, load_optimiser_state, optimiser_state
from .distill_config import DistillConfig
from .distributions import Categorical, Distribution
from .diverged import check_finite
from .modes import MODES
from .networks import Critic
from .ppo import learning_reward
from .return_scale import ReturnScale
from .sources.kept import KeptBatches, Recorded
from .students import Student
from .teachers import Teacher, TeacherOutput, ValuesOf
from .teachers.mixture import check_compared, mix, teacher_weights
from .teachers.panel import Panel
from .terms import Sample, Term, TermError, make_term
from .terms.base import require_finite, require_gradient
from .terms.pseudo_reward import pseudo_reward


class Distiller:
    """A learner with three verbs: ``act``, ``record``, ``update``.

    Teachers may remember: their hidden states run on from batch to batch, so that the batches of
    one source come in order, each to ``record`` or, if nothing is learnt from it, to ``follow``.

    Args:
        config: settings.
        student: learns, and acts.
        teachers: label; the first one drives where a teacher acts. Those that the mixture's weights
            leave without a say do neither, and are none of the distiller's ``teachers``.
        critic: the student's, on the privileged observation; it never leaves training.
        seed: of sampled actions and minibatches.

    Raises:
        MixtureError: values that the mixture compares do not count the same.
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
        self.terms = [(term, make_term(term)) for term in config.terms]
        self.labels = _labels([term.label for term in config.terms])
        self.needs = frozenset[str]().union(*(term.needs for _, term in self.terms))
        given = tuple(teachers) if isinstance(teachers, Sequence) else (teachers,)
        self.panel = Panel(given, config.teachers, features="teacher_features" in self.needs)
        compared = [getattr(teacher, "values_of", None) for teacher in self.teachers]
        check_compared(config.teachers, compared, ValuesOf(config.gamma, config.fall_penalty))
        # What corrected terms expect of their pseudo-rewards: critics like the student's own.
        self.critics = {term: _blank(critic) for _, term in self.terms if term.corrected}
        self.generator = torch.Generator().manual_seed(seed)
        self._kept = KeptBatches(config.kept_batches)
        self._return_scale = ReturnScale(config.gamma)
        self._optimise()

    @property
    def teachers(self) -> tuple[Teacher, ...]:
        """Those that have a say."""
        return self.panel.teachers

    @property
    def queries(self) -> int:
        """Situations that teachers have labelled."""
        return self.panel.queries

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
        self,
        groups: dict[str, Tensor],
        state: Tensor,
        reset: Tensor,
        tasks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The sampled action of the first teacher, or where they are weighed by task of that of the
        task; as ``act``, whose state it leaves alone.

        Args:
            groups: observations by group, (N, size) each.
            state: the student's.
            reset: (N,) bool.
            tasks: (N,) int64, which task each environment sets.

        Raises:
            MixtureError: teachers are weighed by task, and which those are is not said, or one has
                no teacher.
        """
        action, log_prob = self.panel.drive(groups, reset, self.generator, tasks)
        return action, log_prob, state

    def follow(self, batch: Batch) -> None:
        """Let the teachers that remember see a batch from which nothing is learnt."""
        self.panel.follow(batch)

    @torch.no_grad()
    def record(self, batch: Batch, fraction: float) -> Recorded:
        """Label a batch, estimate advantages of its reward and of pseudo-rewards.

        Args:
            batch: what was done.
            fraction: of the budget that is spent, 0 to 1.
        """
        config = self.config
        batch = dataclasses.replace(batch, teacher_states=self.panel.before(batch))
        self._prepare(batch)
        if config.reward_scale == "return":
            self._return_scale.update(batch)
        teachers = self.panel.label(batch)
        weights = self._weigh_along(batch, teachers, fraction)
        own = (batch.driver == STUDENT).to(batch.reward.dtype).expand_as(batch.reward)
        reward = learning_reward(batch, config.gamma, config.fall_penalty) / self._value_unit
        advantage, target = critic_advantages(
            batch, reward, self.critic, gamma=config.gamma, lam=config.lam
        )
        expected = None
        if not config.teachers.gated:  # whoever is compared with teachers must not be told by them
            expected = _expected(teachers, weights, target, self._value_unit)
        pseudo = self._pseudo_advantages(batch, teachers, weights, fraction)
        recorded = Recorded(batch, teachers, weights, advantage, target, own, expected, pseudo)
        if MODES[config.mode].keeps:
            self._kept.keep(recorded)
        return recorded

    @torch.no_grad()
    def _weigh(
        self, fraction: float, seen: Tensor, task: Tensor, teachers: Sequence[TeacherOutput]
    ) -> Tensor:
        """What each teacher's word weighs where the critic would see ``seen``, (..., teachers)."""
        values = [said.value for said in teachers]
        student = self.critic(seen) * self._value_unit
        return teacher_weights(self.config.teachers, task, values, student, fraction)

    def _weigh_along(
        self, batch: Batch, teachers: Sequence[TeacherOutput], fraction: float
    ) -> Tensor:
        return self._weigh(fraction, batch.observations["teacher"], batch.task, teachers)

    @property
    def _value_unit(self) -> float:
        """What the critic's answers are multiplied by to be (1 - gamma) times returns."""
        return self._return_scale.value_unit(self.config.reward_scale)

    def _again(self, fraction: float) -> Recorded:
        """A batch of those that are kept; gates stand as they do now, not as they did then."""
        kept = self._kept.pick(self.generator)
        if not self.config.teachers.gated:
            return kept
        weights = self._weigh_along(kept.batch, kept.teachers, fraction)
        return dataclasses.replace(kept, weights=weights)

    def _pseudo_advantages(
        self, batch: Batch, teachers: tuple[TeacherOutput, ...], weights: Tensor, fraction: float
    ) -> dict[Term, tuple[Tensor, Tensor]]:
        """Of every corrected term the advantage of its pseudo-reward, in units of its loss, and the
        lambda-return, in those of values, (T, N) each.
        """
        config, found = self.config, {}
        for i, (_, term) in enumerate(self.terms):
            if not term.corrected:
                continue
            with self._blaming(i):
                reward = pseudo_reward(
                    term, batch, self.student, self.teachers, teachers, weights,
                    weigh=functools.partial(self._weigh, fraction), discount=config.gamma,
                    generator=self.generator,
                )  # fmt: skip
            unit = 1.0 - config.gamma
            advantage, target = critic_advantages(
                batch, unit * reward, self.critics[term], gamma=config.gamma, lam=config.lam
            )
            found[term] = advantage / unit, target
        return found

    def try_terms(self, batch: Batch) -> None:
        """Work out the loss of every term, whatever its weight, and learn nothing.

        Raises:
            RetortError: a term cannot be worked out here, is not finite or teaches nothing, or the
                teachers cannot be weighed.
        """
        recorded = self.record(batch, 0.0)
        ids = torch.arange(batch.num_envs)
        sample = self._sample(recorded, ids, 0.0)
        acted = bool(sample.own.any())  # where not, terms on own acts are passed over
        for i, (_, term) in enumerate(self.terms):
            with self._blaming(i):
                loss = self._loss(term, sample, recorded, ids)
                if acted or not term.own:
                    require_finite(term, loss)
                    require_gradient(loss)

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
        totals, keeps = torch.zeros(len(self.terms)), MODES[config.mode].keeps
        for epoch in range(config.epochs):
            order = torch.randperm(recorded.batch.num_envs, generator=self.generator)
            for ids in order.chunk(config.minibatches):
                again = keeps and epoch > 0
                part = self._again(fraction) if again else recorded
                totals += self._descend(self._sample(part, ids, fraction), part, ids, weights)
        means = (totals / (config.epochs * config.minibatches)).tolist()
        losses = dict(zip(self.labels, means, strict=True))
        check_finite("distill", losses, self.parameters)
        self.measure(recorded.batch)
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
        (torch.tensor(weights) * means).sum().backward(inputs=self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient_norm)
        self.optimiser.step()
        return means.detach()

    def _loss(self, term: Term, sample: Sample, recorded: Recorded, ids: Tensor) -> Tensor:
        """A term's loss, (T, n): over the teachers by their weights if it compares with them."""
        if term in recorded.pseudo:
            advantage, target = (values[:, ids] for values in recorded.pseudo[term])
            critic, seen = self.critics[term], sample.observations["teacher"]
            sample = dataclasses.replace(
                sample, advantage=advantage, lambda_return=target, value=lambda: critic(seen)
            )
        loss = self._taught_loss(term, sample, recorded, ids) if term.taught else term.loss(sample)
        beside = term.untaught(sample)
        return loss if beside is None else loss + beside

    def _taught_loss(self, term: Term, sample: Sample, recorded: Recorded, ids: Tensor) -> Tensor:
        each = self._by_teacher(sample, recorded, ids)
        return mix(recorded.weights[:, ids], [term.loss(one) for one in each])

    def _by_teacher(self, sample: Sample, recorded: Recorded, ids: Tensor) -> Iterator[Sample]:
        """A sample once with every teacher; as it is, it is with the first."""
        yield sample
        for i, said in enumerate(recorded.teachers[1:], start=1):
            ask = self.panel.asking(i, recorded.batch, ids)
            taught = said.select((slice(None), ids))
            yield dataclasses.replace(sample, teacher=taught, ask=ask, teacher_index=i)

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
            sample.ask = self.panel.asking(0, batch, ids)
        return sample

    def _student(
        self, sequence: Tensor, state: Tensor, reset: Tensor
    ) -> tuple[Distribution, dict[str, Tensor]]:
        if self.needs & {"features", "respond"}:
            distribution, _, features = self.student.forward_features(sequence, state, reset)
            return distribution, features
        return self.student(sequence, state, reset)[0], {}

    def _prepare(self, batch: Batch) -> None:
        """Let terms size what they learn on the first batch; then the optimiser knows it too."""
        waiting = [(i, term) for i, (_, term) in enumerate(self.terms) if not term.prepared]
        if not waiting:
            return
        teachers = self.panel.heard(batch.labels) if batch.labels else self.panel.relabel(batch)
        blank = torch.zeros_like(batch.reward)
        recorded = Recorded(
            batch, teachers, torch.ones(*blank.shape, len(teachers)), blank, blank, blank
        )
        ids = torch.arange(min(2, batch.num_envs))
        samples = [*self._by_teacher(self._sample(recorded, ids, 0.0), recorded, ids)]
        seed = int(torch.randint(1 << 31, (), generator=self.generator))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for i, term in waiting:
                with self._blaming(i):
                    term.prepare(samples)
                term.prepared = True
        self._optimise()

    @contextlib.contextmanager
    def _blaming(self, place: int) -> Iterator[None]:
        """What cannot be done within is the fault of the term at ``place``."""
        try:
            yield
        except RetortError as error:
            label = self.terms[place][0].label
            raise TermError(f"distill.terms[{place}] ({label}): {error}") from error

    def _optimise(self) -> None:
        theirs = {id(p) for teacher in self.teachers for p in getattr(teacher, "learnt", ())}
        every = [
            *self.student.parameters(),
            *self.critic.parameters(),
            *(p for critic in self.critics.values() for p in critic.parameters()),
            *(p for _, term in self.terms for p in term.parameters()),
        ]
        self.parameters = [p for p in every if id(p) not in theirs]
        self.optimiser = torch.optim.Adam(self.parameters, lr=self.config.learning_rate, fused=True)

    def snapshot(self) -> Callable[[], None]:
        """A function that puts networks and optimiser back to where they are now, statistics of
        what is seen included: weights in whitened coordinates mean something with theirs only.
        """
        terms = nn.ParameterList(p for _, term in self.terms for p in term.parameters())
        learnt = [self.student, self.critic, *self.critics.values(), terms, self.optimiser]
        states = copy.deepcopy([each.state_dict() for each in learnt])

        def undo() -> None:
            for each, state in zip(learnt, states, strict=True):
                each.load_state_dict(state)

        return undo

    def normalise(self, observations: dict[str, Tensor]) -> None:
        """Merge observations (..., size) into the statistics of student and critics."""
        self.student.normaliser.update(observations["student"])
        for critic in (self.critic, *self.critics.values()):
            critic.normaliser.update(observations["teacher"])

    def measure(self, batch: Batch) -> None:
        """Merge a batch into all statistics of student and critics."""
        self.normalise(batch.observations)
        self.observe(batch)

    def observe(self, batch: Batch) -> None:
        """Merge a batch into what student and critics know of what their layers read."""
        self.student.observe(batch.observations["student"], batch.initial_state, batch.reset)
        for critic in (self.critic, *self.critics.values()):
            critic.whiten(batch.observations["teacher"])

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, random stream, what teachers remember."""
        return {
            "student": self.student.state_dict(),
            "critic": self.critic.state_dict(),
            "terms": {str(i): term.state_dict() for i, (_, term) in enumerate(self.terms)},
            "critics": {str(i): each.state_dict() for i, each in enumerate(self.critics.values())},
            "optimiser": optimiser_state(self.optimiser),
            "generator": self.generator.get_state(),
            "kept": self._kept.state_dict(),
            "return_scale": self._return_scale.state_dict(),
            **self.panel.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.student.load_state_dict(state["student"])
        self.critic.load_state_dict(state["critic"])
        for i, (_, term) in enumerate(self.terms):
            term.load_state_dict(state.get("terms", {}).get(str(i), {}))
            term.prepared = True
        critics = state.get("critics", {})
        if len(critics) != len(self.critics):
            raise CheckpointError(
                "the checkpoint is of a version in which 'corrected' had no critic of its own; "
                "start over with --fresh"
            )
        for i, critic in enumerate(self.critics.values()):
            critic.load_state_dict(critics[str(i)])
        self._optimise()
        load_optimiser_state(self.optimiser, state["optimiser"])
        self.generator.set_state(state["generator"])
        self.panel.load_state_dict(state)
        with torch.no_grad():
            self._kept.load_state_dict(state.get("kept", {}), self.panel.relabel)
        self._return_scale.load_state_dict(state.get("return_scale", {}))


def _expected(
    teachers: Sequence[TeacherOutput], weights: Tensor, lambda_return: Tensor, unit: float
) -> Tensor | None:
    """What teachers expect by their weights, (T, N), in units of the student's critic; for one
    without values the student's own return. None if no teacher has any.
    """
    if all(said.value is None for said in teachers):
        return None
    values = [lambda_return if said.value is None else said.value / unit for said in teachers]
    return mix(weights, values)


def _blank(critic: Critic) -> Critic:
    """A critic like ``critic`` that expects nothing yet."""
    made = copy.deepcopy(critic)
    for parameter in made.network[-1].parameters():
        nn.init.zeros_(parameter)
    return made


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
