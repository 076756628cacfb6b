"""What distillation would stumble over, found before anything trains: a few ticks of all of it.

Nothing is learnt and nothing is left behind. Untrained networks stand in for teachers of our own.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from ...hardware.errors import RetortError
from ...sim.definition import is_file
from ...sim.interface import LearningEnv
from ..batch import Batch
from ..distill_config import DistillConfig
from ..distiller import Distiller
from ..experiment import STUDENT_PARTS, Experiment
from ..modes import MODES
from ..networks import Critic
from ..ppo import PPO
from ..sources.adversary import lied_to
from ..sources.offline import DatasetSource
from ..sources.recording import Recording, label, label_arrays, label_kind
from ..sources.rollout import RolloutSource
from ..students import Student
from ..students.runtime import check_runtime
from ..teachers import ActorTeacher, Teacher, ValuesOf
from ..teachers.own import other_actions
from .finished import check_weighting, is_to_come, learning_teacher, load_named
from .offline import named_data

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
        recordings = named_data(experiment)
        with torch.random.fork_rng():
            if recordings is not None:
                _with_data(experiment, config, recordings)
            else:
                _with_teachers(experiment, config)
    except RetortError as error:
        raise RehearsalError(str(error)) from error
    except Exception as error:
        if (place := _own_line(experiment, error)) is None:
            raise
        raise RehearsalError(f"{place}: {type(error).__name__}: {error}") from error


def _with_data(
    experiment: Experiment, config: DistillConfig, recordings: Sequence[Recording]
) -> None:
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
    if is_file(experiment.student.kind):
        _check_own_student(experiment.student.kind, student, env)
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


@torch.no_grad()
def _check_own_student(path: str, student: Student, env: LearningEnv) -> None:
    seen = torch.zeros(1, 2, env.groups["student"])
    said, _ = student(seen, student.initial_state(2), torch.ones(1, 2, dtype=torch.bool))
    if wrong := other_actions(said, env.single_action_space):
        raise RehearsalError(f"the student {path} {wrong}")


def _own_line(experiment: Experiment, error: Exception) -> str | None:
    """Where it was raised, if that is in a file which the recipe names, or that calls what did."""
    teachers = [teacher.path for teacher in experiment.distill.teachers.named]
    named = [*experiment.code(STUDENT_PARTS), *filter(is_file, teachers)]
    own = {str(Path(name).resolve()) for name in named}
    frames = traceback.extract_tb(error.__traceback__)
    own_frames = [frame for frame in frames if str(Path(frame.filename).resolve()) in own]
    return f"{own_frames[-1].filename}, line {own_frames[-1].lineno}" if own_frames else None


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
