"""What distillation would stumble over, found before anything trains: a few ticks of all of it.

Nothing is learnt and nothing is left behind. Untrained networks stand in for teachers of our own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ...hardware.errors import RetortError
from ...sim.definition import is_file
from ...sim.interface import LearningEnv
from ..batch import Batch
from ..distill_config import DistillConfig
from ..distiller import Distiller
from ..experiment import Experiment
from ..modes import MODES
from ..networks import Critic
from ..ppo import PPO
from ..sources.adversary import lied_to
from ..sources.dataset import find_dataset, read_dataset
from ..sources.offline import DatasetSource
from ..sources.recording import label, label_arrays, label_kind
from ..sources.rollout import RolloutSource
from ..students import Student
from ..students.runtime import check_runtime
from ..teachers import ActorTeacher, Teacher, ValuesOf
from .finished import check_weighting, is_to_come, learning_teacher, load_named
from .offline import require_data

_ENVS, _TICKS = 2, 4
_SHARE = 0.5  # of the teacher: one environment each


class RehearsalError(RetortError):
    """Distillation would fail in this world, with these teachers and terms, or these data."""


def rehearse(experiment: Experiment) -> None:
    """Let world, teachers, student, data and every term of a recipe meet once.

    Teachers from elsewhere are loaded and must fit, but for those of run folders that are still to
    come.

    Raises:
        RehearsalError: distillation would fail; the message says on what.
    """
    config = dataclasses.replace(
        experiment.distill,
        num_envs=_ENVS,
        ticks=_TICKS,
        teacher_share=_SHARE,
        minibatches=1,
    )
    try:
        check_weighting(experiment)
        require_data(experiment)
        with torch.random.fork_rng():
            if config.dataset is not None:
                _with_data(experiment, config, config.dataset)
            else:
                _with_teachers(experiment, config)
    except RetortError as error:
        raise RehearsalError(str(error)) from error


def _with_data(experiment: Experiment, config: DistillConfig, dataset: str) -> None:
    recordings = read_dataset(find_dataset(dataset), most=1)
    source = DatasetSource(recordings, num_envs=_ENVS, ticks=_TICKS, seed=experiment.seed)
    student, critic = experiment.make_learner(source.observations["teacher"].shape[-1])
    distiller = Distiller(config, student, source.teachers, critic, experiment.seed)
    source.read_by(student, distiller.teachers)
    _try(distiller, source.collect())


def _with_teachers(experiment: Experiment, config: DistillConfig) -> None:
    env = experiment.world.make_env(
        _ENVS, episode_seconds=config.episode_seconds, event_rate=config.event_rate
    )
    student, critic = experiment.make_learner(env.groups["teacher"])
    teachers = _teachers(experiment, env, student, critic)
    distiller = Distiller(config, student, teachers, critic, experiment.seed)
    try:
        learnt_in = lied_to(env, student, config.adversary, config.steps, experiment.seed)
    except ValueError as error:
        raise RehearsalError(f"distill.adversary: {error}") from error
    source = RolloutSource(learnt_in, _TICKS, hidden_size=student.state_size)
    source.share_with_teacher(_SHARE)
    source.start(experiment.seed)
    batch = source.collect(distiller.act, distiller.act_as_teacher)
    if is_file(experiment.student.kind) and experiment.environment is None:
        check_runtime(student, batch.observations["student"])  # not when it is exported
    if not MODES[config.mode].acts:
        batch = _as_recorded(batch, teachers)
    _try(distiller, batch)


def _try(distiller: Distiller, batch: Batch) -> None:
    distiller.measure(batch)
    distiller.act(
        {group: rows[0] for group, rows in batch.observations.items()},
        batch.initial_state,
        batch.reset[0],
    )
    distiller.try_terms(batch)


def _teachers(
    experiment: Experiment, env: LearningEnv, student: Student, critic: Critic
) -> list[Teacher]:
    if MODES[experiment.distill.mode].teacher_learns:
        ppo = PPO(experiment.teacher, env, experiment.seed)
        return [learning_teacher(experiment, ppo, student, critic).teacher]
    ppo = PPO(experiment.teacher, env, experiment.seed)
    ours = ActorTeacher(
        ppo.actor,
        ppo.critic,
        std_floor=experiment.distill.std_floor,
        values_of=ValuesOf(experiment.teacher.gamma, experiment.teacher.final_fall_penalty),
    )
    named = enumerate(experiment.distill.teachers.named)
    return [ours, *(ours if is_to_come(n) else load_named(experiment, i, n, env) for i, n in named)]


@torch.no_grad()
def _as_recorded(batch: Batch, teachers: Sequence[Teacher]) -> Batch:
    """A batch with what is left of the teachers' words once they have been written and read."""
    labels = []
    for teacher in teachers:
        before = teacher.initial_state(batch.num_envs)
        said, _ = teacher(batch.observations, before, batch.reset)
        labels.append(label(label_arrays(said, keep_features=True), label_kind(said)))
    return dataclasses.replace(batch, labels=tuple(labels))
