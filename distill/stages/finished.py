"""What finished stages left in a run folder, loaded: teachers, one that goes on, the student."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...hardware.errors import RetortError
from ...hardware.parsing import parse
from ...sim.interface import LearningEnv
from ...sim.named import OWN as OWN_TASKS
from ..checkpoint import load_checkpoint
from ..concurrent import LearningTeacher
from ..experiment import STUDENT_PARTS, Experiment
from ..modes import MODES
from ..networks import CategoricalActor, Critic, GaussianActor, take_over
from ..ppo import PPO, PPOConfig
from ..return_scale import ReturnScale
from ..students import MlpStudent, Student, make_student
from ..teachers import ActorTeacher, Teacher, ValuesOf
from ..teachers.foreign import KINDS, ForeignTeacherError, load_teacher_file
from ..teachers.foreign.base import count_of_actions, has_actions
from ..teachers.named import OWN, NamedTeacher
from ..teachers.own import load_own_teacher


class UnfinishedError(RetortError):
    """A stage is not there, or stopped before its budget was spent."""


def load_teachers(experiment: Experiment, folder: Path, env: LearningEnv) -> list[Teacher]:
    """The teacher of a run folder, and the others the recipe names, for ``env``.

    Raises:
        RetortError: one is missing, unfinished, damaged, or sees something else.
    """
    check_weighting(experiment)
    first = load_teacher(experiment, folder)
    named = enumerate(experiment.distill.teachers.named)
    return [first, *(load_named(experiment, i, other, env) for i, other in named)]


def load_named(
    experiment: Experiment, place: int, other: NamedTeacher, env: LearningEnv
) -> Teacher:
    """The teacher that a recipe names at ``place`` of its ``others``, for ``env``: in a file, as a
    Python file defines it, or in a run folder, and then as that run trained it.

    Raises:
        ForeignTeacherError: the file cannot be read, an option is not in its range, or it does not
            fit.
        RetortError: the run's is missing, unfinished, damaged, or sees something else.
    """
    if other.is_file:
        try:
            if other.kind == OWN:
                return load_own_teacher(other.path, env, other.options)
            return load_teacher_file(other.path, kind=other.kind, env=env, **other.options)
        except RetortError as error:
            raise ForeignTeacherError(f"distill.teachers.others[{place}]: {error}") from error
    config, saved = _finished_elsewhere(other.path)
    teacher = _teacher(config, saved["learner"], experiment.distill.std_floor)
    sees, expected = teacher.actor.network[0].in_features, env.groups["teacher"]
    if sees != expected:
        raise RetortError(
            f"the teacher in {other.path} sees {sees} numbers and that of this recipe {expected}; "
            "teachers of one student must be trained on one robot and task, or environment"
        )
    outputs = _sizes(saved["learner"]["actor"])[-1]
    discrete = isinstance(teacher.actor, CategoricalActor)
    if not has_actions(env.single_action_space, outputs, discrete=discrete):
        raise RetortError(
            f"the teacher in {other.path} has {count_of_actions(outputs, discrete=discrete)}, and "
            f"actions of this recipe are {env.single_action_space}; teachers of one student must "
            "be trained on one robot and task, or environment"
        )
    return teacher


def trained_otherwise(experiment: Experiment) -> list[str]:
    """Teachers of other run folders that were trained on another robot, task or environment: one
    sentence each. That may be meant, and what they see and do may fit; a folder named by mistake
    would go unnoticed.

    Raises:
        RetortError: one is missing, unfinished or damaged.
    """
    said = []
    here = _names(vars(experiment))
    for other in experiment.distill.teachers.named:
        if other.is_file:
            continue
        there = _names(json.loads(_finished_elsewhere(other.path)[1]["key"]))
        if here != there:
            ours, theirs = (
                " and ".join(f"{kind} {name}" for kind, name in names.items())
                for names in (here, there)
            )
            said.append(f"the teacher in {other.path} was trained on {theirs}; this is {ours}")
    return said


def _names(experiment: Mapping[str, Any]) -> dict[str, str]:
    """What is learnt on, by one name where it has several: environments that we simulate, and files
    and folders wherever they are.
    """
    if experiment.get("environment") is not None:
        name: str = experiment["environment"]
        return {"environment": OWN_TASKS.get(name, name)}
    return {kind: Path(experiment[kind]).name for kind in ("robot", "task")}


def share_normaliser(
    teacher: Teacher, experiment: Experiment, student: Student, critic: Critic
) -> None:
    """Let student and critic begin behind what ``teacher`` knows of the numbers that they see too:
    nothing has to be measured anew, and a term such as ``proximal`` compares two policies that look
    through the same glass. Only an actor of ours tells, and where the world says which they are.
    """
    columns = experiment.world.student_columns()
    if columns is None or not isinstance(teacher, ActorTeacher):
        return
    known = teacher.actor.normaliser
    take_over(student.normaliser, known, torch.from_numpy(columns))
    take_over(critic.normaliser, known, torch.arange(len(known.mean)))


def check_weighting(experiment: Experiment) -> None:
    """A recipe's teachers cannot be weighed by task.

    Raises:
        RetortError: they are.
    """
    if experiment.distill.teachers.weighting == "task":
        raise RetortError(
            "distill.teachers.weighting is 'task', but a recipe has one task; use 'fixed' or "
            "'value', or route in code, where a RolloutSource is told its environments' tasks"
        )


def require_teachers(experiment: Experiment, folder: Path) -> None:
    """The checkpoints of the teachers to distil from must be there and whole.

    Raises:
        RetortError: one is missing, unfinished or damaged.
    """
    finished(folder / "teacher", experiment.teacher.steps, "train")
    require_other_runs(experiment)


def require_other_runs(experiment: Experiment) -> None:
    """The run folders whose teachers the recipe names must hold them, finished.

    Raises:
        RetortError: one is missing, unfinished or damaged.
    """
    for other in experiment.distill.teachers.named:
        if not Path(other.path).is_file():
            _finished_elsewhere(other.path)


def teacher_digests(experiment: Experiment) -> tuple[str | None, ...]:
    """Of what stands now where a recipe names teachers, in its order, None where nothing does; of
    nobody where a data set holds what they said.
    """
    if experiment.distill.dataset is not None:
        return ()
    return tuple(other.digest() for other in experiment.distill.teachers.named)


def distillation_key(experiment: Experiment) -> str:
    """Text that is equal when two distillations would learn the same, of the same teachers."""
    return " ".join([experiment.key(STUDENT_PARTS), *map(str, teacher_digests(experiment))])


def is_to_come(other: NamedTeacher) -> bool:
    """A teacher is named by a run folder that is still to be made, or in which it is not finished.

    Raises:
        RetortError: it is damaged, or of another version of retort.
    """
    if other.is_file:
        return False
    if not Path(other.path).exists():
        return True
    try:
        _finished_elsewhere(other.path)
    except UnfinishedError:
        return True
    return False


def load_teacher(experiment: Experiment, folder: Path) -> ActorTeacher:
    """The finished teacher of a run folder: as distillation left it if it learnt there too.

    Raises:
        RetortError: it is missing, unfinished or damaged.
    """
    if MODES[experiment.distill.mode].teacher_learns:
        saved = finished(folder / "distillation", experiment.distill.steps, "distill")["teacher"]
    else:
        saved = finished(folder / "teacher", experiment.teacher.steps, "train")
    return _teacher(experiment.teacher, saved["learner"], experiment.distill.std_floor)


def load_learning_teacher(
    experiment: Experiment, folder: Path, env: LearningEnv, student: Student, critic: Critic
) -> LearningTeacher:
    """The teacher of a run folder as a learner that goes on beside ``student``.

    Raises:
        RetortError: it is missing, unfinished or damaged, or cannot share layers with the student.
    """
    saved = finished(folder / "teacher", experiment.teacher.steps, "train")
    ppo = PPO(experiment.teacher, env, experiment.seed + 2)
    ppo.load_state_dict(saved["learner"])
    return learning_teacher(experiment, ppo, student, critic)


def learning_teacher(
    experiment: Experiment, ppo: PPO, student: Student, critic: Critic
) -> LearningTeacher:
    """``ppo`` as a teacher that goes on learning beside ``student`` and its ``critic``.

    Raises:
        RetortError: it cannot share layers with the student.
    """
    config = experiment.distill.concurrent
    shared = None
    if config.shared_layers:
        if not isinstance(student, MlpStudent):
            raise RetortError("shared_layers needs a student of kind 'mlp'; set it to 0")
        shared = student
    try:
        return LearningTeacher(ppo, config, shared, critic, std_floor=experiment.distill.std_floor)
    except ValueError as error:
        raise RetortError(f"distill.concurrent: {error}") from error


def load_student(experiment: Experiment, folder: Path) -> Student:
    """The finished student of a run folder, as it will be deployed.

    Raises:
        RetortError: it is missing, unfinished or damaged.
    """
    saved = finished(folder / "distillation", experiment.distill.steps, "distill")
    student = make_student(experiment.student, experiment.world.interface())
    student.load_state_dict(saved["learner"]["student"])
    return student.deployed().eval().requires_grad_(False)


def finished(folder: Path, budget: int, verb: str) -> dict[str, Any]:
    """The checkpoint of a stage that has spent its budget.

    Raises:
        RetortError: there is none, it is damaged, or the stage is not finished.
    """
    saved = _checkpoint(folder, verb)
    _require_spent(saved, folder, budget, verb)
    return saved


def _checkpoint(folder: Path, verb: str) -> dict[str, Any]:
    path, line = folder / "checkpoint.safetensors", _command_line(verb, folder.parent)
    if not path.exists():
        raise UnfinishedError(f"there is no checkpoint {path}; run `{line}` first")
    return load_checkpoint(path, f"`{line} --fresh` makes it again")


def _require_spent(saved: dict[str, Any], folder: Path, budget: int, verb: str) -> None:
    if int(saved["steps"]) < budget:
        raise UnfinishedError(
            f"{folder / 'checkpoint.safetensors'} stands at {saved['steps']} of {budget} steps; "
            f"run `{_command_line(verb, folder.parent)}` to finish it"
        )


def _command_line(verb: str, run: Path) -> str:
    """What to type for ``verb`` in a run folder, which may not hold its recipe yet."""
    where = shlex.quote(str(run))
    given = where if (run / "recipe.toml").is_file() else f"RECIPE --out {where}"
    return f"retort {verb} {given}"


def _finished_elsewhere(other: str) -> tuple[PPOConfig, dict[str, Any]]:
    """The settings and the checkpoint of the teacher in another run folder, which ``other`` must
    be. The settings are those that stand in the checkpoint, of the recipe it was trained by.

    Raises:
        ForeignTeacherError: there is no such file or folder.
        RetortError: its teacher is missing, unfinished, damaged, or of another version of retort.
    """
    if not Path(other).is_dir():
        files = ", ".join(f"{kind} ({known.ending})" for kind, known in KINDS.items())
        raise ForeignTeacherError(
            f"there is no {other}, which distill.teachers.others names; a teacher is a run "
            f"folder, a file of {files}, or a .py file"
        )
    folder = Path(other) / "teacher"
    saved = _checkpoint(folder, "train")
    try:
        config = parse(PPOConfig, json.loads(saved["key"])["teacher"])
    except (KeyError, TypeError, ValueError) as error:
        raise RetortError(
            f"the teacher in {other} was trained with settings that this version of retort does "
            f"not know ({error}); train it again with this one"
        ) from error
    _require_spent(saved, folder, config.steps, "train")
    return config, saved


def _teacher(config: PPOConfig, saved: dict[str, Any], std_floor: float) -> ActorTeacher:
    """The teacher that was trained with ``config``, from its checkpoint's learner."""
    inputs, *hidden, outputs = _sizes(saved["actor"])
    family = GaussianActor if "log_std" in saved["actor"] else CategoricalActor
    actor = family(inputs, outputs, tuple(hidden), config.activation)
    inputs, *hidden, _ = _sizes(saved["critic"])
    critic = Critic(inputs, tuple(hidden), config.activation)
    actor.load_state_dict(saved["actor"])
    critic.load_state_dict(saved["critic"])
    scale = ReturnScale(config.gamma)
    scale.load_state_dict(saved.get("return_scale", {}))
    unit = scale.value_unit(config.reward_scale)
    values_of = ValuesOf(config.gamma, config.final_fall_penalty)
    return ActorTeacher(actor, critic, std_floor=std_floor, value_unit=unit, values_of=values_of)


def _sizes(state: dict[str, Any]) -> list[int]:
    """Widths of a perceptron from input to output, from its weights."""
    weights = [
        state[name]
        for name in sorted(
            (n for n in state if n.startswith("network.") and n.endswith(".weight")),
            key=lambda n: int(n.split(".")[1]),
        )
    ]
    return [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
