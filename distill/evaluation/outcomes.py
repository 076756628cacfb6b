"""Outcomes of evaluations on disk, each as soon as it is there: a second call measures what is
missing, and everything again once anything that they depend on has changed.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..checkpoint import CheckpointError, checkpoint_digest, load_checkpoint, save_checkpoint
from ..experiment import STUDENT_PARTS, Experiment
from ..worlds import file_digests
from .episodes import Measure, Outcome

_VERSIONS = ("retort", "mujoco", "gymnasium", "torch")
_CHECKPOINTS = ("teacher", "distillation")


class Outcomes:
    """A file of outcomes by name; to be called with a name and what measures it.

    A file that is damaged, or of outcomes that depend on anything else, is begun anew.

    Args:
        path: of the file, which need not be there yet.
        of: what all of them depend on, as ``fingerprint`` says it.
        fresh: forget what is there.
    """

    def __init__(self, path: Path, of: str, *, fresh: bool = False) -> None:
        self.path, self.of = path, of
        self._there: dict[str, Any] = {}
        if fresh:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self._there = self._load()

    def __call__(self, name: str, measure: Measure) -> Outcome:
        """The outcome of that name, measured now unless it is there.

        Raises:
            CheckpointError: it cannot be written.
        """
        key = hashlib.sha256(name.encode()).hexdigest()
        if key not in self._there:
            self._there[key] = vars(measure())
            save_checkpoint(self.path, {"of": self.of, "outcomes": self._there})
        return Outcome(**self._there[key])

    def _load(self) -> dict[str, Any]:
        try:
            saved = load_checkpoint(self.path)
        except CheckpointError:
            return {}
        if saved.get("of") != self.of:
            return {}
        return {
            key: {field: tensor.numpy() for field, tensor in fields.items()}
            for key, fields in saved["outcomes"].items()
        }


def outcomes_path(folder: Path, name: str) -> Path:
    """Where the outcomes of one evaluation of a run stand."""
    return folder / "outcomes" / f"{name}.safetensors"


def outcomes_of_run(
    experiment: Experiment, folder: Path, name: str, *, fresh: bool = False
) -> Outcomes:
    """Those of the evaluation ``name`` of a finished run.

    Raises:
        CheckpointError: a checkpoint of it is damaged.
    """
    of = fingerprint(experiment, folder, ("evaluation",))
    return Outcomes(outcomes_path(folder, name), of, fresh=fresh)


def fingerprint(experiment: Experiment, folder: Path, parts: tuple[str, ...] = ()) -> str:
    """A digest of everything that the episodes of a run's policies depend on: its settings and
    ``parts`` of the recipe, the files of its world, its checkpoints, and our versions.

    Raises:
        CheckpointError: a checkpoint is damaged.
    """
    paths = [folder / stage / "checkpoint.safetensors" for stage in _CHECKPOINTS]
    told = {
        "settings": experiment.key((*STUDENT_PARTS, *parts)),
        "files": list(file_digests(experiment.world).values()),
        "checkpoints": [checkpoint_digest(path) for path in paths if path.is_file()],
        "versions": [version(name) for name in _VERSIONS],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
