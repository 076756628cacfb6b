"""What training on harder levels costs on easier ones: snapshots, and the matrix made of them.

A snapshot is the student alone, written the moment the curriculum moves on. The matrix has the
score on level i after training on level j; a level is forgotten by (best - final) / best.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...hardware.errors import RetortError
from ...sim.interface import LearningEnv
from ..checkpoint import load_checkpoint, save_checkpoint
from ..experiment import Experiment
from ..modes import MODES
from ..sources.rollout import Actor
from ..stages.finished import load_student
from ..students import Student, make_student
from .episodes import Reuse, actor_of, anew, mean_interval, run_episodes
from .statistics import Interval, bootstrap_ratio, mean, ratio

Progress = Callable[[int, int], None]  # students measured and in all


class ForgettingError(RetortError):
    """A run has no snapshots that a matrix could be made of."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Where a student stood when the curriculum moved on."""

    path: Path
    steps: int
    left: dict[str, int]  # level of each axis that it had been trained at
    reached: dict[str, int]  # and that came next


@dataclasses.dataclass(frozen=True)
class Stand:
    """A row of the matrix: a student at one time of its training, on every level."""

    steps: int
    after: dict[str, int]  # level of each axis that it had been trained at
    score: tuple[Interval, ...]  # per level


@dataclasses.dataclass(frozen=True)
class Forgetting:
    """The matrix, the final student last."""

    levels: tuple[float, ...]  # difficulty of every axis, 0 to 1
    stands: tuple[Stand, ...]
    forgotten: tuple[Interval | None, ...]  # per level; None where nobody surely scored above zero
    episodes: int  # of each cell, the same ones in a column
    seed: int

    @property
    def matrix(self) -> np.ndarray:
        """Scores, (stands, levels)."""
        return np.array([[cell.value for cell in stand.score] for stand in self.stands])

    @property
    def worst(self) -> tuple[float, Interval] | None:
        """The level most of which is forgotten, and how much."""
        known = [
            (level, share)
            for level, share in zip(self.levels, self.forgotten, strict=True)
            if share is not None
        ]
        return max(known, key=lambda pair: pair[1].value) if known else None

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        worst = self.worst
        named = None if worst is None else {"level": worst[0], **dataclasses.asdict(worst[1])}
        return {**dataclasses.asdict(self), "worst": named}


def keep_snapshots(
    iterations: Iterator[dict[str, Any]],
    student: Student,
    env: LearningEnv,
    levels: int,
    folder: Path,
    *,
    start: dict[str, int],
    steps_done: int = 0,
) -> Iterator[dict[str, Any]]:
    """Pass a distillation's figures on, with a snapshot of the student at each level change.

    Only moves to levels higher in all than any before leave one, so that an axis that goes to and
    fro does not fill the disk. Each row also gets ``level_histogram``: for every axis, how many
    environments run each level.

    Args:
        iterations: figures with ``steps`` and ``levels``, the frontier by axis.
        student: as it is being trained.
        env: it is trained on.
        levels: the hardest; 0 is the easiest.
        folder: of the snapshots; those later than ``steps_done`` are another training's and go.
        start: frontier by axis before the first iteration.
        steps_done: where training goes on.
    """
    there = load_snapshots(folder) if steps_done else []
    kept = {snapshot.path: snapshot for snapshot in there if snapshot.steps <= steps_done}
    for path in folder.glob("*.safetensors"):
        if path not in kept:
            path.unlink()
    highest = max(
        sum(frontier.values()) for frontier in (start, *(s.reached for s in kept.values()))
    )
    before = dict(start)
    for row in iterations:
        now = row["levels"]
        if sum(now.values()) > highest:
            highest = sum(now.values())
            state = {"steps": row["steps"], "left": before, "reached": dict(now)}
            path = folder / f"{row['steps']:012d}.safetensors"
            save_checkpoint(path, {**state, "student": student.state_dict()})
        before = dict(now)
        yield {**row, "level_histogram": level_histogram(env, levels)}


def level_histogram(env: LearningEnv, levels: int) -> dict[str, list[int]]:
    """How many environments run each level 0..levels, by axis."""
    running = np.rint(np.asarray(env.levels) * levels).astype(np.int64)
    return {
        name: np.bincount(running[:, axis], minlength=levels + 1).tolist()
        for axis, name in enumerate(env.axes)
    }


def load_snapshots(folder: Path) -> list[Snapshot]:
    """The snapshots in ``folder`` in the order of training; none where there is no such folder.

    Raises:
        CheckpointError: one is damaged.
    """
    result = []
    for path in sorted(folder.glob("*.safetensors")):
        saved = load_checkpoint(path)
        result.append(Snapshot(path, int(saved["steps"]), saved["left"], saved["reached"]))
    return result


