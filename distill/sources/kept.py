"""Labelled batches, and those that are kept to be learnt from again (DAgger's aggregate)."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..batch import TEACHER, Batch, no_episodes
from ..teachers import TeacherOutput, in_order, numbered
from ..terms import Term


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A batch with what teachers and critic say of it."""

    batch: Batch
    teachers: tuple[TeacherOutput, ...]  # (T, N, ...) each
    weights: Tensor  # (T, N, teachers)
    advantage: Tensor  # (T, N)
    lambda_return: Tensor  # (T, N)
    own: Tensor  # (T, N)
    expected: Tensor | None = None  # (T, N) value by teachers and return
    # Of corrected terms: advantage and lambda-return of the pseudo-reward, (T, N) each.
    pseudo: dict[Term, tuple[Tensor, Tensor]] = dataclasses.field(default_factory=dict)


class KeptBatches:
    """The last ``limit`` batches as labelled situations: an older student acted there, so that
    nothing is left in them for terms that learn from the student's own acts.
    """

    def __init__(self, limit: int) -> None:
        self._kept: deque[Recorded] = deque(maxlen=limit)

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, recorded: Recorded) -> None:
        """Take a batch in; the oldest goes when there are too many."""
        batch = recorded.batch
        self._kept.append(
            _situations(
                batch.observations,
                batch.action,
                batch.reset,
                batch.initial_state,
                batch.task,
                batch.teacher_states,
                recorded.teachers,
                recorded.weights,
            )
        )

    def pick(self, generator: torch.Generator) -> Recorded:
        """One of them, all equally likely."""
        return self._kept[int(torch.randint(len(self._kept), (), generator=generator))]

    def state_dict(self) -> dict[str, Any]:
        """The situations. What teachers said is left out: they are asked again."""
        return {
            str(i): {
                "observations": dict(kept.batch.observations),
                "action": kept.batch.action,
                "reset": kept.batch.reset,
                "initial_state": kept.batch.initial_state,
                "task": kept.batch.task,
                "weights": kept.weights,
                "teacher_states": numbered(kept.batch.teacher_states or ()),
            }
            for i, kept in enumerate(self._kept)
        }

    def load_state_dict(
        self, state: dict[str, Any], label: Callable[[Batch], tuple[TeacherOutput, ...]]
    ) -> None:
        """The inverse of ``state_dict``.

        Args:
            state: from ``state_dict``.
            label: asks the same teachers as before about a batch.
        """
        self._kept.clear()
        for number in sorted(state, key=int):
            saved = {**state[number], "teachers": ()}
            saved.setdefault("task", torch.zeros(saved["reset"].shape, dtype=torch.int64))
            saved["teacher_states"] = in_order(saved.get("teacher_states", {})) or None
            blank = _situations(**saved)
            self._kept.append(dataclasses.replace(blank, teachers=label(blank.batch)))


def _situations(
    observations: dict[str, Tensor],
    action: Tensor,
    reset: Tensor,
    initial_state: Tensor,
    task: Tensor,
    teacher_states: tuple[Tensor, ...] | None,
    teachers: tuple[TeacherOutput, ...],
    weights: Tensor,
) -> Recorded:
    nothing = torch.zeros(reset.shape)
    never = torch.zeros_like(reset)
    batch = Batch(
        observations=observations,
        action=action,
        log_prob=nothing,
        driver=torch.full((reset.shape[1],), TEACHER),
        reward=nothing,
        terminated=never,
        truncated=never,
        reset=reset,
        final_index=torch.zeros(0, 2, dtype=torch.int64),
        final_observations={group: rows[0, :0] for group, rows in observations.items()},
        last_observations={group: rows[-1] for group, rows in observations.items()},
        initial_state=initial_state,
        level=torch.zeros(*reset.shape, 0),
        task=task,
        episodes=no_episodes(),
        teacher_states=teacher_states,
    )
    return Recorded(batch, teachers, weights, nothing, nothing, nothing)
