"""Distillation without a simulator: recorded episodes as a source, and the loop over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..batch import TEACHER, Batch, Episodes, no_episodes
from ..distiller import Distiller
from ..loop import learn_from
from ..students import Student
from ..teachers import Teacher, TeacherOutput, ValuesOf, in_order, numbered
from .recording import DatasetError, Recording, joined
from .source import Actor

# Observations by group, hidden state, resets -> the state after them.
_Reads = Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]


class RecordedTeacher:
    """Stands for a teacher whose word is recorded and who cannot be asked for more."""

    def __init__(self, values_of: ValuesOf | None = None) -> None:
        self.values_of = values_of

    def initial_state(self, n: int) -> Tensor:
        return torch.zeros(n, 0)

    def __call__(
        self, observations: dict[str, Tensor], state: Tensor, resets: Tensor
    ) -> tuple[TeacherOutput, Tensor]:
        raise DatasetError(
            "a term asks the teacher about situations that are not in the data set; leave that "
            "term out, or give the distiller the teacher itself"
        )


class DatasetSource:
    """Yields batches of recorded episodes: ``num_envs`` columns, in each of which episode follows
    episode, in random order, every one once before any comes again.

    The columns begin at random times of their first episodes, as simulated environments do. Who
    reads on (``read_by``) starts each batch with what it remembers of the episode so far.

    Args:
        recordings: at least one, all of one kind.
        num_envs: columns.
        ticks: of one batch.
        seed: of the order.
    """

    tasks = None

    def __init__(
        self, recordings: Sequence[Recording], *, num_envs: int, ticks: int, seed: int
    ) -> None:
        if not recordings:
            raise DatasetError("the data set has no episodes; record some first")
        self.num_envs, self.ticks = num_envs, ticks
        lengths = np.array([len(recording) for recording in recordings])
        self._length, self._first = lengths, np.cumsum(lengths) - lengths
        self.transitions = int(lengths.sum())
        self.episode_ticks = int(lengths.max())
        every = recordings
        self.observations = {  # group: (transitions, size), final ones aside
            group: torch.cat([recording.observations[group][:-1] for recording in every])
            for group in every[0].observations
        }
        self._final = {
            group: torch.stack([recording.observations[group][-1] for recording in every])
            for group in every[0].observations
        }
        self._rows = {
            name: torch.cat([getattr(recording, name) for recording in every])
            for name in ("action", "log_prob", "reward", "terminated", "truncated", "level", "task")
        }
        self.labels = tuple(joined(said) for said in zip(*(r.labels for r in every), strict=True))
        self._values_of = every[0].values_of or (None,) * len(self.labels)
        self._return = np.array([float(recording.reward.sum()) for recording in every])
        self._rng = np.random.default_rng(seed)
        self._queue = np.zeros(0, dtype=np.int64)
        self._episode = self._next(num_envs)
        self._tick = self._rng.integers(0, self._length[self._episode])
        self._whole = self._tick == 0  # the running episode is read from its start
        self._student: Student | None = None
        self._teachers: tuple[Teacher, ...] = ()
        self._hidden: Tensor | None = None
        self._teacher_states: tuple[Tensor, ...] = ()

    @property
    def teachers(self) -> tuple[RecordedTeacher, ...]:
        """One for each that labelled the data, for a ``Distiller``."""
        return tuple(map(RecordedTeacher, self._values_of))

    def read_by(self, student: Student, teachers: Sequence[Teacher] = ()) -> None:
        """Let a student, and teachers that are still there to be asked about other situations, read
        along from now on, to keep up their memories.
        """
        self._student, self._teachers = student, tuple(teachers)

    def share_with_teacher(self, share: float) -> None:
        """Nobody acts."""

    @torch.no_grad()
    def collect(self, student: Actor | None = None, teacher: Actor | None = None) -> Batch:
        """The next ``ticks`` of every column, in which nobody acts any more."""
        if self._hidden is None and self._student is not None:
            reads = _studying(self._student)
            self._hidden = self._remembered(self._student.initial_state, reads)
        if len(self._teacher_states) != len(self._teachers):
            self._teacher_states = tuple(
                self._remembered(t.initial_state, _reading(t)) for t in self._teachers
            )
        index, episode = (np.zeros((self.ticks, self.num_envs), dtype=np.int64) for _ in range(2))
        ended: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
        reset = np.zeros((self.ticks, self.num_envs), dtype=bool)
        for t in range(self.ticks):
            index[t] = self._first[self._episode] + self._tick
            episode[t] = self._episode
            reset[t] = self._tick == 0
            self._tick = self._tick + 1
            done = np.flatnonzero(self._tick == self._length[self._episode])
            if len(done):
                ended.append((t, done, self._episode[done], self._whole[done]))
                self._episode = self._episode.copy()
                self._episode[done] = self._next(len(done))
                self._tick[done] = 0
                self._whole[done] = True
        at = torch.from_numpy(index)
        batch = self._batch(at, torch.from_numpy(reset), ended)
        if self._student is not None and self._student.state_size:
            reads = _studying(self._student)
            self._hidden = reads(batch.observations, batch.initial_state, batch.reset)
        self._teacher_states = tuple(
            _reading(t)(batch.observations, state, batch.reset) if state.shape[-1] else state
            for t, state in zip(self._teachers, self._teacher_states, strict=True)
        )
        return batch

    def figures(self, batch: Batch, steps: int) -> dict[str, Any]:
        """How often all was learnt from, and what those earned who once acted."""
        score = batch.episodes.score
        return {
            "passes": steps / self.transitions,
            "score_teacher": float(score.mean()) if len(score) else None,
        }

    def state_dict(self) -> dict[str, Any]:
        """Where every column stands, and the order to come."""
        return {
            "rng": self._rng.bit_generator.state,
            "queue": self._queue,
            "episode": self._episode,
            "tick": self._tick,
            "whole": self._whole,
            "hidden": torch.zeros(0) if self._hidden is None else self._hidden,
            "teacher_states": numbered(self._teacher_states),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``, of a source over the same recordings."""
        self._rng.bit_generator.state = state["rng"]
        for name in ("queue", "episode", "tick", "whole"):
            setattr(self, f"_{name}", np.asarray(state[name]).copy())
        hidden = torch.as_tensor(state["hidden"])
        self._hidden = hidden.clone() if hidden.ndim == 2 else None
        self._teacher_states = in_order(state.get("teacher_states", {}))

    def _batch(self, at: Tensor, reset: Tensor, ended: list[Any]) -> Batch:
        rows = {name: values[at] for name, values in self._rows.items()}
        now = torch.from_numpy(self._first[self._episode] + self._tick)
        index, of = np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)
        if ended:
            index = np.concatenate([np.stack([np.full_like(i, t), i], 1) for t, i, _, _ in ended])
            of = np.concatenate([episodes for _, _, episodes, _ in ended])
        return Batch(
            observations={group: values[at] for group, values in self.observations.items()},
            driver=torch.full((self.num_envs,), TEACHER),
            reset=reset,
            final_index=torch.from_numpy(index),
            final_observations={group: values[of] for group, values in self._final.items()},
            last_observations={group: values[now] for group, values in self.observations.items()},
            initial_state=torch.zeros(self.num_envs, 0) if self._hidden is None else self._hidden,
            episodes=self._episodes(ended),
            labels=tuple(said.select(at) for said in self.labels),
            teacher_states=self._teacher_states or None,
            **rows,
        )

    def _episodes(self, ended: list[Any]) -> Episodes:
        """Those that ended and were read whole."""
        if not ended:
            return no_episodes()
        env, of, whole = (np.concatenate([each[k] for each in ended]) for k in (1, 2, 3))
        env, of = env[whole], of[whole]
        last = self._first[of] + self._length[of] - 1
        return Episodes(
            torch.from_numpy(env),
            torch.from_numpy(self._return[of] / self.episode_ticks),
            self._rows["terminated"][last],
            torch.zeros(len(env), 0, dtype=torch.int64),
        )

    def _next(self, count: int) -> np.ndarray:
        """The next ``count`` episodes of the order."""
        while len(self._queue) < count:
            self._queue = np.concatenate([self._queue, self._rng.permutation(len(self._length))])
        chosen, self._queue = self._queue[:count], self._queue[count:]
        return chosen

    def _remembered(self, initial_state: Callable[[int], Tensor], reads: _Reads) -> Tensor:
        """Somebody's hidden state where the columns stand, from their episodes' beginnings."""
        state = initial_state(self.num_envs)
        if not state.shape[-1]:
            return state
        for column, (episode, tick) in enumerate(zip(self._episode, self._tick, strict=True)):
            if tick:
                first = self._first[episode]
                past = {
                    g: rows[first : first + tick, None] for g, rows in self.observations.items()
                }
                never = torch.zeros(tick, 1, dtype=torch.bool)
                state[column] = reads(past, initial_state(1), never)[0]
        return state


