"""The loop of distillation: collect, let the curriculum look, label, update, report."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any

from .batch import TEACHER, Batch
from .concurrent import LearningTeacher
from .curriculum import Curriculum
from .distiller import Distiller
from .learner import Learner
from .sources.source import Actor, Source


def distil(
    distiller: Distiller,
    source: Source,
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
    if steps_done == 0:
        # The first rollout only gives the normalisers their scale: learning from it would compare
        # probabilities under two scales.
        learners: list[Learner] = [distiller] if learning is None else [distiller, learning.ppo]
        batch = source.collect(distiller.act, _driving(distiller, source, learning))
        distiller.follow(batch)
        for learner in learners:
            learner.measure(batch)
        steps_done = distiller.config.ticks * distiller.config.num_envs
    yield from learn_from(
        distiller, source, curriculum, learning, steps_done=steps_done, seconds=seconds
    )


def learn_from(
    distiller: Distiller,
    source: Source,
    curriculum: Curriculum | None = None,
    learning: LearningTeacher | None = None,
    *,
    steps_done: int,
    seconds: float,
) -> Iterator[dict[str, Any]]:
    """The iterations of ``distil``, from any source, once the normalisers know their scale.

    Without a curriculum nobody measures how far the student is.
    """
    config = distiller.config
    per_iteration = config.ticks * config.num_envs
    while steps_done < config.steps:
        began = time.perf_counter()
        fraction = min(1.0, steps_done / config.steps)
        source.share_with_teacher(config.share(fraction))
        batch = source.collect(distiller.act, _driving(distiller, source, learning))
        if steps_done == 0:  # no rollout has shown what is to be whitened
            distiller.observe(batch)
        relative = 0.0 if curriculum is None else _looked_at(batch, curriculum)
        figures = _learn(distiller, learning, batch, fraction, relative)
        if curriculum is not None:
            curriculum.advance(fraction)
            figures |= {"relative_score": relative, "levels": curriculum.frontier}
        elapsed = time.perf_counter() - began
        steps_done += per_iteration
        seconds += elapsed
        yield {
            "steps": steps_done,
            "seconds": seconds,
            "steps_per_second": per_iteration / elapsed,
            **source.figures(batch, steps_done),
            "teacher_queries": distiller.queries,
            "learning_rate": distiller.optimiser.param_groups[0]["lr"],
            **figures,
        }


def _driving(distiller: Distiller, source: Source, learning: LearningTeacher | None) -> Actor:
    """Who acts where a teacher does."""
    if learning is not None:
        return learning.ppo.act
    return functools.partial(distiller.act_as_teacher, tasks=source.tasks)


def _looked_at(batch: Batch, curriculum: Curriculum) -> float:
    """The student's relative score, the episodes that ended in a batch among what it is of."""
    episodes = batch.episodes
    by_teacher = (batch.driver == TEACHER)[episodes.env].numpy()
    curriculum.record(episodes.running.numpy(), episodes.score.numpy(), by_teacher)
    return curriculum.relative_score()


def _learn(
    distiller: Distiller,
    learning: LearningTeacher | None,
    batch: Batch,
    fraction: float,
    relative: float,
) -> dict[str, Any]:
    """One update of the student and, if it learns, of the teacher before it."""
    if learning is None:
        recorded = distiller.record(batch, fraction)
        return {"terms": distiller.update(recorded, fraction, relative)}
    taught = learning.learn(batch, distiller.student, fraction)
    recorded = distiller.record(batch, fraction)
    label, undo = recorded.teachers[0].distribution, distiller.snapshot()
    losses: dict[str, float] = {}  # of an update that is taken back before it ends
    with learning.guarding(distiller.student, undo, label, batch):
        losses = distiller.update(recorded, fraction, relative)
    return {
        "teacher": taught,
        "terms": losses,
        "kl": learning.kl,
        "divergences": learning.divergences,
    }
