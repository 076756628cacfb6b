"""What befalls a robot during an episode at random times: other commands, and pushes."""

from __future__ import annotations

import numpy as np

from ..controller.command import resting
from .physics import Physics
from .task import Task

_EASY_COMMANDS = 0.4  # share of the command range, around where it rests, at width 0
_ARRAYS = ("command", "next_command", "next_push")


class Events:
    """Commands and pushes of the running episodes.

    ``command`` is the present one, (num_envs, commands) float32; a change makes a new array.
    ``next_command`` and ``next_push``, (num_envs,), are ticks of the episode.

    Args:
        task: says which, how strong and how often.
        physics: what is pushed.
        rate: how many times as often as the task says.
    """

    def __init__(self, task: Task, physics: Physics, rate: float) -> None:
        self._task, self._physics = task, physics
        self._task_second = physics.robot.control_rate / rate  # [ticks]
        n = physics.num_envs
        self._low = np.array([c.low for c in task.command])
        self._high = np.array([c.high for c in task.command])
        self._rest = resting(task.command)
        self._command_axis = task.axes.index("commands")
        self._push_axis = task.axes.index("pushes")
        if task.pushes is not None:
            physics.model.site(task.pushes.site)  # must be there before the first push comes
        self.command = np.zeros((n, len(task.command)), dtype=np.float32)
        self.next_command = np.zeros(n, dtype=np.int64)
        self.next_push = np.zeros(n, dtype=np.int64)

    def begin(self, ids: np.ndarray, levels: np.ndarray, rng: np.random.Generator) -> None:
        """Draw the first of new episodes of ``ids``; ``levels`` are everybody's, as below."""
        self._draw_command(ids, np.zeros(len(ids), dtype=np.int64), levels, rng)
        if self._task.pushes is not None:
            _, high = ticks_between(self._task.pushes.interval, self._task_second)
            # The first may come at once, so that short episodes see as many as long ones.
            self.next_push[ids] = rng.integers(0, high, len(ids))

    def change_commands(
        self, elapsed: np.ndarray, levels: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Draw the commands that are due.

        Args:
            elapsed: (num_envs,) ticks of the running episodes.
            levels: (num_envs, axes) of the running episodes.
            rng: draws them.
        """
        ids = np.flatnonzero(elapsed == self.next_command)
        if len(ids):
            self._draw_command(ids, elapsed[ids], levels, rng)

    def push(self, elapsed: np.ndarray, levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Push whoever it is due for, until ``wrench`` changes; returns their numbers.

        Arguments are those of ``change_commands``.
        """
        pushes = self._task.pushes
        if pushes is None:
            return np.empty(0, dtype=np.int64)
        ids = np.flatnonzero(elapsed == self.next_push)
        if len(ids):
            rate = self._physics.robot.control_rate
            angle = rng.uniform(0.0, 2 * np.pi, len(ids))
            force = pushes.impulse * rate * levels[ids, self._push_axis]
            pushed = np.stack([force * np.cos(angle), force * np.sin(angle), 0.0 * force], axis=1)
            self._physics.apply_force(ids, pushes.site, pushed)
            between = ticks_between(pushes.interval, self._task_second)
            self.next_push[ids] += rng.integers(*between, len(ids))
        return ids

    def _draw_command(
        self,
        ids: np.ndarray,
        elapsed: np.ndarray,
        levels: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        width = levels[ids, self._command_axis]
        share = _EASY_COMMANDS + (1.0 - _EASY_COMMANDS) * width
        drawn = rng.uniform(self._low, self._high, (len(ids), self.command.shape[1]))
        self.command = self.command.copy()  # the last one stays in info
        self.command[ids] = self._rest + (drawn - self._rest) * share[:, None]
        between = ticks_between(self._task.command_interval, self._task_second)
        self.next_command[ids] = elapsed + rng.integers(*between, len(ids))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to go on to the bit."""
        return {name: getattr(self, name).copy() for name in _ARRAYS}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of ``state_dict``."""
        for name in _ARRAYS:
            setattr(self, name, np.asarray(arrays[name]).copy())


def ticks_between(interval: tuple[float, float], second: float) -> tuple[int, int]:
    """Two times [s] in ticks, ``second`` of which are one: from the first to before the second.

    At least one tick, so that what is drawn between them always comes.
    """
    low, high = (round(seconds * second) for seconds in interval)
    low = max(low, 1)
    return low, max(high, low + 1)
