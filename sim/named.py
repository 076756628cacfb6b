"""Gymnasium's environments by name: its MuJoCo tasks as we simulate them, any other one wrapped."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

import gymnasium

from ..hardware.checks import at_least, check_fields
from ..hardware.errors import RetortError
from .arguments import EnvError
from .gymnasium_tasks import TASKS, Difficulty, GymnasiumTaskEnv, StudentView, make_task
from .switches import Switch
from .wrapped import WrappedEnv

# Tasks that we simulate, by their own names and by those under which they are registered.
OWN = {
    name: task
    for task in TASKS
    for name in (task, f"retort/{task}-v5", f"retort.sim:retort/{task}-v5")
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GymnasiumConfig:
    """How an environment that is named is made.

    ``view`` and ``difficulty`` are for the tasks that we simulate.
    """

    keywords: dict[str, Any] = dataclasses.field(default_factory=dict)  # the environment's own
    max_episode_steps: int | None = None  # time limit; the environment's own when absent
    view: StudentView = StudentView()  # what the student sees
    difficulty: Difficulty | None = None  # what the axes do; there are none when absent

    def __post_init__(self) -> None:
        check_fields(self, max_episode_steps=at_least(1))


def make_named_env(
    name: str,
    num_envs: int,
    config: GymnasiumConfig,
    *,
    level: float = 1.0,
    switches: tuple[Switch, ...] = (),
    autoreset: bool = True,
) -> GymnasiumTaskEnv | WrappedEnv:
    """Environments of that name.

    Actions of the tasks that we simulate are clipped to what the motors take.

    Args:
        name: one of ``OWN``, or what ``gymnasium.make`` takes: ``CartPole-v1``, or
            ``module:Name-v0`` of an environment that is registered when ``module`` is imported.
        num_envs: environments.
        config: how they are made.
        level: difficulty in [0, 1] on every axis, if there are any.
        switches: changes in the middle of episodes.
        autoreset: as ``LearningEnv`` says.

    Raises:
        EnvError: there is no such environment, it cannot be made, or it has no view, difficulty or
            switches.
        RetortError: one of our own cannot be made so; see ``GymnasiumTaskEnv``.
        WrapError: learning cannot use it.
    """
    if name in OWN:
        return GymnasiumTaskEnv(
            make_task(OWN[name], config.keywords),
            num_envs,
            max_episode_steps=config.max_episode_steps,
            difficulty=config.difficulty,
            level=level,
            switches=switches,
            student=config.view,
            actions="clipped",
            dtype="float32",
            autoreset=autoreset,
        )
    ours = {
        "gymnasium.view": config.view != StudentView(),
        "gymnasium.difficulty": config.difficulty,
        "switches": switches,
    }
    for what, given in ours.items():
        if given:
            raise EnvError(
                f"{what} is for the tasks that retort simulates ({', '.join(TASKS)}), "
                f"and the environment is {name!r}; leave it out, or name one of them"
            )
    try:
        return WrappedEnv(
            name,
            num_envs,
            max_episode_steps=config.max_episode_steps,
            autoreset=autoreset,
            **config.keywords,
        )
    except RetortError:
        raise
    except ModuleNotFoundError as error:
        raise EnvError(
            f"the environment {name!r} needs the module {error.name!r}; install its package"
        ) from error
    except Exception as error:  # of whatever kind: environments come from anywhere
        if name.rpartition(":")[2] not in gymnasium.registry:
            raise EnvError(_unknown(name)) from error
        raise EnvError(f"the environment {name!r} cannot be made: {error}") from error


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, [*OWN, *gymnasium.registry])
    said = f" ({' or '.join(near)}?)" if near else ""
    return (
        f"there is no environment {name!r}{said}; retort simulates {', '.join(TASKS)}, and takes "
        "any other by the name that gymnasium.make takes, such as CartPole-v1, or module:Name-v0 "
        "once its package is installed"
    )
