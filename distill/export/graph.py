"""The policy as one ONNX graph of elementary operators, normaliser inside, state in and out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ...controller.architecture import Layer, architecture_of, columns_read, read_layers
from ...controller.contract import Contract

_ACTIVATIONS = {"elu": "Elu", "tanh": "Tanh", "relu": "Relu"}


def to_onnx(contract: Contract, meta: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """One graph: raw ``observation`` (1, size) to ``action`` (1, joints).

    A policy that remembers also takes ``state`` (1, state_size), zeros at first, and gives
    ``next_state``. int8 weights stay int8 (``DequantizeLinear`` in blocks, opset 21). The contract
    and its hash stand in the model's metadata under ``contract`` and ``contract_hash``.
    """
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    columns = columns_read(contract, architecture_of(meta))
    layers = read_layers(meta, arrays, len(columns), contract.action_size)
    graph = _Graph(arrays, meta.get("group", 0))
    read = graph.add("Gather", "observation", graph.constant(columns), axis=1)
    centred = graph.add("Sub", read, graph.constant(arrays["normaliser.mean"]))
    scaled = graph.add("Div", centred, graph.constant(arrays["normaliser.std"]))
    limit = np.float32(contract.normaliser_clip)
    x = graph.add("Clip", scaled, graph.constant(-limit), graph.constant(limit))
    size, after = sum(layer.state_size for layer in layers), []
    start = 0
    for layer in layers:
        if layer.state_size:
            part = np.arange(start, start + layer.state_size)
            state = graph.add("Gather", "state", graph.constant(part), axis=1)
            start += layer.state_size
            if layer.kind == "gru":
                x = graph.gru(layer, x, state)
                after.append(x)
            else:
                x, kept = graph.convolution(layer, x, state)
                after.append(kept)
        else:
            x = graph.dense(layer, x)
    graph.add("Identity", x, out="action")
    inputs = [_value("observation", contract.observation_size)]
    outputs = [_value("action", contract.action_size)]
    if size:
        graph.add("Concat", *after, out="next_state", axis=1)
        inputs.append(_value("state", size))
        outputs.append(_value("next_state", size))
    made = helper.make_graph(graph.nodes, "policy", inputs, outputs, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(
        model, {"contract": json.dumps(contract.to_dict()), "contract_hash": contract.hash()}
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


class _Graph:
    """Nodes and constants as they are added; every method returns the name of its result."""

    def __init__(self, arrays: dict[str, np.ndarray], group: int) -> None:
        self.arrays, self.group = arrays, group
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._stored: set[str] = set()

    def add(self, operator: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"{operator.lower()}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [out], **attributes))
        return out

    def constant(self, value: Any, name: str = "") -> str:
        name = name or f"constant.{len(self.constants)}"
        if name not in self._stored:
            self._stored.add(name)
            self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def linear(self, x: str, weight: str, bias: str) -> str:
        """``x W^T + b``."""
        stored = self.constant(self.arrays[weight], weight)
        if self.arrays[weight].dtype == np.int8:
            scale = self.constant(self.arrays[f"{weight}.scale"], f"{weight}.scale")
            stored = self.add("DequantizeLinear", stored, scale, axis=1, block_size=self.group)
        return self.add("Gemm", x, stored, self.constant(self.arrays[bias], bias), transB=1)

    def dense(self, layer: Layer, x: str) -> str:
        y = self.linear(x, f"{layer.name}.weight", f"{layer.name}.bias")
        return y if layer.activation is None else self.add(_ACTIVATIONS[layer.activation], y)

    def convolution(self, layer: Layer, x: str, state: str) -> tuple[str, str]:
        """The layer's output, and what it remembers after."""
        row = np.arange(layer.inputs)
        lags = np.arange(layer.taps - 1) * layer.dilation  # rows of the state, oldest first
        wanted = (lags[:, None] * layer.inputs + row).ravel()
        past = self.add("Gather", state, self.constant(wanted), axis=1)
        y = self.dense(layer, self.add("Concat", past, x, axis=1))
        kept = np.arange(layer.inputs, layer.state_size)
        rest = self.add("Gather", state, self.constant(kept), axis=1)
        return y, self.add("Concat", rest, x, axis=1)

    def gru(self, layer: Layer, x: str, state: str) -> str:
        """``h' = n + z (h - n)``, ``n = tanh(W_n x + r (U_n h))``; the new state is the output."""
        name = layer.name
        ours = self.linear(x, f"{name}.input.weight", f"{name}.input.bias")
        theirs = self.linear(state, f"{name}.hidden.weight", f"{name}.hidden.bias")
        parts: list[list[str]] = []
        for whose, value in (("input", ours), ("hidden", theirs)):
            names = [f"{name}.{whose}.{gate}" for gate in ("reset", "update", "new")]
            self.nodes.append(helper.make_node("Split", [value], names, axis=1, num_outputs=3))
            parts.append(names)
        reset, update = (
            self.add("Sigmoid", self.add("Add", parts[0][i], parts[1][i])) for i in (0, 1)
        )
        gated = self.add("Mul", reset, parts[1][2])
        new = self.add("Tanh", self.add("Add", parts[0][2], gated))
        return self.add("Add", new, self.add("Mul", update, self.add("Sub", state, new)))


def _value(name: str, size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
