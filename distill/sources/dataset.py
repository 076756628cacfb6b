"""Recorded experience on disk as Minari data sets: written from batches, read as episodes.

Beside what every Minari data set has, ours hold what each teacher said in ``infos/teacher<i>``:
``mean`` and ``std`` or ``logits``, ``value``, ``q``, ``latent``. Infos have one row per
observation; the last one, at which nothing was asked, is NaN.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from ...hardware.checks import POSITIVE, check
from ..batch import Batch
from ..teachers import Teacher, TeacherOutput, ValuesOf
from .flat import flat, space_as_written
from .recording import DatasetError, Recording, imitated, label, label_arrays, label_kind

_FACTS = "metadata.json"  # of every data set of Minari's, in data/
_NOISE_STD = 0.1  # of whoever acted, where nothing is said; in units of the action
_KEY = "retort"  # of what we add to a data set's metadata
_OURS = ("log_prob", "level", "task")  # infos of every data set of ours


def write_dataset(
    path: Path,
    batches: Iterable[Batch],
    actions: gymnasium.Space[Any],
    *,
    name: str,
    environment: str | None = None,
    teachers: Sequence[Teacher] = (),
    keep_features: bool = False,
) -> int:
    """Write consecutive batches of one source as a Minari data set.

    An episode that runs on from batch to batch is put together. One that is still running after
    the last batch is cut there: it is written as truncated.

    Args:
        path: a new folder; ``minari.MinariDataset(path / "data")`` reads it too.
        batches: in the order they were collected. Labels they have are kept.
        actions: the environment's space of actions, in which they are written: choices, which
            count from 0 in batches, from where it starts.
        name: the data set's id, as Minari writes them: ``<namespace>/<name>-v<number>``.
        environment: where it comes from, as it is registered with Gymnasium.
        teachers: label the batches that have no labels.
        keep_features: store inner layers of teachers, for terms that compare them; they are large.

    Returns:
        The number of episodes.

    Raises:
        DatasetError: Minari is missing, the folder is taken, or nothing can be written.
    """
    storage, buffer = _minari()
    if not re.fullmatch(r"([-\w]+/)*[-\w]+-v\d+", name):
        raise DatasetError(f"the data set's name is {name!r}; name it like robot/walk-v0")
    path = path.resolve()  # Minari takes a relative one for one within itself
    if (path / "data").exists():
        raise DatasetError(
            f"there is already a data set in {path}; delete it or name another folder"
        )
    states: list[Tensor] = []
    running: dict[int, list[dict[str, Any]]] = defaultdict(list)
    target, count, label_kinds = None, 0, []
    try:
        for batch in batches:
            if not states:
                states = [teacher.initial_state(batch.num_envs) for teacher in teachers]
            labels = batch.labels or tuple(_ask(batch, teachers, states))
            if target is None:
                label_kinds = [label_kind(said) for said in labels]
                for kind, teacher in zip(label_kinds, teachers, strict=False):
                    kind["values_of"] = getattr(teacher, "values_of", None)
                path.mkdir(parents=True, exist_ok=True)
                target = storage.new(
                    path / "data",
                    observation_space=_space(batch),
                    action_space=actions,
                    env_spec=None if environment is None else gymnasium.spec(environment),
                )
                target.update_metadata(
                    {
                        "dataset_id": name,
                        "minari_version": importlib.metadata.version("minari"),
                        _KEY: {"teachers": label_kinds},
                    }
                )
            columns = _columns(batch, labels, keep_features)
            columns["actions"] = batch.action + _choices(path, actions).start
            ended = list(_split(batch, columns, running))
            target.update_episodes(buffer(**_whole(pieces)) for pieces in ended)
            count += len(ended)
        cut = [pieces for pieces in running.values() if pieces]
        if target is None:
            raise DatasetError("there are no batches to write; collect some first")
        for pieces in cut:
            pieces[-1]["truncations"] = pieces[-1]["truncations"].copy()
            pieces[-1]["truncations"][-1] = True
        target.update_episodes(buffer(**_whole(pieces)) for pieces in cut)
    except OSError as error:
        raise DatasetError(
            f"cannot write the data set {path}: {error}; make room, delete the folder and start "
            "again"
        ) from error
    return count + len(cut)


def require_minari() -> None:
    """Raises DatasetError, with what to install, where Minari or h5py is missing."""
    _minari()


def find_dataset(name: str) -> Path:
    """The folder of a data set: ``name`` itself, or where Minari keeps the one of that id.

    Raises:
        DatasetError: Minari is missing, or there is no such data set here.
    """
    _minari()
    from minari.storage.datasets_root_dir import get_dataset_path  # pyright: ignore

    for folder in (Path(name).expanduser(), Path(get_dataset_path(name))):
        if (folder / "data").is_dir() or (folder / _FACTS).is_file():
            return folder
    raise DatasetError(
        f"there is no data set {name!r}, neither as a folder that holds data/ nor among those "
        f"Minari has downloaded; `minari download {name}` fetches one of Minari's"
    )


def read_dataset(path: Path, *, noise_std: float | None = None) -> list[Recording]:
    """The episodes of a Minari data set, in memory.

    Without labels of ours, whoever acted is taken for the teacher: a Gaussian of ``noise_std``
    around a continuous action, all probability on a discrete one (behaviour cloning). Observations
    that are not ours are flattened as ``gymnasium.spaces.flatten`` does.

    Args:
        path: its folder, of ours or one that Minari downloaded (``~/.minari/datasets/<id>``).
        noise_std: in units of the action; 0.1 when None.

    Raises:
        DatasetError: Minari is missing, the folder holds no data set, observations or actions are
            of a kind that students do not have, or not finite, or ``noise_std`` would do nothing.
        RangeError: a ``noise_std`` that is not above 0.
    """
    std = _NOISE_STD if noise_std is None else noise_std
    check("noise_std", std, POSITIVE)
    storage, _ = _minari()
    folder = (path / "data" if (path / "data").is_dir() else path).resolve()
    try:
        data, facts = storage.read(folder), storage.read_raw_metadata(folder)
        ours = facts.get(_KEY)
        kinds = ours["teachers"] if ours else []
        choices = _choices(path, data.action_space)
        if noise_std is not None and (kinds or choices):
            why = "there are teachers' labels" if kinds else "actions are discrete"
            raise DatasetError(
                f"noise_std is {noise_std} and does nothing with {path}, where {why}; leave it out"
            )
        written = facts.get("observation_space")
        space = data.observation_space if written is None else space_as_written(written)
        count = int(data.total_episodes)
        if not count:
            return []  # there may be no file yet
        return [
            _recording(path, space, saved, kinds, std, choices, _OURS if ours else ())
            for saved in data.get_episodes(range(count))
        ]
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(
            f"cannot read {path} as a Minari data set ({error}); give the folder that holds data/"
        ) from error


def _minari() -> tuple[Any, Any]:
    """Minari's storage and episode buffer."""
    try:
        import h5py  # noqa: F401  # pyright: ignore
        from minari.data_collector.episode_buffer import EpisodeBuffer  # pyright: ignore
        from minari.dataset.minari_storage import MinariStorage  # pyright: ignore
    except ImportError as error:
        raise DatasetError(
            f"data sets need Minari and h5py ({error}): pip install '.[data]' in a clone of retort"
        ) from error
    return MinariStorage, EpisodeBuffer


