"""The gradient-based variant: a start from which a student adapts by what it lived through."""

from __future__ import annotations

import time

import torch
from retort.distill.adaptation import (
    MetaConfig,
    MetaLearner,
    PredictiveStudent,
    policy_loss,
    prediction_loss,
)
from retort.distill.adaptation.meta import Situation
from retort.distill.batch import Batch
from retort.distill.sources.rollout import Actor, RolloutSource
from retort.distill.students import Student
from retort.distill.teachers import ActorTeacher
from torch import Tensor

from .training import seeded
from .varied import Varied

_ROBOTS = 16  # side by side, each a situation of its own
_PREDICTION = 0.1  # of the outer loss, or the head would never be learnt
_PASSES = 2  # outer steps on what was lived through once


def learn_start(
    varied: Varied,
    teacher: ActorTeacher,
    student: Student,
    config: MetaConfig,
    *,
    seed: int,
    steps: int,
    window: int,
) -> tuple[PredictiveStudent, dict[str, float]]:
    """Go on with a distilled student by first-order MAML.

    What a robot lived through in ``window`` ticks is adapted on by prediction; the outer loss is
    the divergence from the teacher in the ``window`` after it, and a little prediction.

    Args:
        varied: on which.
        teacher: labels.
        student: where it begins; changed.
        config: of the inner and outer steps.
        seed: of environments, actions and the head.
        steps: environment steps.
        window: ticks.
    """
    began, aside = time.perf_counter(), time.process_time()
    env = varied.make_env(_ROBOTS, seconds=varied.distill.episode_seconds)
    [actions] = env.single_action_space.shape or (0,)
    module: PredictiveStudent = seeded(seed, lambda: PredictiveStudent(student, actions))
    learner = MetaLearner(module, config)
    generator = torch.Generator().manual_seed(seed)
    source = RolloutSource(env, window)
    source.start(seed)
    act = _sampling(student, generator)
    done = 0
    while done < steps:
        lived, after = source.collect(act), source.collect(act)
        done += 2 * window * _ROBOTS
        whole = ~(lived.reset[1:].any(0) | after.reset.any(0))
        situations = [_situation(teacher, lived, after, i) for i in whole.nonzero().flatten()]
        for _ in range(_PASSES if situations else 0):
            learner.update(situations)
    return module, {
        "steps": done,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - aside, 2),
    }


def _situation(teacher: ActorTeacher, lived: Batch, after: Batch, robot: Tensor) -> Situation:
    chosen = torch.arange(lived.num_envs) == robot
    before, then = lived.columns(chosen), after.columns(chosen)
    with torch.no_grad():
        said, _ = teacher(then.observations, teacher.initial_state(1), then.reset)
    label = said.distribution

    def inner(module: PredictiveStudent) -> Tensor:
        return prediction_loss(module, before)

    def outer(module: PredictiveStudent) -> Tensor:
        foretold = prediction_loss(module, then)
        return policy_loss(module.student, then, label) + _PREDICTION * foretold

    return inner, outer


def _sampling(student: Student, generator: torch.Generator) -> Actor:
    @torch.no_grad()
    def act(
        groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        said, state = student(groups["student"][None], state, reset[None])
        action = said.sample(generator)
        return action[0], said.log_prob(action)[0], state

    return act
