"""A few ticks of a task before anything is trained at it, and a look at what its methods give."""

from __future__ import annotations

from typing import Any

import numpy as np

from .env import RobotEnv
from .task import Rows, TaskError

TRIED = 5  # environments, so that a shape which is right for one of them is not right for all


def try_task(env: RobotEnv) -> None:
    """Reset, push, ask for something else and step, and look at what the task makes of it.

    Args:
        env: more than one environment of the task.

    Raises:
        TaskError: a method gives another shape or type than ``Task`` says, or no finite numbers.
    """
    env.reset(seed=0)
    everyone, last = slice(None), np.array([env.num_envs - 1])
    _look(env, everyone, env.num_envs)
    _look(env, last, 1)  # as where an episode has just ended
    env.events.next_push[:] = env.elapsed  # what comes now and then comes at once
    env.events.next_command[:] = env.elapsed + 1
    for _ in range(3):
        env.step(np.zeros((env.num_envs, env.contract.action_size), dtype=np.float32))
        _look(env, everyone, env.num_envs)


def _look(env: RobotEnv, rows: Rows, count: int) -> None:
    task, command = env.task, env.command[rows]
    _require_finite(f"task {task.name}: initial_state writes", env.physics.qpos[rows])
    _require_finite(f"task {task.name}: initial_state writes", env.physics.qvel[rows])
    measured = task.measure(env.physics, rows)
    given = {
        "reward": task.reward(measured, command),
        "tracking": task.tracking(measured),
        "privileged": task.privileged(env.physics, rows, measured, command),
        "terminated": task.terminated(measured),
    }
    shapes: dict[str, tuple[int | str, ...]] = {
        "reward": (count,),
        "tracking": (count, len(task.command)),
        "privileged": (count, "k"),
        "terminated": (count,),
    }
    for name, value in given.items():
        who = f"task {task.name}: {name} gives"
        _require_shape(who, value, shapes[name], bool if name == "terminated" else float)
        _require_finite(who, value)


def _require_shape(who: str, value: Any, shape: tuple[int | str, ...], kind: type) -> None:
    wanted = f"an array ({', '.join(map(str, shape))}{',' * (len(shape) == 1)}) of {kind.__name__}"
    if not isinstance(value, np.ndarray):
        got = "None" if value is None else f"a {type(value).__name__}"
        raise TaskError(f"{who} {got}; return {wanted}, a row for each environment asked for")
    fits = len(value.shape) == len(shape) and all(
        isinstance(want, str) or size == want for size, want in zip(value.shape, shape, strict=True)
    )
    if not fits or not np.issubdtype(value.dtype, np.bool_ if kind is bool else np.floating):
        raise TaskError(
            f"{who} an array {value.shape} of {value.dtype}; return {wanted}, a row for each "
            "environment asked for"
        )


def _require_finite(who: str, value: np.ndarray) -> None:
    if not np.isfinite(value).all():
        raise TaskError(f"{who} {value[~np.isfinite(value)][0]}; give finite numbers only")
