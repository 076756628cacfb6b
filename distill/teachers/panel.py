"""Teachers as a learner hears them: who has a say, what each remembers and says of a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..batch import Batch
from ..distributions import Distribution
from .mixture import MixtureConfig, MixtureError, check_tasks
from .teacher import Teacher, TeacherOutput, in_order, numbered, sampled_action, states_after

T = TypeVar("T")


class Panel:
    """Those teachers that are heard, and their hidden states along the batches of one source.

    The states run on from batch to batch, so that these come in order. Where there was no batch
    yet, or one of another number of environments, they begin anew.

    Args:
        teachers: all that are given.
        config: whose weights leave some of them without a say.
        features: their inner layers are wanted with what they say.

    Attributes:
        teachers: those that are heard; the first one drives, or each at its own task where they are
            weighed by task.
        queries: situations that they have labelled.
    """

    def __init__(
        self, teachers: Sequence[Teacher], config: MixtureConfig, *, features: bool
    ) -> None:
        self._config, self._features = config, features
        self.teachers: tuple[Teacher, ...] = self.heard(tuple(teachers))
        self.queries = 0
        self._after: tuple[Tensor, ...] = ()  # the last batch
        self._driving: tuple[Tensor, ...] = ()  # of those that drive, since then

    def heard(self, each: tuple[T, ...]) -> tuple[T, ...]:
        """Of what there is of each teacher given, that of those which have a say."""
        return tuple(each[i] for i in self._config.heard(len(each)))

    def before(self, batch: Batch) -> tuple[Tensor, ...]:
        """The states before a batch, (N, size) each: those that stand in it, if any do."""
        return batch.teacher_states or self._reached(batch.num_envs)

    def label(self, batch: Batch) -> tuple[TeacherOutput, ...]:
        """What everyone says of the next batch; what stands in it already, if anything does."""
        if batch.labels is not None:
            return self.heard(batch.labels)
        self.queries += batch.ticks * batch.num_envs * len(self.teachers)
        labels, states = zip(*self._said(batch), strict=True)
        self._advance(states)
        return labels

    def relabel(self, batch: Batch) -> tuple[TeacherOutput, ...]:
        """As ``label``, of a batch that was labelled before: nothing goes on from it."""
        return tuple(output for output, _ in self._said(batch))

    def asking(
        self, number: int, batch: Batch, ids: Tensor
    ) -> Callable[[dict[str, Tensor]], Distribution]:
        """A function from observation groups (T, n, size) along the environments ``ids`` of a batch
        to what one teacher says, (T, n), its hidden states held fixed: every tick is a row of its
        own.
        """
        teacher, before = self.teachers[number], self.before(batch)[number][ids]
        reset = batch.reset[:, ids]
        rows = torch.arange(reset.numel()).view(reset.shape)

        def answer(groups: dict[str, Tensor]) -> Distribution:
            after = states_after(teacher, groups, before, reset)
            held = torch.cat([before[None], after[:-1]]).flatten(0, 1)
            single = {group: values.flatten(0, 1)[None] for group, values in groups.items()}
            said, _ = teacher(single, held, reset.flatten()[None])
            return said.distribution.select((0, rows))

        return answer

    @torch.no_grad()
    def follow(self, batch: Batch) -> None:
        """See a batch about which nobody is asked; nothing if nobody remembers."""
        pairs = zip(self.teachers, self.before(batch), strict=True)
        self._advance(
            tuple(
                teacher(batch.observations, state, batch.reset)[1] if state.shape[-1] else state
                for teacher, state in pairs
            )
        )

    def drive(
        self,
        groups: dict[str, Tensor],
        reset: Tensor,
        generator: torch.Generator,
        tasks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What whoever drives does at the next tick: actions and log-probabilities (N,).

        Args:
            groups: observations by group, (N, size) each.
            reset: (N,) bool.
            generator: of the sample.
            tasks: (N,) int64, of the environments.

        Raises:
            MixtureError: teachers are weighed by task, and which those are is not said, or one has
                no teacher.
        """
        n = len(reset)
        drivers = self.teachers if self._config.weighting == "task" else self.teachers[:1]
        states = self._driving
        if not states or len(states[0]) != n:
            states = self._reached(n)[: len(drivers)]
        said = [
            sampled_action(teacher, groups, state, reset, generator)
            for teacher, state in zip(drivers, states, strict=True)
        ]
        actions, log_probs, self._driving = zip(*said, strict=True)
        if len(drivers) == 1:
            return actions[0], log_probs[0]
        if tasks is None:
            raise MixtureError(
                "teachers are weighed by task, and a teacher drives where the tasks of the "
                "environments are not known; give act_as_teacher those of the source (tasks=...)"
            )
        check_tasks(tasks, len(drivers))
        own = tasks, torch.arange(n)
        return torch.stack(actions)[own], torch.stack(log_probs)[own]

    def state_dict(self) -> dict[str, Any]:
        """Queries, and the states between two batches."""
        return {"queries": self.queries, "teacher_states": numbered(self._after)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.queries = int(state["queries"])
        self._advance(in_order(state.get("teacher_states", {})))

    def _said(self, batch: Batch) -> Iterator[tuple[TeacherOutput, Tensor]]:
        """What everyone says of a batch, and the hidden state after it."""
        for teacher, before in zip(self.teachers, self.before(batch), strict=True):
            output, after = teacher(batch.observations, before, batch.reset)
            if not self._features:
                output = dataclasses.replace(output, features={})
            yield output, after

    def _advance(self, states: tuple[Tensor, ...]) -> None:
        """A batch has ended with ``states``, and the next one begins with them."""
        self._after, self._driving = states, ()

    def _reached(self, n: int) -> tuple[Tensor, ...]:
        if [len(state) for state in self._after] == [n] * len(self.teachers):
            return self._after
        return tuple(teacher.initial_state(n) for teacher in self.teachers)