def _studying(student: Student) -> _Reads:
    return lambda seen, state, resets: student(seen["student"], state, resets)[1]


def _reading(teacher: Teacher) -> _Reads:
    return lambda seen, state, resets: teacher(seen, state, resets)[1]


def distil_offline(
    distiller: Distiller, source: DatasetSource, *, steps_done: int = 0, seconds: float = 0.0
) -> Iterator[dict[str, Any]]:
    """Yield one dict of figures per iteration until the budget is spent.

    The budget, ``steps``, counts transitions learnt from, however often; nothing is simulated and,
    with ``source.teachers``, nobody is asked. Terms that learn from the student's own acts have
    nothing to learn from, and no weight can follow the student's progress.

    Args:
        distiller: with as many teachers as labelled the data.
        source: of as many columns and ticks as ``distiller.config`` says.

    Raises:
        DatasetError: source and distiller do not fit, teachers are gated, which needs a value of
            the student's own acts, or a term's schedule is ``progress``, which needs its score.
    """
    config = distiller.config
    labels = config.teachers.heard(len(source.labels))
    if len(distiller.teachers) != len(labels):
        raise DatasetError(
            f"the data set has labels of {len(labels)} teachers, the distiller "
            f"{len(distiller.teachers)}; give it source.teachers"
        )
    if (source.ticks, source.num_envs) != (config.ticks, config.num_envs):
        raise DatasetError(
            f"the source yields {source.ticks} ticks of {source.num_envs} columns, the distiller "
            f"expects {config.ticks} of {config.num_envs}; give both the same"
        )
    if any(term.schedule == "progress" for term, _ in distiller.terms):
        raise DatasetError(
            "a term's schedule is 'progress', and a student that does not act has no score to "
            "follow; use schedule = 'linear'"
        )
    if config.teachers.gated:
        raise DatasetError(
            "teachers are gated by the value of the student's own acts, and a data set has none; "
            "set gated = false"
        )
    source.read_by(distiller.student, distiller.teachers)
    if steps_done == 0:
        distiller.normalise(source.observations)
    yield from learn_from(distiller, source, steps_done=steps_done, seconds=seconds)
