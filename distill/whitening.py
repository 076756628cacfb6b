"""Coordinates in which a window of the past is quick to learn from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FLOOR = 1e-2  # of the largest variance: what is much smaller is taken for noise and kept small


class Whitening(nn.Module):
    """``M x`` with ``M = (l + floor max l)^-1/2 U'``, where ``U l U'`` are second moments of x.

    From one frame to the next positions hardly change, so that a speed is a small difference of
    large numbers; gradient descent on the layer that reads them finds it late, by as much as their
    eigenvalues are apart. Behind ``M`` they are not apart. The layer's own weights times ``M`` are
    what runs on the robot: ``M`` costs nothing there, and makes nothing expressible that was not.

    ``M`` is of all that was seen, the identity before, and made anew each time that this has
    doubled. From the second time on the layer is told how to say what it said before, as in natural
    neural networks (Desjardins et al. 2015), here for the first layer only.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(size))
        self.register_buffer("moment", torch.zeros(size, size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("made_of", torch.zeros((), dtype=torch.float64))
        self.matrix: Tensor
        self.moment: Tensor
        self.count: Tensor
        self.made_of: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    @torch.no_grad()
    def update(self, layer: nn.Linear, x: Tensor) -> None:
        """Count in the rows of ``x``; every so often change ``matrix``, and ``layer`` with it.

        Args:
            layer: reads what ``forward`` gives; size to any width.
            x: (rows, size), normalised.
        """
        self.moment += (x.T @ x).double()
        self.count += len(x)
        if self.count < 2 * self.made_of:
            return
        values, vectors = torch.linalg.eigh(self.moment / self.count)
        values = values.clamp(min=0.0) + FLOOR * values.max().clamp(min=1e-12)
        back = vectors * values.sqrt()
        if self.made_of > 0:
            layer.weight.copy_(layer.weight.double() @ self.matrix.double() @ back)
        self.matrix.copy_((vectors / values.sqrt()).T)
        self.made_of.copy_(self.count)

    @torch.no_grad()
    def merged(self, layer: nn.Linear) -> Tensor:
        """(outputs, size) weights that say of x what ``layer`` says of ``M x``."""
        return (layer.weight.double() @ self.matrix.double()).to(layer.weight.dtype)
