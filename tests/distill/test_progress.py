"""A weight that follows the student's progress falls as it catches up, whatever the curriculum."""

import numpy as np
import pytest
import torch
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.loop import distil
from retort.distill.networks import Critic
from retort.distill.schedules import behind
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher
from retort.distill.terms import TermConfig

N, TICKS = 32, 20


@pytest.mark.parametrize("kind", ["gated", "none"])
def test_without_axes_the_weight_falls_as_the_student_catches_up(tracking, tracker, kind):
    env = tracking(N, autoreset=True)
    term = TermConfig(name="policy_kl", weight=1.0, end=0.1, schedule="progress")
    config = DistillConfig(
        steps=N * TICKS * 40,
        num_envs=N,
        ticks=TICKS,
        teacher_share=0.25,
        terms=(term,),
        minibatches=2,
        learning_rate=2e-2,
        fall_penalty=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = make_student(StudentConfig(hidden=(16,)), Interface.plain(2, 1))
        critic = Critic(2, (8,))
    distiller = Distiller(config, student, ActorTeacher(tracker()), critic, seed=0)
    source = RolloutSource(env, TICKS)
    source.share_with_teacher(config.share(0.0))
    source.start(seed=0)
    standing_still = 10.0 - tracking.STD * 3.0**0.5 / 2  # of an action of 0
    curriculum = Curriculum(CurriculumConfig(kind=kind), (), N, [standing_still])
    relative = [row["relative_score"] for row in distil(distiller, source, curriculum)]
    weights = [term.at(0.0, score) for score in relative]
    assert weights[0] == 1.0
    assert np.mean(weights[-5:]) < 0.3
    assert behind(relative[-1]) < 0.2
