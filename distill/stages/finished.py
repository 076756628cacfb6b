"""What finished stages left in a run folder, loaded: teachers, one that goes on, the student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...hardware.errors import RetortError
from ...sim.env import RobotEnv
from ..checkpoint import load_checkpoint
from ..concurrent import LearningTeacher
from ..experiment import Experiment
from ..networks import Critic, GaussianActor
from ..ppo import PPO
from ..return_scale import ReturnScale
from ..students import MlpStudent, Student, make_student
from ..teachers import ActorTeacher, Teacher
from ..teachers.foreign import KINDS, ForeignTeacherError, load_teacher_file
from ..teachers.named import NamedTeacher


def load_teachers(experiment: Experiment, folder: Path, env: RobotEnv) -> list[Teacher]:
    """The teacher of a run folder, and the others the recipe names, for ``env``.

    Raises:
        RetortError: one is missing, unfinished, damaged, or sees something else.
    """
    check_weighting(experiment)
    first = load_teacher(experiment, folder)
    teachers: list[Teacher] = [first]
    for i, other in enumerate(experiment.distill.teachers.named):
        if Path(other.path).is_file():
            teachers.append(load_named_file(i, other, env))
            continue
        teacher = _teacher(experiment, _finished_elsewhere(other.path)["learner"])
        sizes = [t.actor.network[0].in_features for t in (first, teacher)]
        if sizes[0] != sizes[1]:
            raise RetortError(
                f"the teacher in {other.path} sees {sizes[1]} numbers and that of {folder} "
                f"{sizes[0]}; teachers of one student must be trained on one robot and task"
            )
        teachers.append(teacher)
    return teachers


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


def load_named_file(place: int, other: NamedTeacher, env: RobotEnv) -> Teacher:
    """The teacher in a file that a recipe names at ``place`` of its ``others``, for ``env``.

    Raises:
        ForeignTeacherError: it cannot be read, an option is not in its range, or it does not fit.
    """
    try:
        return load_teacher_file(other.path, kind=other.kind, env=env, **other.options)
    except RetortError as error:
        raise ForeignTeacherError(f"distill.teachers.others[{place}]: {error}") from error


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


def load_teacher(experiment: Experiment, folder: Path) -> ActorTeacher:
    """The finished teacher of a run folder: as distillation left it if it learnt there too.

    Raises:
        RetortError: it is missing, unfinished or damaged.
    """
    if experiment.distill.mode == "concurrent":
        saved = finished(folder / "distillation", experiment.distill.steps, "distill")
        return _teacher(experiment, saved["teacher"]["learner"])
    saved = finished(folder / "teacher", experiment.teacher.steps, "train")
    return _teacher(experiment, saved["learner"])


def load_learning_teacher(
    experiment: Experiment, folder: Path, env: RobotEnv, student: Student, critic: Critic
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
    _, _, contract = experiment.load()
    student = make_student(experiment.student, contract)
    student.load_state_dict(saved["learner"]["student"])
    return student.deployed().eval().requires_grad_(False)


def finished(folder: Path, budget: int, verb: str) -> dict[str, Any]:
    """The checkpoint of a stage that has spent its budget.

    Raises:
        RetortError: there is none, it is damaged, or the stage is not finished.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        raise RetortError(f"there is no checkpoint {path}; run `retort {verb}` first")
    saved = load_checkpoint(path, f"`retort {verb} {folder.parent} --fresh` makes it again")
    if int(saved["steps"]) < budget:
        raise RetortError(
            f"{path} stands at {saved['steps']} of {budget} steps; run `retort {verb}` to finish it"
        )
    return saved


def _finished_elsewhere(other: str) -> dict[str, Any]:
    """The checkpoint of the teacher in another run folder, which ``other`` must be.

    Raises:
        ForeignTeacherError: there is no such file or folder.
        RetortError: its teacher is missing, unfinished or damaged.
    """
    if not Path(other).is_dir():
        files = ", ".join(f"{kind} ({known.ending})" for kind, known in KINDS.items())
        raise ForeignTeacherError(
            f"there is no {other}, which distill.teachers.others names; a teacher is a run folder "
            f"or a file of {files}"
        )
    return finished(Path(other) / "teacher", 1, "train")


def _teacher(experiment: Experiment, saved: dict[str, Any]) -> ActorTeacher:
    activation = experiment.teacher.activation
    inputs, *hidden, outputs = _sizes(saved["actor"])
    actor = GaussianActor(inputs, outputs, tuple(hidden), activation)
    inputs, *hidden, _ = _sizes(saved["critic"])
    critic = Critic(inputs, tuple(hidden), activation)
    actor.load_state_dict(saved["actor"])
    critic.load_state_dict(saved["critic"])
    scale = ReturnScale(experiment.teacher.gamma)
    scale.load_state_dict(saved.get("return_scale", {}))
    unit = scale.value_unit(experiment.teacher.reward_scale)
    return ActorTeacher(actor, critic, std_floor=experiment.distill.std_floor, value_unit=unit)


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
