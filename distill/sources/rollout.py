"""The source that simulates: environments driven by the student, by the teacher, or shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...hardware.errors import RetortError
from ...sim.interface import LearningEnv
from ..batch import STUDENT, TEACHER, Batch, Episodes, no_episodes
from .source import Actor


class RolloutError(RetortError):
    """An environment, or whoever acts in it, has left the finite numbers."""


class RolloutSource:
    """Yields batches of ``ticks`` ticks; episodes run on from batch to batch.

    Args:
        env: with autoreset.
        ticks: of one batch.
        hidden_size: of the student's state.
        running: what each environment runs, (N, k), to be told with its episode when it ends.
        tasks: (N,) int64, which of several tasks each environment sets; all the first when None.

    Attributes:
        drivers: (N,) who acts where, ``STUDENT`` or ``TEACHER``.
        tasks: (N,) int64, as given.

    The student acts everywhere until ``share_with_teacher`` is called.
    """

    def __init__(
        self,
        env: LearningEnv,
        ticks: int,
        hidden_size: int = 0,
        running: Callable[[], np.ndarray] | None = None,
        tasks: Tensor | None = None,
    ) -> None:
        self.env = env
        self.ticks = ticks
        n = env.num_envs
        self.drivers = torch.full((n,), STUDENT)
        self.tasks = torch.zeros(n, dtype=torch.int64) if tasks is None else tasks
        self._running = running or (lambda: np.zeros((n, 0), dtype=np.int64))
        self._hidden = torch.zeros(n, hidden_size)
        self._reset = torch.ones(n, dtype=torch.bool)
        self._whole = np.zeros(n, dtype=bool)  # the running episode was seen from its start
        self._observations: dict[str, Tensor] = {}

    def start(self, seed: int | None) -> None:
        """Reset all environments, each at a random time of its first episode.

        Args:
            seed: of everything random in them; their own stream goes on when None.
        """
        _, info = self.env.reset(seed=seed, options={"stagger": True})
        self._whole = self.env.elapsed == 0
        self._observations = _groups(info)

    def share_with_teacher(self, share: float) -> None:
        """From now on the teacher drives ``share`` of the environments, the first of every task.

        An episode that changes hands is nobody's score.
        """
        drivers = torch.full_like(self.drivers, STUDENT)
        counted, driven = 0, 0
        for task in self.tasks.unique().tolist():
            ids = torch.nonzero(self.tasks == task).squeeze(1)
            counted += len(ids)
            more = round(share * counted) - driven  # of all together it is the share, too
            drivers[ids[:more]] = TEACHER
            driven += more
        self._whole &= (drivers == self.drivers).numpy()
        self.drivers = drivers

    def collect(self, student: Actor, teacher: Actor | None = None) -> Batch:
        """Let the drivers act for ``ticks`` ticks.

        Raises:
            RolloutError: an action, a reward or an observation is not finite. What is not finite is
                given to nobody.
        """
        with one_thread():
            return self._collect(student, teacher)

    def _collect(self, student: Actor, teacher: Actor | None) -> Batch:
        env, ticks, n = self.env, self.ticks, self.env.num_envs
        by_teacher = self.drivers == TEACHER
        keep: dict[str, list[Any]] = {name: [] for name in ("action", "log_prob", "reset", "level")}
        observations: dict[str, list[Tensor]] = {group: [] for group in self._observations}
        reward, terminated, truncated = (np.zeros((ticks, n), dtype=t) for t in ("f4", "?", "?"))
        final_index, final = [], {group: [] for group in self._observations}
        episodes = []
        initial_state = self._hidden.clone()
        running = self._running()
        for t in range(ticks):
            groups = self._observations
            action, log_prob, self._hidden = student(groups, self._hidden, self._reset)
            if teacher is not None and bool(by_teacher.any()):
                other, other_log_prob, _ = teacher(groups, self._hidden, self._reset)
                _require_finite("what the teacher does", other, _SAYS)
                action = torch.where(by_teacher.view(-1, *[1] * (action.ndim - 1)), other, action)
                log_prob = torch.where(by_teacher, other_log_prob, log_prob)
            _require_finite("what the learner does", action, _SAYS)
            for group, values in groups.items():
                observations[group].append(values)
            keep["action"].append(action)
            keep["log_prob"].append(log_prob)
            keep["reset"].append(self._reset)
            keep["level"].append(torch.from_numpy(env.levels.astype(np.float32)))
            running = self._running()
            _, reward[t], terminated[t], truncated[t], info = env.step(action.numpy())
            _require_finite("the reward", torch.from_numpy(reward[t]), _GIVES)
            done = terminated[t] | truncated[t]
            ids = np.flatnonzero(done)
            if len(ids):
                final_index.append(np.stack([np.full(len(ids), t), ids], axis=1))
                last = _groups({group: info[f"final_{group}"][ids] for group in final})
                for group, values in final.items():
                    values.append(last[group])
                whole = ids[self._whole[ids]]
                score, fell = info["episode_score"][whole], terminated[t][whole]
                episodes.append((whole, score, fell, running[whole]))
                self._whole[ids] = True
            self._reset = torch.from_numpy(done)
            self._observations = _groups(info)
        index = np.concatenate(final_index) if final_index else np.zeros((0, 2), dtype=np.int64)
        return Batch(
            observations={group: torch.stack(rows) for group, rows in observations.items()},
            action=torch.stack(keep["action"]),
            log_prob=torch.stack(keep["log_prob"]),
            driver=self.drivers,
            reward=torch.from_numpy(reward),
            terminated=torch.from_numpy(terminated),
            truncated=torch.from_numpy(truncated),
            reset=torch.stack(keep["reset"]),
            final_index=torch.from_numpy(index),
            final_observations={
                group: torch.cat(rows) if rows else torch.zeros(0, observations[group][0].shape[1])
                for group, rows in final.items()
            },
            last_observations=self._observations,
            initial_state=initial_state,
            level=torch.stack(keep["level"]),
            task=self.tasks.expand(ticks, n),
            episodes=_episodes(episodes, running.shape[1]),
        )

    def figures(self, batch: Batch, steps: int) -> dict[str, Any]:
        """What student and teacher earned, and how often the student fell."""
        by_teacher = (batch.driver == TEACHER)[batch.episodes.env]
        students, score = batch.driver == STUDENT, batch.episodes.score
        minutes = batch.ticks * batch.num_envs * self.env.period / 60.0
        falls = float(batch.terminated[:, students].sum())
        return {
            "score_student": _mean(score[~by_teacher]),
            "score_teacher": _mean(score[by_teacher]),
            "reward_student": _mean(batch.reward[:, students]),
            "reward_teacher": _mean(batch.reward[:, ~students]),
            "falls_per_minute": falls / (minutes * float(students.float().mean()) + 1e-9),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit: arrays, tensors and JSON data."""
        return {
            **{f"env.{key}": value for key, value in self.env.state_dict().items()},
            **{f"observation.{key}": value for key, value in self._observations.items()},
            "hidden": self._hidden,
            "reset": self._reset,
            "whole": self._whole,
            "drivers": self.drivers,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""

        def part(prefix: str) -> dict[str, Any]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self.env.load_state_dict(part("env."))
        self.drivers = torch.as_tensor(state["drivers"])
        if not self.env.resumable:  # its episodes are lost; new ones begin
            self._reset[:] = True
            self.start(None)
            return
        self._observations = {k: torch.as_tensor(v) for k, v in part("observation.").items()}
        self._hidden = torch.as_tensor(state["hidden"])
        self._reset = torch.as_tensor(state["reset"])
        self._whole = np.asarray(state["whole"]).copy()


# Observation groups that are kept; the critics', of teacher and student, see the teacher's.
_GROUPS = ("student", "teacher")


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: its idle threads spin for milliseconds and would starve physics'."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_SAYS = "look at its weights, its normaliser and its file"
_GIVES = "what it gives must be finite: look at its step() and reset(), or at its simulation"


def _groups(info: dict[str, Any]) -> dict[str, Tensor]:
    groups = {group: torch.from_numpy(info[group]) for group in _GROUPS}
    for group, values in groups.items():
        _require_finite(f"the observation of group {group!r}", values, _GIVES)
    return groups


def _require_finite(what: str, values: Tensor, why: str) -> None:
    """Of every environment, (N, ...)."""
    if bool(torch.isfinite(values).all()):
        return
    wrong = (~torch.isfinite(values.reshape(len(values), -1))).any(1)
    raise RolloutError(
        f"{what} is not finite in {int(wrong.sum())} of {len(wrong)} environments at once; {why}. "
        "Nothing was learnt from it"
    )


def _mean(values: Tensor) -> float | None:
    return float(values.numpy().mean()) if values.numel() else None


def _episodes(parts: list[tuple[np.ndarray, ...]], width: int) -> Episodes:
    if not parts:
        return no_episodes(width)
    env, score, fell, running = (
        torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True)
    )
    return Episodes(env, score, fell, running)