def _ask(
    batch: Batch, teachers: Sequence[Teacher], states: list[Tensor]
) -> Iterator[TeacherOutput]:
    """What teachers say of a batch; their ``states`` run on to the next one."""
    for i, teacher in enumerate(teachers):
        with torch.no_grad():
            output, states[i] = teacher(batch.observations, states[i], batch.reset)
        yield output


def _space(batch: Batch) -> gymnasium.spaces.Dict:
    return gymnasium.spaces.Dict(
        {
            group: gymnasium.spaces.Box(-np.inf, np.inf, (values.shape[-1],), np.float32)
            for group, values in batch.observations.items()
        }
    )


def _columns(
    batch: Batch, labels: tuple[TeacherOutput, ...], keep_features: bool
) -> dict[str, Any]:
    """A batch as nested arrays (T, N, ...) under Minari's names, final observations aside."""
    infos: dict[str, Any] = {"log_prob": batch.log_prob, "level": batch.level, "task": batch.task}
    for i, said in enumerate(labels):
        infos[f"teacher{i}"] = label_arrays(said, keep_features)
    return {
        "observations": batch.observations,
        "actions": batch.action,
        "rewards": batch.reward,
        "terminations": batch.terminated,
        "truncations": batch.truncated,
        "infos": infos,
    }


def _split(
    batch: Batch, columns: dict[str, Any], running: dict[int, list[dict[str, Any]]]
) -> Iterator[list[dict[str, Any]]]:
    """The episodes that end in a batch, as pieces in time; what does not end stays ``running``."""
    final = {(int(t), int(i)): k for k, (t, i) in enumerate(batch.final_index.tolist())}
    done = (batch.terminated | batch.truncated).numpy()
    for env in range(batch.num_envs):
        begin = 0
        for end in [*(np.flatnonzero(done[:, env]) + 1).tolist(), batch.ticks]:
            if end == begin:
                continue
            piece = _map(columns, lambda x, at=(slice(begin, end), env): x[at].detach().numpy())
            ended = bool(done[end - 1, env])
            after = batch.last_observations
            row = env
            if ended:
                after, row = batch.final_observations, final[end - 1, env]
            piece["after"] = {group: values[row].numpy().copy() for group, values in after.items()}
            running[env].append(piece)
            if ended:
                yield running.pop(env)
            begin = end


