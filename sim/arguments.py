"""What the environments refuse, said in one way: arguments, options of a reset, actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from ..hardware.checks import SHARE, between, check
from ..hardware.errors import RetortError

RENDER_MODES = ("rgb_array",)
GROUPS = ("student", "teacher")


class EnvError(RetortError, ValueError):
    """An environment was made or driven with something that it cannot take."""


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """``value`` must be one of ``choices``.

    Raises:
        EnvError: it is not; the message lists them.
    """
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise EnvError(f"{name} is {value!r}; use one of {allowed}")


def check_making(num_envs: int, observation: str, render_mode: str | None) -> None:
    """What every environment is made with.

    Raises:
        EnvError: an observation group or way of drawing that there is not.
        RangeError: no environments, or more than any memory holds.
    """
    check("num_envs", num_envs, between(1, 10**6))
    check_choice("observation", observation, GROUPS)
    check_choice("render_mode", render_mode, (None, *RENDER_MODES))


def one_level_each(level: float | Sequence[float], axes: Sequence[str]) -> np.ndarray:
    """``level`` of every axis, (axes,), from one number or one per axis.

    Raises:
        EnvError: there is another number of them.
        RangeError: one is not in [0, 1].
    """
    levels = np.asarray(level, dtype=np.float64)
    if levels.shape not in ((), (len(axes),)):
        raise EnvError(
            f"level has shape {levels.shape}; give one number, or one for each of the "
            f"{len(axes)} axes: {', '.join(axes) or 'none'}"
        )
    check("level", level if levels.shape == () else levels.tolist(), SHARE)
    return np.broadcast_to(levels, (len(axes),))


def stagger(options: Mapping[str, Any] | None) -> bool:
    """Whether ``reset`` was asked to start everyone at a random time of an episode.

    Raises:
        EnvError: it was asked for something else.
    """
    unknown = set(options or {}) - {"stagger"}
    if "reset_mask" in unknown:
        raise EnvError(
            "reset_mask is not supported: with autoreset whoever finishes begins anew by itself, "
            "without it everyone begins anew together; call reset without it"
        )
    if unknown:
        raise EnvError(f"reset has no option {sorted(unknown)[0]!r}; the only one is 'stagger'")
    return bool(options and options.get("stagger"))


def checked_actions(actions: Any, shape: tuple[int, ...], started: bool) -> np.ndarray:
    """``actions`` as an array of ``shape``, (num_envs, actions), all finite.

    What is not finite would stay in the filters and in the physics for good.

    Raises:
        ResetNeeded: the environments have not been reset yet.
        EnvError: another shape, or a value that is not finite.
    """
    if not started:
        raise gymnasium.error.ResetNeeded("call reset before the first step")
    actions = np.asarray(actions)
    if actions.shape != shape:
        raise EnvError(f"actions have shape {actions.shape}, expected {shape}")
    if not np.isfinite(actions).all():
        rows = np.flatnonzero(~np.isfinite(actions).all(axis=1))
        shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise EnvError(
            f"actions of {len(rows)} of {shape[0]} environments ({shown}) are not finite; nothing "
            "was stepped, mend the policy that gave them"
        )
    return actions
