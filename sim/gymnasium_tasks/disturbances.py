"""What is other than in Gymnasium's task during an episode: dynamics, latency, noise and pushes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..episodes import part, with_prefix
from ..events import ticks_between
from ..randomisation import Latency, Slope, downhill
from ..simulations import Simulations
from ..switches import Switch, SwitchTimes
from .difficulty import AXES, TERRAIN, Difficulty, DifficultyError, Dynamics, has_contacts

_NEVER = np.iinfo(np.int64).max
_ARRAYS = ("noise", "next_push", "push_angle", "_latest", "_delay")


class Disturbances:
    """The difficulty and the switches of every running episode.

    ``noise`` is that of the student's observation, (num_envs,) [standard deviations], and
    ``switched``, (num_envs,) bool, whose dynamics changed in the last step. The next push comes at
    tick ``next_push`` of the episode, (num_envs,), in the direction ``push_angle``, (num_envs,)
    [rad].

    Args:
        simulations: what is disturbed.
        difficulty: what the axes do; None is Gymnasium's task and no axes.
        switches: lasting changes in the middle of episodes.

    Raises:
        DifficultyError: a switch of friction, or a slope, where nothing touches.
    """

    def __init__(
        self,
        simulations: Simulations,
        difficulty: Difficulty | None,
        switches: tuple[Switch, ...],
    ) -> None:
        model, n = simulations.model, simulations.num_envs
        if not has_contacts(model) and any(s.quantity == "friction" for s in switches):
            raise DifficultyError(
                "there are no contacts whose friction could switch; choose payload or "
                "motor_strength"
            )
        slope = 0.0 if difficulty is None else difficulty.slope
        if slope and not has_contacts(model):
            raise DifficultyError("nothing stands on a floor that could lean; leave slope at 0")
        self._simulations, self._difficulty = simulations, difficulty
        self._dynamics = Dynamics(simulations)
        self._switch_times = SwitchTimes(switches, n, simulations.period)
        self.switched = np.zeros(n, dtype=bool)
        self.noise = np.zeros(n)
        self.next_push = np.full(n, _NEVER)
        self.push_angle = np.zeros(n)
        latency = 0.0 if difficulty is None else difficulty.latency
        self._latency = None
        if latency > 0:
            self._latency = Latency(low=0.0, high=latency)
            self._latency.bind(simulations)
        self._slope = None
        if slope:
            self._slope = Slope(angle=slope)
            self._slope.bind(simulations)
        late = int(np.ceil(latency / simulations.period))
        self._latest = np.zeros((n, late, model.nu))  # actions that may be on their way
        self._delay = np.zeros((n, int(latency > 0)))

    def begin(self, ids: np.ndarray, levels: np.ndarray, rng: np.random.Generator) -> None:
        """Draw those of new episodes of ``ids`` and write their model fields, uncomputed.

        Args:
            ids: (k,).
            levels: (k, axes) in [0, 1], the difficulty's first.
            rng: draws.
        """
        self._dynamics.reset(ids)
        if self._difficulty is not None:
            width = dict(zip(self._difficulty.axes, levels.T, strict=False))
            self._dynamics.draw(ids, width["randomisation"], self._difficulty, rng)
            self.noise[ids] = width["sensing"] * self._difficulty.noise
            self._latest[ids] = 0.0
            if self._latency is not None:
                drawn = self._latency.sample(self._simulations, ids, width["latency"], rng)
                self._delay[ids] = drawn
            self._draw_push(ids, np.zeros(len(ids), dtype=np.int64), rng)
            if self._slope is not None:
                self._slope.sample(self._simulations, ids, width[TERRAIN], rng)
        self._dynamics.apply(ids)
        self._switch_times.draw(ids, rng)

    def postpone(self, elapsed: np.ndarray) -> None:
        """Episodes have begun that many ticks ago, (num_envs,), with no push until now."""
        going = self.next_push != _NEVER
        self.next_push[going] += elapsed[going]

    def act(
        self,
        action: np.ndarray,
        elapsed: np.ndarray,
        levels: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Switch and push whoever it is due for, before a step.

        Args:
            action: (num_envs, actions) of this step.
            elapsed: (num_envs,) ticks of the running episodes.
            levels: (num_envs, axes) of the running episodes.
            rng: draws.

        Returns:
            Who is pushed, (k,), until ``wrench`` changes.
        """
        self.switched = np.zeros(len(elapsed), dtype=bool)
        for quantity, ids, values in self._switch_times.due(elapsed, rng):
            self._dynamics.set(quantity, ids, values)
            self.switched[ids] = True
        if self.switched.any():
            ids = np.flatnonzero(self.switched)
            self._dynamics.apply(ids)
            self._simulations.batch.set_const(ids)
        if self._latest.shape[1]:
            self._latest = np.concatenate([self._latest[:, 1:], action[:, None]], axis=1)
        ids = np.flatnonzero(self.next_push == elapsed)
        if len(ids):
            force = self._push_force(ids, levels) * self._dynamics.total_mass
            self._simulations.wrench[ids, 1, :2] = force
            self._draw_push(ids, elapsed[ids], rng)
        return ids

    def describe(
        self, ids: slice | np.ndarray, elapsed: np.ndarray, levels: np.ndarray
    ) -> np.ndarray:
        """What the teacher sees of them, (k, size): how the dynamics differ from nominal, the
        actions that may be on their way, latency, the push that comes with the next step, and which
        way the floor falls.
        """
        latest = self._latest[ids]
        parts = [self._dynamics.describe(ids), latest.reshape(len(latest), -1), self._delay[ids]]
        if self._difficulty is not None:
            due = self.next_push[ids] == elapsed[ids]
            parts.append(self._push_force(ids, levels) * due[:, None])
        if self._slope is not None:
            parts.append(downhill(self._simulations, ids))
        return np.concatenate(parts, axis=1)

    def _draw_push(self, ids: np.ndarray, elapsed: np.ndarray, rng: np.random.Generator) -> None:
        assert self._difficulty is not None
        between = ticks_between(self._difficulty.push_interval, 1.0 / self._simulations.period)
        self.next_push[ids] = elapsed + rng.integers(*between, len(ids))
        self.push_angle[ids] = rng.uniform(0.0, 2 * np.pi, len(ids))

    def _push_force(self, ids: slice | np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Horizontal force of the next push over the whole mass, (k, 2) [m/s^2]."""
        assert self._difficulty is not None
        angle = self.push_angle[ids]
        full = self._difficulty.push_speed / self._simulations.period
        force = full * levels[ids, AXES.index("pushes")]
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) * force[:, None]

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit."""
        return {
            **with_prefix("dynamics", {k: v.copy() for k, v in self._dynamics.values.items()}),
            **{name: getattr(self, name).copy() for name in _ARRAYS},
            "switch_ticks": self._switch_times.ticks.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        for name, values in part(state, "dynamics").items():
            self._dynamics.values[name][:] = values
        for name in _ARRAYS:
            getattr(self, name)[:] = state[name]
        self._switch_times.ticks[:] = state["switch_ticks"]
