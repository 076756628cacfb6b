"""The tasks by name."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from ...hardware.parsing import parse
from ..task import TaskError
from .ant import Ant
from .half_cheetah import HalfCheetah
from .hopper import Hopper
from .humanoid import Humanoid
from .inverted_double_pendulum import InvertedDoublePendulum
from .inverted_pendulum import InvertedPendulum
from .reacher import Reacher
from .swimmer import Swimmer
from .task import GymnasiumTask
from .walker2d import Walker2d

TASKS: dict[str, type[GymnasiumTask]] = {
    task.name: task
    for task in (
        HalfCheetah,
        Hopper,
        Walker2d,
        Ant,
        Humanoid,
        InvertedPendulum,
        InvertedDoublePendulum,
        Reacher,
        Swimmer,
    )
}


def make_task(task: GymnasiumTask | str, keywords: dict[str, Any] | None = None) -> GymnasiumTask:
    """A task by name with its own keywords, or with some of its keywords changed.

    Raises:
        TaskError: no such task, it has no such keyword, or a value that one cannot have.
    """
    if isinstance(task, str) and task not in TASKS:
        raise TaskError(f"there is no task {task!r} of Gymnasium's; there are {', '.join(TASKS)}")
    kind = TASKS[task] if isinstance(task, str) else type(task)
    known = [field.name for field in dataclasses.fields(kind)]
    if unknown := [name for name in keywords or {} if name not in known]:
        raise TaskError(f"{kind.name} has no keyword {unknown[0]!r}; it has {', '.join(known)}")
    hints = typing.get_type_hints(kind)
    try:
        given = {name: parse(hints[name], value, name) for name, value in (keywords or {}).items()}
        return kind(**given) if isinstance(task, str) else dataclasses.replace(task, **given)
    except ValueError as error:
        raise TaskError(f"{kind.name}'s keyword {error}") from error
