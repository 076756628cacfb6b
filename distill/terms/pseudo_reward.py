"""The pseudo-reward of a corrected term: ``-l(s')`` of every transition of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..batch import Batch, spread
from ..distributions import Distribution
from ..losses.policy import corrected_reward
from ..students import Student
from ..teachers import Teacher, TeacherOutput, states_after
from ..teachers.mixture import mix
from . import Sample, Term


@torch.no_grad()
def pseudo_reward(
    term: Term,
    batch: Batch,
    student: Student,
    teachers: Sequence[Teacher],
    said: Sequence[TeacherOutput],
    weights: Tensor,
    *,
    weigh: Callable[[Tensor, Tensor, Sequence[TeacherOutput]], Tensor],
    discount: float,
    generator: torch.Generator,
) -> Tensor:
    """``-l(s')`` of a corrected term (see ``losses.corrected_reward``), (T, N), in units of l.

    Args:
        term: its loss needs nothing but distributions.
        batch: what was done, with the teachers' states before it.
        student: asked about every next situation, as it is now.
        teachers: asked about the last and the final ones.
        said: what they said along the batch, (T, N, ...) each.
        weights: of the teachers along the batch, (T, N, teachers).
        weigh: what they weigh elsewhere, (..., teachers): of privileged observations (..., size),
            tasks (...) and what they say there.
        discount: the learner's gamma.
        generator: of samples, where the term needs any.
    """
    answers, state, features = student.forward_features(
        batch.observations["student"], batch.initial_state, batch.reset
    )
    assert batch.teacher_states is not None
    states = [
        states_after(teacher, batch.observations, before, batch.reset)
        for teacher, before in zip(teachers, batch.teacher_states, strict=True)
    ]
    at = _compare(term, answers, said, weights, generator)
    ended = (batch.terminated[-1] | batch.truncated[-1])[None]
    last = {group: values[None] for group, values in batch.last_observations.items()}
    after, _ = student(last["student"], state, ended)
    there = _ask(teachers, last, [each[-1] for each in states], ended)
    weight = weigh(last["teacher"], batch.task[-1:], there)
    last_loss = _compare(term, after, there, weight, generator)[0]
    final_loss = torch.zeros_like(batch.reward)
    if len(batch.final_index):
        tick, env = batch.final_index.unbind(-1)
        never = torch.zeros(1, len(env), dtype=torch.bool)
        final = {group: values[None] for group, values in batch.final_observations.items()}
        memory = batch.initial_state[env]
        if "memory" in features:  # the state after the last tick, which the reset has forgotten
            before, seen = features["memory"][tick, env], batch.observations["student"][tick, env]
            _, memory = student(seen[None], before, never)
        there, _ = student(final["student"], memory, never)
        taught = _ask(teachers, final, [each[tick, env] for each in states], never)
        weight = weigh(final["teacher"], batch.task[tick, env][None], taught)
        rows = _compare(term, there, taught, weight, generator)
        final_loss = spread(batch, rows[0])
    return corrected_reward(at, last_loss, final_loss, batch.terminated, batch.truncated, discount)


def _ask(
    teachers: Sequence[Teacher], groups: dict[str, Tensor], states: Sequence[Tensor], reset: Tensor
) -> list[TeacherOutput]:
    pairs = zip(teachers, states, strict=True)
    return [teacher(groups, state, reset)[0] for teacher, state in pairs]


def _compare(
    term: Term,
    student: Distribution,
    said: Sequence[TeacherOutput],
    weights: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """The term's loss against every teacher by its weight, (T, N)."""
    blank = torch.zeros(student.batch_shape)
    losses = [
        term.loss(
            Sample(
                observations={},
                reset=blank > 0,
                student=student,
                teacher=one,
                action=blank,
                value=lambda: blank,
                ratio=blank + 1.0,
                advantage=blank,
                lambda_return=blank,
                own=blank + 1.0,
                fraction=0.0,
                generator=generator,
            )
        )
        for one in said
    ]
    return mix(weights, losses)
