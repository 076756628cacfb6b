"""The one check that keeps broadcasting from hiding a mistake."""

from __future__ import annotations

from torch import Tensor

from ...hardware.errors import RetortError


class ShapeError(RetortError):
    """Tensors that must have equal shapes do not."""


def same_shape(**tensors: Tensor) -> None:
    """All named tensors must have one shape.

    Raises:
        ShapeError: they do not; the message names each with its shape.
    """
    shapes = [tensor.shape for tensor in tensors.values()]
    if any(shape != shapes[0] for shape in shapes):
        said = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
        raise ShapeError(f"got {said}; these must have the same shape")