def measure_forgetting(
    env: LearningEnv,
    actors: Sequence[tuple[int, dict[str, int], Actor]],
    levels: Sequence[float],
    seed: int,
    *,
    progress: Progress | None = None,
    reuse: Reuse = anew,
) -> Forgetting:
    """Score of every actor on every level, on the same episodes.

    The best of several means is a little more than any of them is expected to be, so that nothing
    forgotten reads slightly above zero.

    Args:
        env: made with ``autoreset=False``; its environments are shared out among the levels.
        actors: steps, what it had been trained on, the actor; the final one last.
        levels: difficulty of every axis, 0 to 1 each.
        seed: of the episodes, never one of training.
        progress: called after each actor.
        reuse: which of them were measured before.

    Raises:
        ForgettingError: no actors, or environments that cannot be shared out evenly.
    """
    episodes, rest = divmod(env.num_envs, len(levels))
    if rest or not episodes or not actors:
        raise ForgettingError(
            f"got {len(actors)} actors, and {env.num_envs} environments for {len(levels)} levels; "
            "give at least one actor and a whole number of environments for each level"
        )
    difficulty, axes = np.asarray(levels, dtype=float), len(env.axes)

    def level_source(ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(difficulty[ids // episodes][:, None], axes, 1)

    env.level_source = level_source
    rng, stands, scores = np.random.default_rng(seed), [], []
    for number, (steps, after, actor) in enumerate(actors):
        outcome = reuse(
            f"number {number}, after {steps} steps",
            lambda actor=actor: run_episodes(env, actor, seed),
        )
        cells = outcome.score.reshape(len(levels), episodes)
        scores.append(cells)
        stands.append(Stand(steps, after, tuple(mean_interval(cell, rng) for cell in cells)))
        if progress is not None:
            progress(number + 1, len(actors))
    return Forgetting(
        levels=tuple(float(level) for level in levels),
        stands=tuple(stands),
        forgotten=tuple(_forgotten(cells, rng) for cells in np.stack(scores, axis=1)),
        episodes=episodes,
        seed=seed,
    )


def snapshot_actors(
    snapshots: Sequence[Snapshot], final: Student, steps: int
) -> list[tuple[int, dict[str, int], Actor]]:
    """What ``measure_forgetting`` compares: every snapshot, then the student as it is now.

    Args:
        snapshots: of one training, one at least.
        final: the student that left them, after all of its training.
        steps: that it was trained for.
    """
    actors = []
    for snapshot in snapshots:
        student = make_student(final.config, final.interface)
        student.load_state_dict(load_checkpoint(snapshot.path)["student"])
        student = student.deployed().eval().requires_grad_(False)
        actors.append((snapshot.steps, snapshot.left, actor_of(student)))
    return [*actors, (steps, snapshots[-1].reached, actor_of(final))]


def forgetting_of_run(
    experiment: Experiment,
    folder: Path,
    *,
    progress: Progress | None = None,
    reuse: Reuse = anew,
) -> Forgetting:
    """The matrix of a finished run, from the snapshots its distillation left.

    Raises:
        RetortError: the student is missing, unfinished or damaged.
        ForgettingError: the curriculum never moved, so that there is nothing to compare.
    """
    final = load_student(experiment, folder)
    actors = snapshot_actors(snapshots_of_run(experiment, folder), final, experiment.distill.steps)
    config, hardest = experiment.evaluation, experiment.hardest_level
    levels = [level / hardest for level in range(hardest + 1)]
    count = config.episodes * len(levels)
    env = experiment.world.make_env(count, episode_seconds=config.seconds, autoreset=False)
    return measure_forgetting(env, actors, levels, config.seed, progress=progress, reuse=reuse)


def snapshots_of_run(experiment: Experiment, folder: Path) -> list[Snapshot]:
    """Those that a finished distillation left.

    Raises:
        CheckpointError: one is damaged.
        ForgettingError: there are none.
    """
    snapshots = load_snapshots(folder / "distillation" / "levels")
    if not snapshots:
        why, remedy = _never_moved(experiment)
        raise ForgettingError(
            f"{folder} has no snapshots: {why}; {remedy}, and distil it again with --fresh"
        )
    return snapshots


def _never_moved(experiment: Experiment) -> tuple[str, str]:
    """Why a student never came to a harder level, and what lets it."""
    curriculum, mode = experiment.curriculum, experiment.distill.mode
    why = f"its curriculum (kind = '{curriculum.kind}') never moved on to a harder level"
    if not MODES[mode].acts:
        return f"in mode '{mode}' there is no curriculum", "set distill.mode to 'student'"
    if not experiment.world.axes:
        return (
            f"{experiment.world.name} has no axes of difficulty",
            "set gymnasium.difficulty, for which it takes a task that retort simulates",
        )
    if curriculum.kind == "none":
        return why, "set curriculum.kind to 'gated' or 'fixed'"
    if curriculum.start == curriculum.levels:
        return why, f"set curriculum.start below {curriculum.levels}, which is the hardest level"
    if curriculum.kind == "fixed":
        return why, "raise distill.steps"
    return why, "lower curriculum.bar, raise distill.steps, or set curriculum.kind to 'fixed'"


def _forgotten(cells: np.ndarray, rng: np.random.Generator) -> Interval | None:
    """``(best - final) / best`` over (stands, episodes) of one level, episodes drawn in pairs; None
    where the best is not surely above zero.
    """

    def share(*arms: np.ndarray) -> np.ndarray:
        means = np.stack([mean(arm) for arm in arms])
        best = means.max(axis=0)
        return ratio(best - means[-1], best)

    return bootstrap_ratio(share, [cell[:, None] for cell in cells], rng, draws=2000)
