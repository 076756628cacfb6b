"""The stage of distillation in mode ``offline``: a data set that is named, or episodes of the run's
own teacher, recorded to ``recorded/`` of the run folder, and a student that learns from them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..batch import Batch
from ..distiller import Distiller
from ..experiment import TEACHER_PARTS, Experiment
from ..modes import MODES
from ..sources.dataset import find_dataset, read_dataset, require_minari, write_dataset
from ..sources.offline import DatasetSource, distil_offline
from ..sources.recording import DatasetError, Recording, label_arrays, label_kind
from ..sources.rollout import RolloutSource
from ..teachers import Teacher, sampled_action
from ..teachers.mixture import MixtureConfig
from ..terms import make_term
from ..worlds import World
from .base import Progress, Stage
from .finished import distillation_key, load_teachers, teacher_digests

_KEY = "key.json"  # beside recorded data: what they are of


def named_data(experiment: Experiment) -> list[Recording] | None:
    """All of the data set that mode ``offline`` is to learn from; None where none is named.

    Raises:
        DatasetError: Minari is missing in that mode, there is no such data set, or it does not fit.
    """
    config = experiment.distill
    if MODES[config.mode].acts:
        return None
    require_minari()
    if config.dataset is None:
        return None
    path = find_dataset(config.dataset)
    recordings = read_dataset(path, noise_std=config.dataset_noise_std)
    _check_fit(path, recordings, experiment.world)
    _check_labels(path, recordings[0], config.teachers)
    return recordings


def distil_from_data(
    experiment: Experiment, folder: Path, *, fresh: bool = False, progress: Progress | None = None
) -> Path:
    """Distil the student from recorded episodes, or go on; returns the checkpoint.

    Raises:
        RetortError: no data that fit, no finished teacher to record, a damaged checkpoint, or one
            of another recipe or other data.
        KeyboardInterrupt: after Ctrl-C, with everything saved.
    """
    config = experiment.distill
    recordings, teachers = named_data(experiment), None
    where: Path | str | None = config.dataset
    if recordings is None:
        where, teachers = _record(experiment, folder, fresh=fresh, progress=progress)
        recordings = read_dataset(where)
    source = DatasetSource(
        recordings, num_envs=config.num_envs, ticks=config.ticks, seed=experiment.seed + 1
    )
    student, critic = experiment.make_learner(source.observations["teacher"].shape[-1])
    said = source.teachers if teachers is None else teachers
    distiller = Distiller(config, student, said, critic, experiment.seed + 1)
    stage = Stage(folder / "distillation", distillation_key(experiment), config.steps, fresh)
    saved, digest = stage.begin(), _digest(recordings)
    if saved is not None:
        if saved["data"] != digest:
            raise DatasetError(
                f"the data set {where} is not what distillation in {folder} began with; give the "
                "old one back, or start over with --fresh"
            )
        with stage.going_on():
            distiller.load_state_dict(saved["learner"])
            source.load_state_dict(saved["source"])

    def snapshot() -> dict[str, Any]:
        return {"learner": distiller.state_dict(), "source": source.state_dict(), "data": digest}

    iterations = distil_offline(distiller, source, steps_done=stage.steps, seconds=stage.seconds)
    return stage.run(iterations, snapshot, progress)


def _record(
    experiment: Experiment, folder: Path, *, fresh: bool, progress: Progress | None
) -> tuple[Path, list[Teacher]]:
    """Episodes of the first teacher that is heard, labelled by all, unless there are some already.

    Difficulty is drawn evenly from what there is. Data are whole or not there: what an interrupted
    recording left is thrown away.
    """
    config = experiment.distill
    env = experiment.world.make_env(
        config.num_envs, episode_seconds=config.episode_seconds, event_rate=config.event_rate
    )

    def evenly(ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(size=(len(ids), len(env.axes)))

    env.level_source = evenly
    teachers = load_teachers(experiment, folder, env)
    features = any("teacher_features" in make_term(term).needs for term in config.terms)
    shape = (config.recorded_steps, config.num_envs, config.ticks, config.episode_seconds)
    others = tuple(zip(config.teachers.others, teacher_digests(experiment), strict=True))
    acts = config.teachers.heard(len(teachers))[0]
    key = (
        f"{experiment.key(TEACHER_PARTS)} {shape} {config.event_rate} {others} {features} {acts}\n"
    )
    path, partial = folder / "recorded", folder / "recorded.partial"
    if not fresh and (path / _KEY).is_file() and (path / _KEY).read_text() == key:
        return path, teachers
    shutil.rmtree(partial, ignore_errors=True)
    remembers = teachers[acts].initial_state(1).shape[-1]
    source = RolloutSource(env, config.ticks, hidden_size=remembers)
    source.share_with_teacher(1.0)
    source.start(experiment.seed + 1)
    count = -(-config.recorded_steps // (config.ticks * config.num_envs))
    write_dataset(
        partial,
        _reported(_acted(source, teachers[acts], experiment.seed + 1), count, progress),
        env.single_action_space,
        name="retort/recorded-v0",
        teachers=teachers,
        keep_features=features,
    )
    (partial / _KEY).write_text(key)
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)
    return path, teachers


@torch.no_grad()
def _acted(source: RolloutSource, teacher: Teacher, seed: int) -> Iterator[Batch]:
    """Batches in which ``teacher`` acts everywhere, with its own deviation."""
    generator = torch.Generator().manual_seed(seed)

    def act(groups: Any, state: Any, reset: Any) -> tuple[Any, Any, Any]:
        return sampled_action(teacher, groups, state, reset, generator)

    while True:
        yield source.collect(act)


def _reported(batches: Iterator[Batch], count: int, progress: Progress | None) -> Iterator[Batch]:
    """The first ``count`` batches, with progress."""
    for done, batch in enumerate(itertools.islice(batches, count), start=1):
        yield batch
        if progress is not None:
            progress({"done": done, "total": count})


def _check_fit(path: Path, recordings: Sequence[Recording], world: World) -> None:
    """A student of ``world`` must be able to learn from the recordings.

    Raises:
        DatasetError: observations or actions are of other sizes.
    """
    if not recordings:
        raise DatasetError(f"the data set {path} has no episodes; record some first")
    first, interface = recordings[0], world.interface()
    sees, size = first.observations["student"].shape[-1], interface.observation_size
    if sees != size:
        raise DatasetError(
            f"the data set {path} has observations of {sees} numbers and the student on "
            f"{world.name} sees {size}; record the data there, with the same observations"
        )
    if (first.action.ndim == 1) != interface.discrete:
        kinds = "continuous", "discrete"
        raise DatasetError(
            f"the data set {path} has {kinds[first.action.ndim == 1]} actions and {world.name} has "
            f"{interface.outputs} {kinds[interface.discrete]} ones; record the data there"
        )
    if not interface.discrete and first.action.shape[-1] != interface.outputs:
        raise DatasetError(
            f"the data set {path} has {first.action.shape[-1]} actions and {world.name} has "
            f"{interface.outputs}; record the data there"
        )


def _check_labels(path: Path, recording: Recording, config: MixtureConfig) -> None:
    """Teachers must be named as they have labelled, if any are named.

    Raises:
        DatasetError: they are more or fewer.
    """
    if len(config.others) not in (0, len(recording.labels) - 1):
        raise DatasetError(
            f"distill.teachers names {len(config.others)} others, and {path} has labels of "
            f"{len(recording.labels)} teachers; name as many, or none for all in equal parts"
        )


def _digest(recordings: Sequence[Recording]) -> str:
    """A fingerprint of what was recorded: what was seen and done, and the teachers' words."""
    digest = hashlib.sha256()
    for recording in recordings:
        for tensor in (recording.observations["student"], recording.action):
            digest.update(tensor.numpy().tobytes())
        for said in recording.labels:
            digest.update(json.dumps(label_kind(said)).encode())
            arrays = label_arrays(said, keep_features=True)
            features = arrays.pop("features", {})
            for name, tensor in sorted({**features, **arrays}.items()):
                digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
