"""Weights as int8 with one float32 scale per group, rounded so that layers still say the same.

Only weight matrices are rounded. Biases, activations and above all the normaliser stay float32: its
statistics span orders of magnitude, and rounding them breaks policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...controller.architecture import dequantise

_MOST = 127
_DAMPING = 0.01  # of the mean square that a matrix reads: of what is seldom read, little is wanted
_KEPT = 0.9  # of the moments from one batch to the next


class Rounded(NamedTuple):
    """A matrix as it is stored, and the bias that goes with it."""

    whole: Tensor  # (rows, columns) int8
    scale: Tensor  # (rows, ceil(columns / group)) float32
    bias: Tensor | None  # (rows,)

    def weight(self, group: int) -> Tensor:
        """The float32 matrix that the robot multiplies by."""
        return torch.from_numpy(dequantise(self.whole.numpy(), self.scale.numpy(), group))


class InputMoments(nn.Module):
    """``E[z z']`` of what every matrix reads, ``z = (x, 1)``; the newest batches weigh the most.

    Args:
        columns: of each matrix, by its name.
    """

    def __init__(self, columns: Mapping[str, int]) -> None:
        super().__init__()
        for name, count in columns.items():
            moment = torch.zeros(count + 1, count + 1, dtype=torch.float64)
            self.register_buffer(_attribute(name), moment)

    @torch.no_grad()
    def update(self, inputs: Mapping[str, Tensor]) -> None:
        """Count in a batch of inputs, (samples, columns) by matrix."""
        for name, x in inputs.items():
            z = torch.cat([x, torch.ones(len(x), 1)], dim=1).double()
            moment = self.get_buffer(_attribute(name))
            kept = _KEPT if bool(moment.any()) else 0.0
            moment.mul_(kept).add_(z.T @ z / len(z), alpha=1.0 - kept)

    def of(self, name: str) -> Tensor | None:
        """(columns + 1, columns + 1) of a matrix; None where nothing was counted in."""
        moment = self.get_buffer(_attribute(name))
        return moment if bool(moment.any()) else None


@torch.no_grad()
def quantise(
    weight: Tensor, bias: Tensor | None, group: int, moment: Tensor | None = None
) -> Rounded:
    """``w_ij ~ s_i,j//group q_ij`` with ``s = max |w| / 127`` over each group of a row.

    Without moments every weight goes to its nearest step. With them the columns are rounded one
    after the other, and what each loses is made good by those that follow, the bias last, so that
    ``E |(W - W') z|^2`` stays small (optimal brain quantisation, Frantar and Alistarh 2022, in the
    order of GPTQ, Frantar et al. 2023): steps that a layer's correlated inputs would add up cancel.

    Args:
        weight: (rows, columns).
        bias: (rows,), which stays float32; None where there is none.
        group: neighbouring weights of a row that share a scale.
        moment: (columns + 1, columns + 1) of what the matrix reads and a one, if that is known.
    """
    rows, columns = weight.shape
    count = -(-columns // group)
    padded = torch.zeros(rows, count * group)
    padded[:, :columns] = weight
    scale = padded.reshape(rows, count, group).abs().amax(dim=2) / _MOST
    scale[scale == 0] = 1.0  # a group of zeros
    step = scale.double().repeat_interleave(group, dim=1)[:, :columns]
    left = weight.double()
    if moment is None:
        return Rounded(_nearest(left, step), scale, bias)
    left = torch.cat([left, torch.zeros(rows, 1, dtype=left.dtype)], dim=1)  # with what bias gains
    if bias is None:
        moment, left = moment[:columns, :columns], left[:, :columns]
    damped = moment.clone()
    squares = damped.diagonal()[:columns]  # the bias's one is no input: its gain is not damped
    squares += _DAMPING * squares.mean().clamp(min=1e-9)
    after = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    whole = torch.zeros(rows, columns, dtype=torch.int8)
    for j in range(columns):
        whole[:, j] = _nearest(left[:, j], step[:, j])
        lost = (left[:, j] - whole[:, j] * step[:, j]) / after[j, j]
        left[:, j + 1 :] -= lost[:, None] * after[j, j + 1 :]
    return Rounded(whole, scale, None if bias is None else bias + left[:, -1].to(bias.dtype))


def _nearest(value: Tensor, step: Tensor) -> Tensor:
    return (value / step).round().clamp(-_MOST, _MOST).to(torch.int8)


def _attribute(name: str) -> str:
    return name.replace(".", "_")
