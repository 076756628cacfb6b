"""Teachers of a recipe's own: what a Python file that it names defines as ``TEACHER``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import torch
from gymnasium.spaces import Discrete

from ...hardware.parsing import parse
from ...sim.definition import DefinitionError, defined_in, option_types
from ...sim.interface import LearningEnv
from ..distributions import Categorical, Distribution
from .foreign import ForeignTeacherError
from .teacher import Teacher, TeacherOutput


def own_options(path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the teacher that a file defines, each of its type.

    Raises:
        ForeignTeacherError: there is no such file, teacher or option, or an option is of another
            type.
    """
    try:
        defined = defined_in(path, "TEACHER")
        if not callable(defined):
            raise DefinitionError(
                f"TEACHER of {path} is {defined!r}; let it be a class or function that makes one "
                "for an environment"
            )
        known = option_types(defined, given=1)
    except DefinitionError as error:
        raise ForeignTeacherError(str(error)) from error
    if unknown := sorted(options.keys() - known.keys()):
        raise ForeignTeacherError(
            f"the teacher {path} takes no option {unknown[0]!r}; its options are "
            f"{', '.join(known) or 'none'}"
        )
    try:
        return {name: parse(known[name], value, name) for name, value in options.items()}
    except ValueError as error:
        raise ForeignTeacherError(f"the teacher {path}: {error}") from error


def load_own_teacher(path: str, env: LearningEnv, options: Mapping[str, Any]) -> Teacher:
    """The teacher that a file defines, made for ``env``, which asks it once.

    Raises:
        ForeignTeacherError: as ``own_options``; or what it says does not fit ``env``.
    """
    checked = own_options(path, options)
    teacher: Teacher = defined_in(path, "TEACHER")(env, **checked)
    _check(path, teacher, env)
    return teacher


@torch.no_grad()
def _check(path: str, teacher: Teacher, env: LearningEnv) -> None:
    """What it says of two environments at one tick must be of their actions.

    Raises:
        ForeignTeacherError: it is of something else.
    """
    groups = {group: torch.zeros(1, 2, size) for group, size in env.groups.items()}
    state, resets = teacher.initial_state(2), torch.ones(1, 2, dtype=torch.bool)
    said = teacher(groups, state, resets)
    if not (isinstance(said, tuple) and len(said) == 2 and isinstance(said[0], TeacherOutput)):
        raise ForeignTeacherError(
            f"the teacher {path} gives a {type(said).__name__}; let it give a TeacherOutput and "
            "its hidden state after that, as initial_state() has it"
        )
    if wrong := other_actions(said[0].distribution, env.single_action_space):
        raise ForeignTeacherError(f"the teacher {path} {wrong}")


def other_actions(said: Distribution, space: gymnasium.Space[Any]) -> str:
    """How what somebody says of two environments at one tick, (1, 2), is not of actions in
    ``space``; empty where it is.
    """
    if isinstance(space, Discrete):
        wanted = f"a Categorical of shape (1, 2) over {space.n} choices"
    else:
        wanted = f"continuous actions of shape {(1, 2, *(space.shape or ()))}"
    if isinstance(said, Categorical):
        shape = tuple(said.batch_shape)
        got = f"a Categorical of shape {shape} over {said.logits.shape[-1]} choices"
    else:
        got = f"continuous actions of shape {tuple(said.mode().shape)}"
    if got == wanted:
        return ""
    return (
        f"says {got} of two environments at one tick; actions here are those of {space}, let it "
        f"say {wanted}"
    )
