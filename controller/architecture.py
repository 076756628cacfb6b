"""What a policy is made of: an ordered list of layers, read from named tensors. No arithmetic here.

The robot's runtime, the ONNX graph and the C header are all written from this one list.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ..hardware.errors import RetortError
from ..hardware.parsing import parse
from . import program
from .contract import Contract

Tensors = Mapping[str, np.ndarray]

LayerKind = Literal["dense", "convolution", "gru"]
ACTIVATIONS = ("elu", "tanh", "relu")


class PolicyError(RetortError):
    """Tensors or description of a policy are not as they must be."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Which layers follow one another, and what the first of them reads."""

    # Kind and name of each group; numbers follow the name of those that repeat.
    groups: tuple[tuple[LayerKind, str], ...]
    window: bool  # the whole observation; else its newest frame, by what remembers by itself

    @property
    def meta(self) -> str | dict[str, Any]:
        """What describes it: the name of a known one, or all that it is."""
        for name, known in ARCHITECTURES.items():
            if known == self:
                return name
        return {"groups": [list(group) for group in self.groups], "window": self.window}


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture((("dense", "layers"),), window=True),
    "gru": Architecture(
        (("dense", "encoder"), ("gru", "memory"), ("dense", "layers")), window=False
    ),
    "tcn": Architecture((("convolution", "convolutions"), ("dense", "layers")), window=False),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One step from inputs to outputs.

    ``dense``: ``y = f(W x + b)``. ``convolution``: the same over ``taps`` ticks that are
    ``dilation`` apart, oldest first in ``x``; ticks before the episode are zero. ``gru``: Cho et
    al. 2014 in the form of cuDNN, gates in the order reset, update, new.
    """

    kind: LayerKind
    name: str  # tensors are called ``{name}.weight``, ``{name}.bias``
    inputs: int
    outputs: int
    activation: str | None = None  # None: linear, or the gates' own
    taps: int = 1
    dilation: int = 1

    @property
    def state_size(self) -> int:
        """Numbers it remembers from tick to tick; a convolution's are past inputs, oldest first."""
        if self.kind == "gru":
            return self.outputs
        return (self.taps - 1) * self.dilation * self.inputs

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each of its tensors."""
        if self.kind == "gru":
            return {
                f"{self.name}.input.weight": (3 * self.outputs, self.inputs),
                f"{self.name}.input.bias": (3 * self.outputs,),
                f"{self.name}.hidden.weight": (3 * self.outputs, self.outputs),
                f"{self.name}.hidden.bias": (3 * self.outputs,),
            }
        return {
            f"{self.name}.weight": (self.outputs, self.taps * self.inputs),
            f"{self.name}.bias": (self.outputs,),
        }

    @property
    def parameters(self) -> int:
        """Learned numbers."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())


def read_layers(
    meta: Mapping[str, Any], tensors: Tensors, inputs: int, outputs: int
) -> tuple[Layer, ...]:
    """The layers that ``meta`` and ``tensors`` describe.

    Args:
        meta: ``architecture`` (see ``architecture_of``) and ``activation``.
        tensors: by name; only names and shapes are looked at.
        inputs: numbers that go in, already normalised.
        outputs: numbers that must come out.

    Raises:
        PolicyError: unknown architecture or activation; a tensor is missing, unknown, or has
            another shape.
    """
    architecture = architecture_of(meta)
    activation = meta.get("activation")
    choose(dict.fromkeys(ACTIVATIONS), activation, "activation")
    layers: list[Layer] = []
    size = inputs
    for kind, name in architecture.groups:
        for layer in _group(kind, name, tensors, size, activation):
            layers.append(layer)
            size = layer.outputs
    if not layers or layers[-1].kind != "dense" or size != outputs:
        raise PolicyError(
            f"the policy gives {size} actions, the contract has {outputs}; export it again with "
            "its own contract"
        )
    layers[-1] = dataclasses.replace(layers[-1], activation=None)
    known = {"normaliser.mean", "normaliser.std"}
    for layer in layers:
        known |= set(layer.shapes)
        known |= {f"{tensor}.scale" for tensor in layer.shapes if tensor.endswith(".weight")}
    if unknown := sorted(set(tensors) - known):
        raise PolicyError(
            f"the policy holds tensors that its architecture, {meta['architecture']}, does not "
            f"have: {unknown}"
        )
    return tuple(layers)


