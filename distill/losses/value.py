"""Losses that distil state values, one number per sample, (...)."""

from __future__ import annotations

from torch import Tensor

from .shapes import same_shape


def value_target(lambda_return: Tensor, teacher_value: Tensor, eta: float) -> Tensor:
    """``(1 - eta) R_lambda + eta V_T`` without gradient, (...).

    V_T is the value of the *teacher's* policy: right to warm up with and wrong to end with, so eta
    falls to 0.

    Args:
        lambda_return: (...) of the student's own reward, in V_T's units.
        teacher_value: (...).
        eta: share of the teacher, 0 to 1.
    """
    same_shape(lambda_return=lambda_return, teacher_value=teacher_value)
    return ((1.0 - eta) * lambda_return + eta * teacher_value).detach()
