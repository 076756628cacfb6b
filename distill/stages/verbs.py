"""The stages from an experiment to a bundle, each resumable to the bit and finished only once.

Under the run folder: ``teacher/`` and ``distillation/`` hold a checkpoint, ``progress.jsonl`` and
TensorBoard events; ``student/`` is the bundle; ``evaluation.json`` the held-out figures, and
``outcomes/`` the episodes that they and other evaluations are made of.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...controller import save_bundle
from ...controller.golden import STATE_FIELDS, record_golden
from ...hardware.state import RobotState
from ...sim.interface import LearningEnv
from ..curricula import make_curriculum
from ..distiller import Distiller
from ..evaluation import actor_of, compare, random_scores, run_episodes
from ..evaluation.forgetting import keep_snapshots
from ..evaluation.outcomes import outcomes_of_run
from ..experiment import TEACHER_PARTS, Experiment
from ..export import to_c, to_onnx
from ..loop import distil
from ..modes import MODES
from ..ppo import PPO, train
from ..sources.adversary import lied_to
from ..sources.rollout import RolloutSource
from ..students import Student
from ..teachers import Teacher, sampled_action
from .base import Progress, Stage, write_json
from .finished import (
    distillation_key,
    load_learning_teacher,
    load_student,
    load_teacher,
    load_teachers,
    share_normaliser,
)
from .offline import distil_from_data


def train_teacher(
    experiment: Experiment, folder: Path, *, fresh: bool = False, progress: Progress | None = None
) -> Path:
    """Train the teacher, or go on where its checkpoint stands; returns the checkpoint.

    Raises:
        RetortError: damaged checkpoint, or one of another recipe.
        KeyboardInterrupt: after Ctrl-C, with everything saved.
    """
    config = experiment.teacher
    env = experiment.world.make_env(
        config.num_envs, episode_seconds=config.episode_seconds, event_rate=config.event_rate
    )
    ppo = PPO(config, env, experiment.seed)
    env.level_source = ppo.draw_levels
    source = RolloutSource(env, config.ticks)
    key = experiment.key(TEACHER_PARTS)
    stage = Stage(folder / "teacher", key, config.steps, fresh)
    saved = stage.begin()
    if saved is None:
        source.start(experiment.seed)
    else:
        with stage.going_on():
            ppo.load_state_dict(saved["learner"])
            source.load_state_dict(saved["source"])

    def snapshot() -> dict[str, Any]:
        return {"learner": ppo.state_dict(), "source": source.state_dict()}

    iterations = train(ppo, source, steps_done=stage.steps, seconds=stage.seconds)
    return stage.run(iterations, snapshot, progress)


def distil_student(
    experiment: Experiment, folder: Path, *, fresh: bool = False, progress: Progress | None = None
) -> Path:
    """Distil the student, or go on where its checkpoint stands; returns the checkpoint.

    Raises:
        RetortError: no finished teacher, no data that fit, damaged checkpoint, or one of another
            recipe.
        KeyboardInterrupt: after Ctrl-C, with everything saved.
    """
    config = experiment.distill
    if not MODES[config.mode].acts:
        return distil_from_data(experiment, folder, fresh=fresh, progress=progress)
    env = experiment.world.make_env(
        config.num_envs, episode_seconds=config.episode_seconds, event_rate=config.event_rate
    )
    student, critic = experiment.make_learner(env.groups["teacher"])
    learning = None  # a teacher that goes on learning
    if MODES[config.mode].teacher_learns:
        learning = load_learning_teacher(experiment, folder, env, student, critic)
    teachers = load_teachers(experiment, folder, env) if learning is None else [learning.teacher]
    share_normaliser(teachers[0], experiment, student, critic)
    distiller = Distiller(config, student, teachers, critic, experiment.seed + 1)
    stage = Stage(folder / "distillation", distillation_key(experiment), config.steps, fresh)
    saved = stage.begin()
    if saved is None:
        scores = _random_scores(experiment)
    else:
        scores = np.asarray(saved["curriculum"]["random_score"])
    teacher_score = None
    if saved is None and env.axes and experiment.curriculum.follows_scores:
        teacher_score = _teacher_score(experiment, distiller.teachers[0])
    curriculum = make_curriculum(
        experiment.curriculum,
        env.axes,
        config.num_envs,
        scores,
        teacher_score=teacher_score,
        teacher_learns=learning is not None,
    )
    env.level_source = curriculum.assign
    learnt_in = lied_to(env, student, config.adversary, config.steps, experiment.seed + 3)
    source = RolloutSource(
        learnt_in, config.ticks, hidden_size=student.state_size, running=curriculum.running
    )
    source.share_with_teacher(config.share(0.0))
    if saved is None:
        source.start(experiment.seed + 1)
    else:
        with stage.going_on():
            distiller.load_state_dict(saved["learner"])
            source.load_state_dict(saved["source"])
            curriculum.load_state_dict(saved["curriculum"])
            if learning is not None:
                learning.load_state_dict(saved["teacher"])

    def snapshot() -> dict[str, Any]:
        return {
            "learner": distiller.state_dict(),
            "source": source.state_dict(),
            "curriculum": curriculum.state_dict(),
            **({} if learning is None else {"teacher": learning.state_dict()}),
        }

    iterations = distil(
        distiller,
        source,
        curriculum,
        learning=learning,
        steps_done=stage.steps,
        seconds=stage.seconds,
    )
    iterations = keep_snapshots(
        iterations,
        student,
        env,
        experiment.hardest_level,
        stage.folder / "levels",
        start=curriculum.frontier,
        steps_done=stage.steps,
    )
    return stage.run(iterations, snapshot, progress)


def export_bundle(experiment: Experiment, folder: Path) -> Path:
    """Write the student's bundle to ``folder/student``; returns it.

    Raises:
        RetortError: no robot, no finished student, or the bundle cannot be written.
    """
    _, _, contract = experiment.robot_world().load()
    student = load_student(experiment, folder)
    meta, tensors = student.export()
    golden = _golden(experiment, student)
    extra = {
        "policy.onnx": to_onnx(contract, meta, tensors),
        "policy.h": to_c(contract, meta, tensors),
    }
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    save_bundle(folder / "student", contract, meta, arrays, golden, extra)
    return folder / "student"


def evaluate(
    experiment: Experiment, folder: Path, *, fresh: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Teacher and student on held-out episodes, level by level; writes ``evaluation.json``.

    What one of them did is written as soon as it has ended, for another call to go on with.

    Raises:
        RetortError: no finished teacher or student.
    """
    config, levels = experiment.evaluation, experiment.hardest_level
    student = load_student(experiment, folder)
    teacher = load_teacher(experiment, folder)
    actors = actor_of(teacher.actor), actor_of(student)
    outcomes = outcomes_of_run(experiment, folder, "levels", fresh=fresh)
    began = time.monotonic()

    def report(done: int, row: dict[str, Any]) -> None:
        if progress is not None:
            seconds = time.monotonic() - began
            progress({"done": done, "total": levels + 2, "seconds": seconds, "row": row})

    # All levels run side by side, a block of environments each.
    count = config.episodes
    env = experiment.world.make_env(
        count * (levels + 1), episode_seconds=config.seconds, autoreset=False
    )
    axes = len(env.axes)

    def level_source(ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.repeat((ids // count / max(levels, 1))[:, None], axes, axis=1)

    env.level_source = level_source
    blocks = [(level, slice(level * count, (level + 1) * count)) for level in range(levels + 1)]
    rows = compare(env, *actors, blocks, config.seed, reuse=outcomes)
    report(levels + 1, rows[-1])
    env = experiment.world.make_env(
        config.hardest_episodes, episode_seconds=config.hardest_seconds, autoreset=False
    )
    whole = [(levels, slice(None))]
    [hardest] = compare(env, *actors, whole, config.seed + 1, reuse=outcomes)
    report(levels + 2, hardest)
    result = {
        "levels": rows,
        "hardest": hardest,
        "parameters": {
            "student": student.parameter_count(),
            "teacher_actor": teacher.actor.parameter_count(),
        },
    }
    write_json(folder / "evaluation.json", result)
    return result


def _random_scores(experiment: Experiment) -> np.ndarray:
    """Score of a policy of uniform random actions at each level, (levels + 1,)."""
    seed = experiment.evaluation.seed + 100
    return random_scores(lambda level: _measured(experiment, level), experiment.hardest_level, seed)


def _teacher_score(experiment: Experiment, teacher: Teacher) -> float:
    """Score of a teacher at the easiest level, acting as it does in distillation."""
    generator = torch.Generator().manual_seed(experiment.seed)

    @torch.no_grad()
    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> tuple[Any, Any, Tensor]:
        if reset.all():
            state = teacher.initial_state(len(reset))
        return sampled_action(teacher, groups, state, reset, generator)

    env, seed = _measured(experiment, 0.0), experiment.evaluation.seed + 200
    return float(run_episodes(env, act, seed).score.mean())


def _measured(experiment: Experiment, level: float, episodes: int = 128) -> LearningEnv:
    """Whole episodes as those of distillation, whose scores are compared with theirs."""
    config = experiment.distill
    return experiment.world.make_env(
        episodes,
        level=level,
        episode_seconds=config.episode_seconds,
        event_rate=config.event_rate,
        autoreset=False,
    )


def _golden(experiment: Experiment, student: Student, sequences: int = 4, ticks: int = 60) -> Any:
    """Readings of the hardest level, losses included, and what the network makes of them."""
    env = experiment.robot_world().make_env(sequences, episode_seconds=60.0, autoreset=False)
    _, info = env.reset(seed=experiment.evaluation.seed - 1)
    act = actor_of(student)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*STATE_FIELDS, "command")}
    state, reset = student.initial_state(sequences), torch.ones(sequences, dtype=torch.bool)
    for _ in range(ticks):
        for name in STATE_FIELDS:
            rows[name].append(np.array(getattr(env.reading, name)))
        rows["command"].append(env.command.copy())
        groups = {g: torch.from_numpy(info[g]) for g in ("student", "teacher")}
        action, _, state = act(groups, state, reset)
        reset = torch.zeros(sequences, dtype=torch.bool)
        _, _, _, _, info = env.step(action.numpy())
    arrays: dict[str, Any] = {name: np.stack(v, axis=1) for name, v in rows.items()}
    commands = arrays.pop("command")

    @torch.no_grad()
    def decide(observation: np.ndarray, hidden: Any) -> tuple[np.ndarray, Any]:
        first = hidden is None
        hidden = student.initial_state(1) if first else hidden
        sequence = torch.from_numpy(np.asarray(observation, dtype=np.float32))[None, None]
        distribution, hidden = student(sequence, hidden, torch.tensor([[first]]))
        return distribution.mode()[0, 0].numpy(), hidden

    return record_golden(env.contract, decide, RobotState(**arrays), commands)
