"""The loop of distillation: collect, let the curriculum look, label, update, report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from .batch import STUDENT, TEACHER
from .concurrent import LearningTeacher
from .curriculum import Curriculum
from .distiller import Distiller
from .sources.rollout import RolloutSource


def distil(
    distiller: Distiller,
    source: RolloutSource,
    curriculum: Curriculum,
    *,
    learning: LearningTeacher | None = None,
    steps_done: int = 0,
    seconds: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Yield one dict of figures per iteration until the budget of environment steps is spent.

    Args:
        distiller: the learner.
        source: student and teacher act in it.
        curriculum: gates on the student relative to the teacher.
        learning: a teacher that goes on learning from what it does, and is then the distiller's
            only one.
        steps_done: environment steps spent before.
        seconds: spent before [s].
    """
    config = distiller.config
    per_iteration = config.ticks * config.num_envs
    teacher = distiller.act_as_teacher if learning is None else learning.ppo.act
    if steps_done == 0:
        # The first rollout only gives the normalisers their scale: learning from it would compare
        # probabilities under two scales.
        batch = source.collect(distiller.act, teacher)
        distiller.follow(batch)
        distiller.measure(batch)
        if learning is not None:
            learning.ppo.normalise(batch.observations["teacher"])
        steps_done = per_iteration
    while steps_done < config.steps:
        began = time.perf_counter()
        fraction = min(1.0, steps_done / config.steps)
        source.share_with_teacher(config.share(fraction))
        batch = source.collect(distiller.act, teacher)
        episodes = batch.episodes
        by_teacher = (batch.driver == TEACHER)[episodes.env].numpy()
        score = episodes.score.numpy()
        curriculum.record(episodes.running.numpy(), score, by_teacher)
        relative = curriculum.relative_score()
        figures: dict[str, Any] = {}
        if learning is not None:
            figures["teacher"] = learning.learn(batch, distiller.student, fraction)
        recorded = distiller.record(batch, fraction)
        guarded = contextlib.nullcontext()
        if learning is not None:
            said = recorded.teachers[0].distribution
            guarded = learning.guarding(distiller.student, said, batch)
        with guarded:
            figures["terms"] = distiller.update(recorded, fraction, relative)
        if learning is not None:
            figures |= {"kl": learning.kl, "divergences": learning.divergences}
        curriculum.advance(fraction)
        elapsed = time.perf_counter() - began
        steps_done += per_iteration
        seconds += elapsed
        students = batch.driver == STUDENT
        minutes = per_iteration * source.env.period / 60.0
        falls = float(batch.terminated[:, students].sum())
        yield {
            "steps": steps_done,
            "seconds": seconds,
            "steps_per_second": per_iteration / elapsed,
            "score_student": _mean(score[~by_teacher]),
            "score_teacher": _mean(score[by_teacher]),
            "reward_student": _mean(batch.reward[:, students].numpy()),
            "reward_teacher": _mean(batch.reward[:, ~students].numpy()),
            "relative_score": relative,
            "levels": curriculum.frontier,
            "falls_per_minute": falls / (minutes * float(students.float().mean()) + 1e-9),
            "teacher_queries": distiller.queries,
            "learning_rate": distiller.optimiser.param_groups[0]["lr"],
            **figures,
        }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
