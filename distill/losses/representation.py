"""Losses between inner layers of networks of any two architectures, one number per sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...hardware.errors import RetortError
from .shapes import ShapeError, same_shape


def latent(teacher: Tensor, student: Tensor, projection: nn.Module) -> Tensor:
    """``||sg z_T - P z_S||^2`` with P learned beside the student (RMA, Kumar et al. 2021), (...).

    Args:
        teacher: (..., teacher_size) what the teacher knows of its privileged state.
        student: (..., student_size) what the student made of its history.
        projection: P, e.g. ``nn.Linear(student_size, teacher_size)``, owned by the term.
    """
    projected = projection(student)
    same_shape(teacher=teacher, projected_student=projected)
    return (teacher.detach() - projected).square().sum(-1)


def _similarity(layer: Tensor) -> Tensor:
    """Who is like whom: ``Z Z^T`` with every row scaled to length 1 (Tung and Mori 2019).

    Args:
        layer: (..., samples, width).

    Returns:
        (..., samples, samples).
    """
    return nn.functional.normalize(layer @ layer.transpose(-1, -2), dim=-1, eps=1e-8)


def batch_similarity(teacher: Tensor, student: Tensor, block: int = 256) -> Tensor:
    """``||G_T[i] - G_S[i]||^2``, G the row-normalised similarity of the batch, (...).

    The widths of the two layers need not agree: what is compared is which samples each layer finds
    alike. Summed over a row, without the 1/b of the paper, so that its size (0 to 4) does not
    depend on the batch.

    Args:
        teacher: (..., teacher_width).
        student: (..., student_width), same leading shape.
        block: samples are compared within blocks of at most this many neighbours in memory, which
            keeps the cost linear in the number of samples.
    """
    same_shape(teacher=teacher[..., 0], student=student[..., 0])
    if block < 2:
        raise RetortError(f"the block of a similarity is {block}; use at least 2 samples")
    z_teacher, z_student = teacher.detach().flatten(0, -2), student.flatten(0, -2)
    samples = len(z_teacher)
    blocks = -(-samples // block)
    if blocks > 1 and samples % blocks == 0:  # all of one size: a single batched product
        z_teacher = z_teacher.unflatten(0, (blocks, -1))
        z_student = z_student.unflatten(0, (blocks, -1))
        rows = (_similarity(z_teacher) - _similarity(z_student)).square().sum(-1)
    else:
        pairs = zip(z_teacher.tensor_split(blocks), z_student.tensor_split(blocks), strict=True)
        rows = torch.cat([(_similarity(t) - _similarity(s)).square().sum(-1) for t, s in pairs])
    return rows.reshape(teacher.shape[:-1])


def input_saliency(output: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """``|d output / d input|``, each output by itself, differentiable once more.

    Rows of ``output`` must depend on their own row of the inputs alone, as those of a perceptron
    do; a recurrent network is asked one tick at a time with its hidden state held fixed.

    Args:
        output: (..., outputs), e.g. the mean action.
        inputs: (..., size) each, what it was computed from, requiring gradient.

    Returns:
        (..., outputs, size) for each input.
    """
    for tensor in inputs:
        if tensor.shape[:-1] != output.shape[:-1]:
            raise ShapeError(
                f"got output {tuple(output.shape)} and input {tuple(tensor.shape)}; "
                "these must have the same leading shape"
            )
    columns = [
        torch.autograd.grad(column.sum(), inputs, create_graph=True, materialize_grads=True)
        for column in output.unbind(-1)
    ]
    return tuple(torch.stack(gradients, dim=-2).abs() for gradients in zip(*columns, strict=True))


def saliency_difference(teacher: Tensor, student: Tensor) -> Tensor:
    """``||A_T / ||A_T|| - A_S / ||A_S|| ||^2`` of two saliency maps, in [0, 2], (...).

    The gradient form of attention transfer (Zagoruyko and Komodakis 2017) over what both see:
    which inputs matter for which action, and not how strongly all of them do.

    Args:
        teacher, student: (..., outputs, size), not negative.
    """
    same_shape(teacher=teacher, student=student)
    maps = (nn.functional.normalize(a.flatten(-2), dim=-1) for a in (teacher.detach(), student))
    teacher_map, student_map = maps
    return (teacher_map - student_map).square().sum(-1)