def architecture_of(meta: Mapping[str, Any]) -> Architecture:
    """The architecture that a policy's ``meta`` names, one of ``ARCHITECTURES``, or describes.

    Raises:
        PolicyError: there is none of that name, or the description is none.
    """
    said = meta.get("architecture")
    if not isinstance(said, dict):
        return choose(ARCHITECTURES, said, "architecture")
    try:
        return parse(Architecture, said)
    except ValueError as error:
        raise PolicyError(f"policy architecture: {error}; export it again") from error


def columns_read(contract: Contract, architecture: Architecture) -> np.ndarray:
    """Which numbers of the observation go in, (inputs,): all, or those of the newest frame."""
    if architecture.window:
        return np.arange(contract.observation_size)
    marks = np.full((contract.history, contract.frame_size), -1)
    marks[-1] = np.arange(contract.frame_size)
    return np.argsort(program.flatten(contract, marks), kind="stable")[-contract.frame_size :]


def dequantise(weight: np.ndarray, scale: np.ndarray, group: int) -> np.ndarray:
    """``w_ij = q_ij s_i,j//group`` as float32, (rows, columns).

    Args:
        weight: (rows, columns) int8.
        scale: (rows, ceil(columns / group)) float32.
        group: neighbouring columns that share a scale.
    """
    return weight.astype(np.float32) * np.repeat(scale, group, axis=1)[:, : weight.shape[1]]


def tensor(tensors: Tensors, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """The float32 tensor ``name``.

    Raises:
        PolicyError: it is missing, not finite, or has another shape.
    """
    if name not in tensors:
        raise PolicyError(f"the policy lacks the tensor {name}; it has {sorted(tensors)}")
    value = np.ascontiguousarray(tensors[name], dtype=np.float32)
    fits = value.ndim == len(shape) and all(
        want in (None, got) for got, want in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise PolicyError(f"tensor {name} has shape {value.shape}; the contract needs {wanted}")
    if not np.all(np.isfinite(value)):
        raise PolicyError(f"tensor {name} holds values that are not finite; train or export again")
    return value


def weight(
    tensors: Tensors, name: str, shape: tuple[int, int], meta: Mapping[str, Any]
) -> np.ndarray:
    """The matrix ``name`` in float32, its group scales multiplied out if it is int8.

    Raises:
        PolicyError: as ``tensor``; int8 without its scales or group.
    """
    value = tensor(tensors, name, shape)
    if np.asarray(tensors[name]).dtype != np.int8:
        return value
    group = meta.get("group")
    if not isinstance(group, int) or group < 1:
        raise PolicyError(f"tensor {name} is int8 and group is {group!r}; export it again")
    scale = tensor(tensors, f"{name}.scale", (shape[0], -(-shape[1] // group)))
    return dequantise(np.asarray(tensors[name]), scale, group)


def choose(choices: Mapping[str, Any], name: object, what: str) -> Any:
    """``choices[name]``.

    Raises:
        PolicyError: there is none; the message lists those there are.
    """
    if name not in choices:
        raise PolicyError(f"policy {what} is {name!r}; there are {', '.join(choices)}")
    return choices[name]  # type: ignore[index]


def _group(
    kind: str, name: str, tensors: Tensors, size: int, activation: str | None
) -> list[Layer]:
    if kind == "gru":
        columns = tensor(tensors, f"{name}.hidden.weight", (None, None)).shape[1]
        return [_fitting(Layer(kind="gru", name=name, inputs=size, outputs=columns), tensors)]
    found = (re.match(rf"{re.escape(name)}\.(\d+)\.weight$", key) for key in tensors)
    numbers = [int(match[1]) for match in found if match]
    if not numbers and name != "encoder":
        raise PolicyError(f"the policy holds no tensor {name}.0.weight; export it again")
    layers = []
    for i in range(max(numbers, default=-1) + 1):
        rows, columns = tensor(tensors, f"{name}.{i}.weight", (None, None)).shape
        taps = max(1, columns // size) if kind == "convolution" else 1
        layer = Layer(
            kind="convolution" if kind == "convolution" else "dense",
            name=f"{name}.{i}",
            inputs=size,
            outputs=rows,
            activation=activation,
            taps=taps,
            dilation=2**i if kind == "convolution" else 1,
        )
        layers.append(_fitting(layer, tensors))
        size = rows
    return layers


def _fitting(layer: Layer, tensors: Tensors) -> Layer:
    for name, shape in layer.shapes.items():
        tensor(tensors, name, shape)
    return layer
