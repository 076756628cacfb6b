"""Weights as int8 with one float32 scale per group: symmetric, rounded to nearest.

Only weight matrices are rounded. Biases, activations and above all the normaliser stay float32: its
statistics span orders of magnitude, and rounding them breaks policies.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...controller.architecture import dequantise

_MOST = 127


def quantise(tensors: dict[str, Tensor], group: int) -> dict[str, Tensor]:
    """``w_ij ~ s_i,j//group q_ij`` with ``s = max |w| / 127`` over each group of a row.

    Args:
        tensors: by the runtime's names.
        group: neighbouring weights of a row that share a scale.

    Returns:
        The tensors; matrices as int8, with (rows, ceil(columns / group)) float32 scales under
        ``{name}.scale``.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(".weight"):
            result[name] = tensor
            continue
        whole, scale = _groups(tensor.numpy(), group)
        result[name] = torch.from_numpy(whole)
        result[f"{name}.scale"] = torch.from_numpy(scale)
    return result


def rounded(weight: Tensor, group: int) -> Tensor:
    """The float32 matrix that ``weight`` becomes on the robot."""
    whole, scale = _groups(weight.detach().numpy(), group)
    return torch.from_numpy(dequantise(whole, scale, group))


def _groups(weight: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = weight.shape
    count = -(-columns // group)
    padded = np.zeros((rows, count * group), np.float32)
    padded[:, :columns] = weight
    blocks = padded.reshape(rows, count, group)
    scale = np.abs(blocks).max(axis=2) / np.float32(_MOST)
    scale[scale == 0] = 1.0  # a group of zeros
    whole = np.rint(blocks / scale[..., None]).clip(-_MOST, _MOST).astype(np.int8)
    return np.ascontiguousarray(whole.reshape(rows, -1)[:, :columns]), scale
