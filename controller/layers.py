"""Layers of a policy in NumPy, one tick at a time, into arrays that exist already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from .architecture import Layer, Tensors, tensor, weight


class Step(Protocol):
    """A layer that runs. Arrays are float32; ``state`` is changed in place."""

    def __call__(self, x: np.ndarray, state: np.ndarray) -> np.ndarray: ...


def _elu(x: np.ndarray, spare: np.ndarray) -> None:
    np.minimum(x, 0.0, out=spare)
    np.expm1(spare, out=spare)
    np.maximum(x, 0.0, out=x)
    x += spare


def _tanh(x: np.ndarray, spare: np.ndarray) -> None:
    np.tanh(x, out=x)


def _relu(x: np.ndarray, spare: np.ndarray) -> None:
    np.maximum(x, 0.0, out=x)


def _linear(x: np.ndarray, spare: np.ndarray) -> None: ...


# In place; the second argument is a scratch buffer of the same shape.
_FUNCTIONS: dict[str | None, Callable[[np.ndarray, np.ndarray], None]] = {
    "elu": _elu,
    "tanh": _tanh,
    "relu": _relu,
    None: _linear,
}


class _Dense:
    def __init__(self, layer: Layer, tensors: Tensors, meta: Mapping[str, Any]) -> None:
        (name, shape), (bias, _) = layer.shapes.items()
        self._weight = weight(tensors, name, shape, meta)  # type: ignore[arg-type]
        self._bias = tensor(tensors, bias, (layer.outputs,))
        self._output, self._spare = (np.empty_like(self._bias) for _ in range(2))
        self._activate = _FUNCTIONS[layer.activation]

    def __call__(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        output = self._output
        np.dot(self._weight, x, out=output)
        np.add(output, self._bias, out=output)
        self._activate(output, self._spare)
        return output


class _Convolution(_Dense):
    def __init__(self, layer: Layer, tensors: Tensors, meta: Mapping[str, Any]) -> None:
        super().__init__(layer, tensors, meta)
        self._inputs, self._dilation = layer.inputs, layer.dilation
        self._taps = np.zeros(layer.taps * layer.inputs, np.float32)
        self._past = self._taps[: -layer.inputs].reshape(layer.taps - 1, layer.inputs)
        self._newest = self._taps[-layer.inputs :]

    def __call__(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        np.copyto(self._newest, x)
        if len(state):
            np.copyto(self._past, state.reshape(-1, self._inputs)[:: self._dilation])
            state[: -self._inputs] = state[self._inputs :]  # one dimension: moved without a copy
            state[-self._inputs :] = x
        return super().__call__(self._taps, state)


class _Gru:
    def __init__(self, layer: Layer, tensors: Tensors, meta: Mapping[str, Any]) -> None:
        size, name = layer.outputs, layer.name
        rows = 3 * size
        self._input = weight(tensors, f"{name}.input.weight", (rows, layer.inputs), meta)
        self._hidden = weight(tensors, f"{name}.hidden.weight", (rows, size), meta)
        self._input_bias = tensor(tensors, f"{name}.input.bias", (rows,))
        self._hidden_bias = tensor(tensors, f"{name}.hidden.bias", (rows,))
        self._from_input, self._from_hidden = (np.empty(rows, np.float32) for _ in range(2))
        self._gates = self._from_input[: 2 * size]
        self._reset, self._update = self._gates[:size], self._gates[size:]
        self._new = self._from_input[2 * size :]
        self._hidden_gates = self._from_hidden[: 2 * size]
        self._hidden_new = self._from_hidden[2 * size :]

    def __call__(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        np.dot(self._input, x, out=self._from_input)
        np.add(self._from_input, self._input_bias, out=self._from_input)
        np.dot(self._hidden, state, out=self._from_hidden)
        np.add(self._from_hidden, self._hidden_bias, out=self._from_hidden)
        gates = self._gates
        np.add(gates, self._hidden_gates, out=gates)
        # sigmoid(x) = (1 + tanh(x / 2)) / 2: nothing overflows
        np.multiply(gates, 0.5, out=gates)
        np.tanh(gates, out=gates)
        np.multiply(gates, 0.5, out=gates)
        np.add(gates, 0.5, out=gates)
        np.multiply(self._reset, self._hidden_new, out=self._hidden_new)
        np.add(self._new, self._hidden_new, out=self._new)
        np.tanh(self._new, out=self._new)
        np.subtract(state, self._new, out=state)
        np.multiply(state, self._update, out=state)
        np.add(state, self._new, out=state)
        return state


_KINDS = {"dense": _Dense, "convolution": _Convolution, "gru": _Gru}


def make_step(layer: Layer, tensors: Tensors, meta: Mapping[str, Any]) -> Step:
    """The runtime of one layer.

    Raises:
        PolicyError: a tensor is not as it must be.
    """
    return _KINDS[layer.kind](layer, tensors, meta)
