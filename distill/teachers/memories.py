"""What teachers remember along the consecutive batches of one source."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..batch import Batch
from .teacher import Teacher, in_order, numbered, sampled_action


class Memories:
    """Hidden states of teachers after the last batch, and since then of the one that drives.

    Where there was no batch yet, or one of another number of environments, they begin anew.
    """

    def __init__(self) -> None:
        self._after: tuple[Tensor, ...] = ()
        self._driving: Tensor | None = None

    def before(self, teachers: Sequence[Teacher], batch: Batch) -> tuple[Tensor, ...]:
        """The states before a batch, (N, size) each: those that stand in it, if any do."""
        return batch.teacher_states or self._reached(teachers, batch.num_envs)

    def advance(self, states: tuple[Tensor, ...]) -> None:
        """A batch has ended with ``states``, and the next one begins with them."""
        self._after, self._driving = states, None

    @torch.no_grad()
    def follow(self, teachers: Sequence[Teacher], batch: Batch) -> None:
        """Let teachers see a batch about which they are not asked; nothing if none remembers."""
        pairs = zip(teachers, self.before(teachers, batch), strict=True)
        self.advance(
            tuple(
                teacher(batch.observations, state, batch.reset)[1] if state.shape[-1] else state
                for teacher, state in pairs
            )
        )

    def drive(
        self,
        teachers: Sequence[Teacher],
        groups: dict[str, Tensor],
        reset: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """What the first teacher does at the next tick: actions and log-probabilities (N,)."""
        state = self._driving
        if state is None or len(state) != len(reset):
            state = self._reached(teachers, len(reset))[0]
        said = sampled_action(teachers[0], groups, state, reset, generator)
        action, log_prob, self._driving = said
        return action, log_prob

    def state_dict(self) -> dict[str, Tensor]:
        """The states between two batches."""
        return numbered(self._after)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of ``state_dict``."""
        self.advance(in_order(state))

    def _reached(self, teachers: Sequence[Teacher], n: int) -> tuple[Tensor, ...]:
        if [len(state) for state in self._after] == [n] * len(teachers):
            return self._after
        return tuple(teacher.initial_state(n) for teacher in teachers)
