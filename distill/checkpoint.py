"""Checkpoints without pickle: tensors as safetensors, the rest as JSON in its metadata."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..hardware.errors import RetortError


class CheckpointError(RetortError):
    """A checkpoint cannot be read or written."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a nested dict of tensors, arrays and JSON data; the old file stays until it is done.

    Raises:
        CheckpointError: it cannot be written.
    """
    tensors: dict[str, torch.Tensor] = {}
    rest: dict[str, Any] = {}
    _flatten("", state, tensors, rest)
    temporary = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(rest)
        metadata = {"state": text, "sha256": _digest(text, tensors)}
        temporary.unlink(missing_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode  # as the user's other files; the library's own is 0600
        save_file(tensors, temporary, metadata=metadata)
        temporary.chmod(mode)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write the checkpoint {path}: {error}; the previous one is untouched, make "
            "room and start the command again"
        ) from error


def load_checkpoint(path: Path, remedy: str = "delete it or start with --fresh") -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote; tensors stay tensors, arrays come back as tensors.

    Args:
        path: the file.
        remedy: what helps if it is damaged, for a person.

    Raises:
        CheckpointError: the file is damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        rest = json.loads(metadata["state"])
        if metadata.get("sha256") != _digest(metadata["state"], tensors):
            raise ValueError("its contents do not match their digest")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"the checkpoint {path} is damaged ({error}); {remedy}") from error
    state: dict[str, Any] = {}
    for key, value in {**rest, **tensors}.items():
        node = state
        *parents, leaf = key.split("/")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return state


def checkpoint_digest(path: Path) -> str:
    """The digest that a checkpoint was written with, without reading all of it.

    Raises:
        CheckpointError: it is damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata()["sha256"]
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint {path} is damaged ({error})") from error


def _digest(text: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _flatten(
    prefix: str, value: Any, tensors: dict[str, torch.Tensor], rest: dict[str, Any]
) -> None:
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        for key, item in value.items():
            _flatten(f"{prefix}/{key}" if prefix else key, item, tensors, rest)
    elif isinstance(value, torch.Tensor):
        tensors[prefix] = value.detach().contiguous().clone()
    elif isinstance(value, np.ndarray):
        tensors[prefix] = torch.from_numpy(np.ascontiguousarray(value).copy())
    else:
        rest[prefix] = value


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's moments by parameter number, and its learning rate."""
    state = optimiser.state_dict()
    return {
        "learning_rate": state["param_groups"][0]["lr"],
        "moments": {str(number): dict(values) for number, values in state["state"].items()},
    }


def load_optimiser_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The inverse of ``optimiser_state``.

    Raises:
        CheckpointError: the moments are of parameters of other shapes.
    """
    shapes = {str(i): p.shape for i, p in enumerate(optimiser.param_groups[0]["params"])}
    for number, values in state.get("moments", {}).items():
        if values["exp_avg"].shape != shapes.get(number):
            raise CheckpointError(
                "the checkpoint's optimiser is of other parameters, as another version of retort "
                "kept them; start this stage over with --fresh"
            )
    full = optimiser.state_dict()
    full["state"] = {int(number): values for number, values in state.get("moments", {}).items()}
    for group in full["param_groups"]:
        group["lr"] = state["learning_rate"]
    optimiser.load_state_dict(full)
