"""The policy as one C99 header without dependencies: a state struct, a reset, a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ...controller.architecture import Layer, architecture_of, columns_read, read_layers
from ...controller.contract import Contract

# Comparisons are such that NaN, for which all are false, is handed on: fminf and fmaxf drop it, and
# the gate behind the policy would never see that a reading was none.
_ACTIVATIONS = {
    "elu": "x > 0.0f ? x : expm1f(x)",
    "tanh": "tanhf(x)",
    "relu": "x < 0.0f ? 0.0f : x",
}

_LINEAR = """\
static inline void retort_linear(const float *weight, const float *bias, const float *in,
                                 int inputs, float *out, int outputs) {
  for (int i = 0; i < outputs; ++i) {
    float sum = bias[i];
    for (int j = 0; j < inputs; ++j) sum += weight[i * inputs + j] * in[j];
    out[i] = sum;
  }
}"""

_LINEAR_INT8 = """\
static inline void retort_linear(const int8_t *weight, const float *scale, const float *bias,
                                 const float *in, int inputs, float *out, int outputs) {
  for (int i = 0; i < outputs; ++i) {
    float sum = bias[i];
    for (int j = 0; j < inputs; j += RETORT_GROUP) {
      int end = j + RETORT_GROUP < inputs ? j + RETORT_GROUP : inputs;
      float part = 0.0f;
      for (int k = j; k < end; ++k) part += (float)weight[i * inputs + k] * in[k];
      sum += *scale++ * part;
    }
    out[i] = sum;
  }
}"""


def to_c(contract: Contract, meta: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """A header with ``retort_state``, ``retort_reset(&state)`` and
    ``retort_policy(&state, observation, action)``; int8 weights are stored as int8.
    """
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    columns = columns_read(contract, architecture_of(meta))
    layers = read_layers(meta, arrays, len(columns), contract.action_size)
    int8 = any(array.dtype == np.int8 for array in arrays.values())
    limit = contract.normaliser_clip
    lines = [
        "/* Policy for contract " + contract.hash() + ".",
        "   observation: RETORT_OBSERVATION_SIZE floats, not normalised;",
        "   action: RETORT_ACTION_SIZE floats, not clipped;",
        "   state: what it remembers from tick to tick, retort_reset before the first.",
        "   NaN in the observation is NaN in the action; -ffast-math would lose it.",
        "   contract.json says what they mean. */",
        "#ifndef RETORT_POLICY_H",
        "#define RETORT_POLICY_H",
        "#include <math.h>",
        *(["#include <stdint.h>", f"#define RETORT_GROUP {meta['group']}"] if int8 else []),
        f"#define RETORT_OBSERVATION_SIZE {contract.observation_size}",
        f"#define RETORT_ACTION_SIZE {contract.action_size}",
        f"#define RETORT_STATE_SIZE {sum(layer.state_size for layer in layers)}",
        "",
        "/* C has no empty array: without a memory there is one float that nobody reads. */",
        "typedef struct {",
        "  float memory[RETORT_STATE_SIZE > 0 ? RETORT_STATE_SIZE : 1];",
        "} retort_state;",
        "",
        *_constants(arrays, columns),
        f"static inline float retort_activation(float x) {{ return {_formula(meta)}; }}",
        _LINEAR_INT8 if int8 else _LINEAR,
        "static inline void retort_reset(retort_state *state) {",
        "  for (int i = 0; i < (int)(sizeof state->memory / sizeof(float)); ++i)",
        "    state->memory[i] = 0.0f;",
        "}",
        "static inline void retort_policy(retort_state *state, const float *observation,",
        "                                 float *action) {",
        f"  float x0[{len(columns)}];",
        f"  for (int i = 0; i < {len(columns)}; ++i) {{",
        "    float x = (observation[retort_columns[i]] - retort_normaliser_mean[i])",
        "              / retort_normaliser_std[i];",
        f"    x0[i] = x < -{limit:.6f}f ? -{limit:.6f}f : x > {limit:.6f}f ? {limit:.6f}f : x;",
        "  }",
    ]
    start = 0
    for i, layer in enumerate(layers):
        out = "action" if i == len(layers) - 1 else f"x{i + 1}"
        if out != "action":
            lines.append(f"  float {out}[{layer.outputs}];")
        memory = f"state->memory + {start}"
        if layer.kind == "gru":
            lines += _gru(layer, f"x{i}", out, memory, int8)
        elif layer.state_size:
            lines += _convolution(layer, f"x{i}", out, memory, int8)
        else:
            lines += _dense(layer, f"x{i}", out, int8)
        start += layer.state_size
    if start == 0:
        lines.append("  (void)state;")
    lines += ["}", "#endif", ""]
    return "\n".join(lines).encode()


def _formula(meta: dict[str, Any]) -> str:
    return _ACTIVATIONS[meta["activation"]]


def _constants(arrays: dict[str, np.ndarray], columns: np.ndarray) -> list[str]:
    indices = ", ".join(str(column) for column in columns)
    lines = [f"static const int retort_columns[{len(columns)}] = {{{indices}}};"]
    for name, array in arrays.items():
        kind = "int8_t" if array.dtype == np.int8 else "float"
        values = ", ".join(_literal(value) for value in array.ravel())
        lines.append(f"static const {kind} {_name(name)}[{array.size}] = {{{values}}};")
    return lines


def _literal(value: np.generic) -> str:
    if isinstance(value, np.integer):
        return str(int(value))
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _name(tensor: str) -> str:
    return "retort_" + tensor.replace(".", "_")


def _linear(
    prefix: str, source: str, inputs: int, out: str, outputs: int, int8: bool, indent: str = "  "
) -> str:
    weight = _name(f"{prefix}.weight")
    scale = f"{weight}_scale, " if int8 else ""
    bias = _name(f"{prefix}.bias")
    return f"{indent}retort_linear({weight}, {scale}{bias}, {source}, {inputs}, {out}, {outputs});"


def _dense(layer: Layer, source: str, out: str, int8: bool, indent: str = "  ") -> list[str]:
    inputs = layer.taps * layer.inputs
    lines = [_linear(layer.name, source, inputs, out, layer.outputs, int8, indent)]
    if layer.activation is not None:
        loop = f"{indent}for (int i = 0; i < {layer.outputs}; ++i)"
        lines.append(f"{loop} {out}[i] = retort_activation({out}[i]);")
    return lines


def _convolution(layer: Layer, source: str, out: str, memory: str, int8: bool) -> list[str]:
    size, past = layer.inputs, layer.taps - 1
    return [
        "  {",
        f"    float *memory = {memory}, taps[{layer.taps * size}];",
        f"    for (int tap = 0; tap < {past}; ++tap)",
        f"      for (int i = 0; i < {size}; ++i)",
        f"        taps[tap * {size} + i] = memory[tap * {layer.dilation * size} + i];",
        f"    for (int i = 0; i < {size}; ++i) taps[{past * size} + i] = {source}[i];",
        f"    for (int i = 0; i < {layer.state_size - size}; ++i) memory[i] = memory[i + {size}];",
        f"    for (int i = 0; i < {size}; ++i) "
        f"memory[{layer.state_size - size} + i] = {source}[i];",
        *_dense(layer, "taps", out, int8, "    "),
        "  }",
    ]


def _gru(layer: Layer, source: str, out: str, memory: str, int8: bool) -> list[str]:
    n, name = layer.outputs, layer.name
    return [
        "  {",
        f"    float *h = {memory}, a[{3 * n}], b[{3 * n}];",
        _linear(f"{name}.input", source, layer.inputs, "a", 3 * n, int8, "    "),
        _linear(f"{name}.hidden", "h", n, "b", 3 * n, int8, "    "),
        f"    for (int i = 0; i < {n}; ++i) {{",
        "      float reset = 0.5f + 0.5f * tanhf(0.5f * (a[i] + b[i]));",
        f"      float update = 0.5f + 0.5f * tanhf(0.5f * (a[{n} + i] + b[{n} + i]));",
        f"      float fresh = tanhf(a[{2 * n} + i] + reset * b[{2 * n} + i]);",
        "      h[i] = fresh + update * (h[i] - fresh);",
        f"      {out}[i] = h[i];",
        "    }",
        "  }",
    ]