def _whole(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """One episode as Minari wants it."""
    after = pieces[-1].pop("after")
    for piece in pieces[:-1]:
        piece.pop("after")
    whole = _join(pieces)
    whole["observations"] = {
        group: np.concatenate([values, after[group][None]])
        for group, values in whole["observations"].items()
    }
    infos = whole.pop("infos")
    if not infos["level"].shape[-1]:
        del infos["level"]  # HDF5 keeps no columns of nothing
    return {**whole, "infos": _map(infos, _with_blank_row)}


def _with_blank_row(values: np.ndarray) -> np.ndarray:
    blank = np.nan if np.issubdtype(values.dtype, np.floating) else 0
    return np.concatenate([values, np.full_like(values[:1], blank)])


def _map(tree: Any, function: Callable[[Any], Any]) -> Any:
    """``function`` of every leaf of nested dicts."""
    if isinstance(tree, dict):
        return {key: _map(value, function) for key, value in tree.items()}
    return function(tree)


def _join(trees: list[Any]) -> Any:
    """Nested dicts of arrays, one after the other."""
    if isinstance(trees[0], dict):
        return {key: _join([tree[key] for tree in trees]) for key in trees[0]}
    return np.concatenate(trees)


def _choices(path: Path, space: Any) -> range:
    """The environment's own numbers of its choices; none for continuous actions."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return range(int(space.start), int(space.start + space.n))
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return range(0)
    raise DatasetError(
        f"{path} has actions {space}, expected a Box of one axis or Discrete; students have no "
        "others"
    )


def _values_of(kind: dict[str, Any]) -> ValuesOf | None:
    """What the values of a label's teacher count, if that was known."""
    said = kind.get("values_of")
    return None if said is None else ValuesOf(*said)


def _recording(
    path: Path,
    space: gymnasium.Space[Any],
    saved: dict[str, Any],
    kinds: list[dict[str, Any]],
    noise_std: float,
    choices: range,
    kept: tuple[str, ...],
) -> Recording:
    """An episode from Minari's arrays, ``kept`` infos among them."""
    ticks = len(saved["rewards"])
    infos = saved["infos"] or {}
    reward = torch.from_numpy(np.asarray(saved["rewards"], dtype=np.float32))
    action = torch.from_numpy(np.asarray(saved["actions"]))
    if choices:
        action = action.reshape(ticks).long() - choices.start
        if bool(((action < 0) | (action >= len(choices))).any()):
            raise DatasetError(
                f"episode {saved['id']} of {path} has actions that are none of its {len(choices)} "
                "choices; leave it out, or write the data again with the space they are of"
            )
    else:
        action = action.reshape(ticks, -1).float()
    if kinds:
        labels = tuple(
            label(_map(infos[f"teacher{i}"], lambda x: torch.from_numpy(x[:ticks])), kind)
            for i, kind in enumerate(kinds)
        )
    else:
        labels = (imitated(action, len(choices), noise_std),)
    ours = {key: torch.from_numpy(infos[key][:ticks]) for key in kept if key in infos}
    log_prob = ours.get("log_prob")
    terminated, truncated = (
        torch.from_numpy(np.asarray(saved[key], dtype=bool))
        for key in ("terminations", "truncations")
    )
    truncated[-1] |= not terminated[-1]  # some data sets just stop
    observations = _groups(path, space, saved["observations"])
    for name, values in {**observations, "actions": action, "rewards": reward}.items():
        wrong = (~torch.isfinite(values.reshape(len(values), -1))).any(1).nonzero()
        if len(wrong):
            name = f"observations ({name})" if name in observations else name
            raise DatasetError(
                f"episode {saved['id']} of {path} has {name} that are not finite, at first in tick "
                f"{int(wrong[0])}; leave that episode out, or record it again"
            )
    return Recording(
        observations=observations,
        action=action,
        log_prob=labels[0].distribution.log_prob(action) if log_prob is None else log_prob,
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        level=ours.get("level", torch.zeros(ticks, 0)),
        task=ours.get("task", torch.zeros(ticks, dtype=torch.int64)),
        values_of=tuple(map(_values_of, kinds)),
        labels=labels,
    )


def _groups(path: Path, space: gymnasium.Space[Any], observations: Any) -> dict[str, Tensor]:
    """Observations by group; those of other people's data sets are flat, and the same in both."""
    if isinstance(observations, dict) and {"student", "teacher"} <= observations.keys():
        return {group: torch.from_numpy(values) for group, values in observations.items()}
    try:
        tensor = torch.from_numpy(flat(space, observations))
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    return {"student": tensor, "teacher": tensor}
