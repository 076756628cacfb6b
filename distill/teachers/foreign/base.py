"""What every teacher from elsewhere shares: one observation group, no memory, checked sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from ....hardware.errors import RetortError
from ....sim.interface import LearningEnv
from ..teacher import TeacherOutput, ValuesOf


class ForeignTeacherError(RetortError):
    """A teacher's file cannot be read, or does not fit what is to be learnt."""


def has_actions(space: gymnasium.Space[Any], outputs: int, *, discrete: bool) -> bool:
    """The actions in ``space`` are ``outputs`` choices, or else as many continuous ones."""
    if isinstance(space, gymnasium.spaces.Discrete):  # all count choices from 0
        return discrete and outputs == space.n
    return not discrete and space.shape == (outputs,)


def count_of_actions(outputs: int, *, discrete: bool) -> str:
    """These actions in words."""
    return f"{outputs} {'choices' if discrete else 'continuous actions'}"


class ForeignTeacher:
    """A memoryless teacher over the flat observations of one group; subclasses say what it says.

    Args:
        group: the observations it knows.
        observation_size: of them; None takes any.
        actions: its action space, or None where its file does not tell; its outputs then have
            ``outputs`` columns.
        outputs: actions, or choices if discrete.
        discrete: it chooses.

    ``values_of`` says what its values count; None where it gives none.
    """

    values_of: ValuesOf | None = None

    def __init__(
        self,
        *,
        group: str,
        observation_size: int | None,
        actions: gymnasium.Space[Any] | None,
        outputs: int,
        discrete: bool,
    ) -> None:
        self.group, self.observation_size = group, observation_size
        self.actions, self.outputs, self.discrete = actions, outputs, discrete

    def initial_state(self, n: int) -> Tensor:
        return torch.zeros(n, 0)

    def __call__(
        self, observations: dict[str, Tensor], state: Tensor, resets: Tensor
    ) -> tuple[TeacherOutput, Tensor]:
        if self.group not in observations:
            raise ForeignTeacherError(
                f"the teacher knows the observation group {self.group!r}, there are "
                f"{', '.join(observations)}; set its option group to one of them"
            )
        observation = observations[self.group]
        self._check_size(observation.shape[-1])
        shape = observation.shape[:-1]
        output = self.describe(observation.reshape(-1, observation.shape[-1]))
        return output.select(torch.arange(shape.numel()).view(shape)), state

    def describe(self, observation: Tensor) -> TeacherOutput:
        """What it says of single observations (n, size)."""
        raise NotImplementedError

    def check(self, env: LearningEnv) -> None:
        """That it can teach in ``env``.

        Raises:
            ForeignTeacherError: observations or actions differ; the message says how.
        """
        if self.group not in env.groups:
            raise ForeignTeacherError(
                f"the teacher knows the observation group {self.group!r}, the environment has "
                f"{', '.join(env.groups)}; set its option group to one of them"
            )
        others = [group for group, size in env.groups.items() if size == self.observation_size]
        self._check_size(env.groups[self.group], others)
        space = env.single_action_space
        fits = has_actions(space, self.outputs, discrete=self.discrete)
        known = self.actions
        box = gymnasium.spaces.Box
        if fits and isinstance(known, box) and isinstance(space, box):
            fits = np.allclose(known.low, space.low) and np.allclose(known.high, space.high)
        if not fits:
            counted = count_of_actions(self.outputs, discrete=self.discrete)
            raise ForeignTeacherError(
                f"the teacher's actions are {known or counted}, the "
                f"environment's {space}; use the environment it was trained on, with the same "
                "wrappers"
            )

    def _check_size(self, size: int, fitting: Sequence[str] = ()) -> None:
        """``fitting`` groups are those that it could know instead."""
        if self.observation_size not in (None, size):
            do = "use the environment it was trained on, with the same wrappers"
            if fitting:
                do = f"set its option group to {fitting[0]!r}, which has as many, or {do}"
            raise ForeignTeacherError(
                f"got observations of {size} numbers in group {self.group!r}, the teacher expects "
                f"{self.observation_size}; {do}"
            )
