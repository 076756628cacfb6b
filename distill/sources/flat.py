"""Observations of other people's data sets as the flat ones that students see."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple


def space_as_written(serialised: str) -> gymnasium.Space[Any]:
    """A space from Minari's text, its parts in the order in which the environment has them.

    Minari's own reading sorts them by name, and so do the files.
    """
    return _space(json.loads(serialised))


def _space(said: dict[str, Any]) -> gymnasium.Space[Any]:
    from minari.serialization import deserialize_space  # pyright: ignore

    if said["type"] == "Dict":
        return Dict(OrderedDict((key, _space(part)) for key, part in said["subspaces"].items()))
    if said["type"] == "Tuple":
        return Tuple([_space(part) for part in said["subspaces"]])
    return deserialize_space(said)


def flat(space: gymnasium.Space[Any], values: Any) -> np.ndarray:
    """Observations as ``gymnasium.spaces.flatten`` makes them, of many ticks at once.

    Args:
        space: of one tick.
        values: arrays (T, ...), nested as the space is.

    Returns:
        (T, size) float32.

    Raises:
        ValueError: a part of the space is no number, or a value is outside its space.
    """
    return np.concatenate([*_parts(space, values)], axis=1, dtype=np.float32)


def _parts(space: gymnasium.Space[Any], values: Any) -> Iterator[np.ndarray]:
    if isinstance(space, Dict):
        for key, part in space.spaces.items():
            yield from _parts(part, values[key])
    elif isinstance(space, Tuple):
        for part, value in zip(space.spaces, values, strict=True):
            yield from _parts(part, value)
    elif isinstance(space, Box | MultiBinary):
        yield np.asarray(values).reshape(len(values), -1)
    elif isinstance(space, Discrete):
        yield _one_hot(np.asarray(values).reshape(-1) - space.start, int(space.n))
    elif isinstance(space, MultiDiscrete):
        at = (np.asarray(values) - space.start).reshape(len(values), -1)
        for column, count in zip(at.T, space.nvec.reshape(-1), strict=True):
            yield _one_hot(column, int(count))
    else:
        raise ValueError(
            f"observations of {space} are no numbers that a student could see; write the data "
            "again with others"
        )


def _one_hot(at: np.ndarray, count: int) -> np.ndarray:
    if ((at < 0) | (at >= count)).any():
        raise ValueError(f"an observation is none of its {count} values; write the data again")
    return np.eye(count, dtype=np.float32)[at]
