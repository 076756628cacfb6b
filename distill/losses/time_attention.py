"""Attention over time, for students that remember: which earlier ticks does this one look like."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .shapes import same_shape


def attention_over_time(layer: Tensor, reset: Tensor, temperature: float = 0.1) -> Tensor:
    """Every tick's attention to itself and the ticks before it in its episode, as log weights.

    ``A[t, s] = softmax_{s <= t} cos(z_t, z_s) / temperature``: the scaled dot-product attention of
    a layer with itself, masked to the past as in a causal transformer. The cosine makes it
    comparable between layers of any width and range: a perceptron's, a GRU's hidden state, a
    channel stack of a temporal convolution. Relations of self-attention are what Wang et al. 2021
    (MiniLM v2) distil between transformers of different widths.

    Args:
        layer: (T, N, width).
        reset: (T, N) bool: the tick is the first of an episode.
        temperature: of the softmax over cosines.

    Returns:
        (T, N, T) log weights; minus infinity where there is no attention.
    """
    same_shape(reset=reset, layer=layer[..., 0])
    unit = nn.functional.normalize(layer, dim=-1, eps=1e-8).transpose(0, 1)  # (N, T, width)
    score = unit @ unit.transpose(1, 2) / temperature  # (N, T, T)
    episode = reset.cumsum(0).T  # (N, T)
    ticks = torch.arange(len(reset), device=reset.device)
    visible = (episode[:, :, None] == episode[:, None, :]) & (ticks[:, None] >= ticks)
    score = score.masked_fill(~visible, -torch.inf)
    return score.log_softmax(-1).transpose(0, 1)


def time_attention(
    teacher: Tensor, student: Tensor, reset: Tensor, temperature: float = 0.1
) -> Tensor:
    """``KL(A_T[t] || A_S[t])`` of two layers' attention over time, (T, N).

    Args:
        teacher: (T, N, teacher_width) of any teacher, a memoryless one included: its layers, too,
            say which earlier situations the present one resembles.
        student: (T, N, student_width), e.g. a GRU's hidden states.
        reset: (T, N) bool.
        temperature: as in ``attention_over_time``.
    """
    log_teacher = attention_over_time(teacher.detach(), reset, temperature)
    log_student = attention_over_time(student, reset, temperature)
    seen = log_teacher > -torch.inf
    difference = torch.where(seen, log_teacher, 0.0) - torch.where(seen, log_student, 0.0)
    return (log_teacher.exp() * difference).sum(-1)
