"""From a trained student to what leaves training: tensors, ONNX, C, golden vectors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ..controller.contract import Contract
from ..hardware.errors import RetortError


def to_onnx(contract: Contract, meta: dict[str, str], tensors: dict[str, Tensor]) -> bytes:
    """One graph: raw observation (1, size) to action (1, joints), normaliser inside.

    The contract and its hash stand in the model's metadata under ``contract`` and
    ``contract_hash``.
    """
    if meta["architecture"] != "mlp":
        raise RetortError(f"there is no ONNX export for a {meta['architecture']!r} student")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    limit = np.float32(contract.normaliser_clip)
    initialisers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    initialisers.append(numpy_helper.from_array(np.array(-limit), "low"))
    initialisers.append(numpy_helper.from_array(np.array(limit), "high"))
    nodes = [
        helper.make_node("Sub", ["observation", "normaliser.mean"], ["centred"]),
        helper.make_node("Div", ["centred", "normaliser.std"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["hidden.0"]),
    ]
    layers = _layers(arrays)
    activation = {"elu": "Elu", "tanh": "Tanh", "relu": "Relu"}[meta["activation"]]
    for i in range(layers):
        last = i == layers - 1
        out = "action" if last else f"linear.{i}"
        inputs = [f"hidden.{i}", f"layers.{i}.weight", f"layers.{i}.bias"]
        nodes.append(helper.make_node("Gemm", inputs, [out], transB=1))
        if not last:
            nodes.append(helper.make_node(activation, [out], [f"hidden.{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "policy",
        [_value("observation", contract.observation_size)],
        [_value("action", contract.action_size)],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(
        model,
        {"contract": json.dumps(contract.to_dict()), "contract_hash": contract.hash()},
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def to_c(contract: Contract, meta: dict[str, str], tensors: dict[str, Tensor]) -> bytes:
    """One C99 header: ``void retort_policy(const float *observation, float *action)``."""
    if meta["architecture"] != "mlp":
        raise RetortError(f"there is no C export for a {meta['architecture']!r} student")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    limit = contract.normaliser_clip
    layers = _layers(arrays)
    sizes = [arrays[f"layers.{i}.weight"].shape for i in range(layers)]
    width = max(max(shape) for shape in sizes)
    formula = {
        "elu": "x > 0.0f ? x : expm1f(x)",
        "tanh": "tanhf(x)",
        "relu": "x > 0.0f ? x : 0.0f",
    }[meta["activation"]]
    lines = [
        "/* Policy for contract " + contract.hash() + ".",
        "   observation: RETORT_OBSERVATION_SIZE floats, not normalised;",
        "   action: RETORT_ACTION_SIZE floats, not clipped.",
        "   contract.json says what they mean. */",
        "#ifndef RETORT_POLICY_H",
        "#define RETORT_POLICY_H",
        "#include <math.h>",
        f"#define RETORT_OBSERVATION_SIZE {contract.observation_size}",
        f"#define RETORT_ACTION_SIZE {contract.action_size}",
    ]
    for name, array in arrays.items():
        values = ", ".join(
            f"{value:.9g}f" if "." in f"{value:.9g}" or "e" in f"{value:.9g}" else f"{value:.9g}.0f"
            for value in array.ravel()
        )
        lines.append(f"static const float retort_{_c_name(name)}[{array.size}] = {{{values}}};")
    lines += [
        f"static inline float retort_activation(float x) {{ return {formula}; }}",
        "static inline void retort_linear(const float *weight, const float *bias, const float *in,",
        "                                 int inputs, float *out, int outputs) {",
        "  for (int i = 0; i < outputs; ++i) {",
        "    float sum = bias[i];",
        "    for (int j = 0; j < inputs; ++j) sum += weight[i * inputs + j] * in[j];",
        "    out[i] = sum;",
        "  }",
        "}",
        "static inline void retort_policy(const float *observation, float *action) {",
        f"  float a[{width}], b[{width}];",
        "  for (int i = 0; i < RETORT_OBSERVATION_SIZE; ++i) {",
        "    float x = (observation[i] - retort_normaliser_mean[i]) / retort_normaliser_std[i];",
        f"    a[i] = fminf(fmaxf(x, -{limit:.6f}f), {limit:.6f}f);",
        "  }",
    ]
    source, target = "a", "b"
    for i, (outputs, inputs) in enumerate(sizes):
        last = i == layers - 1
        goal = "action" if last else target
        lines.append(
            f"  retort_linear(retort_layers_{i}_weight, retort_layers_{i}_bias, "
            f"{source}, {inputs}, {goal}, {outputs});"
        )
        if not last:
            lines.append(
                f"  for (int i = 0; i < {outputs}; ++i) {goal}[i] = retort_activation({goal}[i]);"
            )
        source, target = target, source
    lines += ["}", "#endif", ""]
    return "\n".join(lines).encode()


def _layers(arrays: dict[str, Any]) -> int:
    return sum(name.endswith(".weight") for name in arrays)


def _value(name: str, size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])


def _c_name(name: str) -> str:
    return name.replace(".", "_")
