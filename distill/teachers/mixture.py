"""Several teachers at once: ``sum_i w_i(o) g_i(o) l_i``, weights of three kinds, an optional gate.

Weights are (..., teachers) without gradient; each teacher's loss is computed elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...hardware.checks import FINITE, POSITIVE, SHARE, RangeError, check_fields, check_unused
from ...hardware.errors import RetortError
from ..losses.shapes import same_shape
from .foreign import ForeignTeacherError
from .named import NamedTeacher, named_teacher
from .teacher import ValuesOf

_SUM_TOLERANCE = 1e-6  # of weights


class MixtureError(RetortError):
    """Weights, tasks or losses that do not fit the number of teachers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """How several teachers share the say.

    ``fixed``: ``weights`` (equal when empty), for teachers of one task. ``task``: each teaches its
    own. ``value``: softmax of what each expects, at ``temperature``. With ``gated``, only teachers
    that expect more than the student by ``margin`` are copied at all, once ``warm_up`` of the
    budget has told the student's critic what to compare with.

    ``others`` teach too, after the run's own: run folders of ours, or files of Stable-Baselines3
    (.zip), rsl_rl (.pt) or ONNX (.onnx) teachers that were trained on the same observations, or
    Python files that define one, each by its path or as a table of ``file`` and options
    (``named.named_teacher``).

    A teacher of the fixed weight 0 is not heard: it neither labels nor drives, and need not have
    what terms ask of a teacher.
    """

    others: tuple[str | dict[str, Any], ...] = ()
    weighting: Literal["fixed", "task", "value"] = "fixed"
    weights: tuple[float, ...] = ()
    temperature: float = 1.0
    gated: bool = False
    margin: float = 0.0
    warm_up: float = 0.1  # share of the budget in which gates stay open

    def __post_init__(self) -> None:
        check_fields(self, weights=SHARE, temperature=POSITIVE, margin=FINITE, warm_up=SHARE)
        if self.weights and len(self.weights) != 1 + len(self.others):
            raise ValueError(
                f"distill.teachers has {len(self.weights)} weights for {1 + len(self.others)} "
                "teachers, the run's own and the others; give one each or none"
            )
        if self.weights and abs(sum(self.weights) - 1.0) > _SUM_TOLERANCE:
            raise RangeError(f"weights are {self.weights}; let them sum to 1")
        self._refuse_unused()
        read: list[NamedTeacher] = []
        for i, entry in enumerate(self.others):
            try:
                read.append(named_teacher(entry))
            except ForeignTeacherError as error:
                raise ValueError(f"distill.teachers.others[{i}]: {error}") from error
            if read[i] in read[:i]:
                raise ValueError(
                    f"distill.teachers.others names {read[i].path} twice; give that teacher a "
                    "larger weight instead"
                )

    def _refuse_unused(self) -> None:
        """What belongs to another weighting, or to a gate where there is none."""
        for name, weighting in (("weights", "fixed"), ("temperature", "value")):
            if self.weighting != weighting:
                check_unused(self, [name], f"weighting is {self.weighting!r}")
        if not self.gated:
            check_unused(self, ("margin", "warm_up"), "gated is false")

    @property
    def named(self) -> tuple[NamedTeacher, ...]:
        """``others``, read."""
        return tuple(named_teacher(entry) for entry in self.others)

    def heard(self, count: int) -> tuple[int, ...]:
        """Which of ``count`` teachers have a say at all."""
        if self.weighting != "fixed" or not self.weights:
            return tuple(range(count))
        return tuple(i for i, weight in enumerate(self.weights[:count]) if weight > 0.0)


def teacher_weights(
    config: MixtureConfig,
    task: Tensor,
    values: Sequence[Tensor | None],
    student: Tensor,
    fraction: float = 1.0,
) -> Tensor:
    """Weights of every teacher that is heard in every situation, (..., teachers), no gradient.

    Args:
        config: the rule.
        task: (...) int64.
        values: V_i of those, (...) each, or None for a teacher without.
        student: V_S, (...).
        fraction: of the budget that is spent.

    Raises:
        MixtureError: the rule asks for values that a teacher does not give.
    """
    count = len(values)
    said = [value for value in values if value is not None]
    if (config.weighting == "value" or config.gated) and len(said) < count:
        raise MixtureError(
            f"{count - len(said)} of {count} teachers give no values; use weighting 'fixed' "
            "without a gate"
        )
    if config.weighting == "task":
        weights = routed_weights(task, count)
    elif config.weighting == "value":
        weights = value_weights(torch.stack(said, dim=-1), config.temperature)
    else:
        given = tuple(weight for weight in config.weights if weight > 0.0)
        weights = fixed_weights(given or (1.0 / count,) * count, student.shape)
    if config.gated and fraction >= config.warm_up:
        weights = open_weights(weights, gate(torch.stack(said, dim=-1), student, config.margin))
    return weights


def check_compared(
    config: MixtureConfig, teachers: Sequence[ValuesOf | None], student: ValuesOf
) -> None:
    """Values are compared only where they count the same: of different discounts they tell of times
    ahead of different lengths, and with different penalties of different rewards; no factor turns
    one into the other.

    Args:
        config: the rule.
        teachers: what the values of each count that is heard; None where it is not known, and then
            nothing is checked.
        student: what the student's count, with which a gate compares.

    Raises:
        MixtureError: the rule compares values that count different things.
    """
    known = [each for each in teachers if each is not None]
    said = f"those of the teachers are of {', '.join(map(str, known))}"
    if config.gated and {*known} - {student}:
        raise MixtureError(
            "values that count different things cannot be compared, as distill.teachers.gated "
            f"does: that of the student is of {student}, {said}; set gated = false, or give "
            "distill and every teacher one gamma and one fall_penalty (teacher.final_fall_penalty; "
            "files of other libraries have none, so that distill.fall_penalty is 0)"
        )
    if config.weighting == "value" and len({*known}) > 1:
        raise MixtureError(
            "values that count different things cannot be compared, as "
            f"distill.teachers.weighting = 'value' does: {said}; use 'fixed', or teachers of one "
            "gamma and one final_fall_penalty"
        )


def fixed_weights(weights: Sequence[float], shape: Sequence[int] | torch.Size) -> Tensor:
    """The same weights everywhere, for teachers of one task, (*shape, teachers).

    Args:
        weights: one per teacher, not negative, summing to 1.
        shape: the leading shape.

    Raises:
        MixtureError: they are not a point of the simplex.
    """
    if not weights or min(weights) < 0.0 or abs(sum(weights) - 1.0) > _SUM_TOLERANCE:
        raise MixtureError(
            f"teachers' weights are {list(weights)}; use one each, none negative, that sum to 1"
        )
    return torch.tensor(weights, dtype=torch.float32).expand(*shape, len(weights))


def routed_weights(task: Tensor, teachers: int) -> Tensor:
    """All weight on the teacher of the task at hand, (..., teachers).

    The default for teachers of different tasks: averaging experts that disagree copies none.

    Args:
        task: (...) int64, the index of each sample's teacher.
        teachers: how many there are.

    Raises:
        MixtureError: a task has no teacher.
    """
    check_tasks(task, teachers)
    return F.one_hot(task, teachers).float()


def check_tasks(task: Tensor, teachers: int) -> None:
    """Every task has a teacher.

    Args:
        task: (...) int64.
        teachers: how many there are.

    Raises:
        MixtureError: one has none.
    """
    if task.numel() and not 0 <= int(task.min()) <= int(task.max()) < teachers:
        raise MixtureError(
            f"tasks {int(task.min())} to {int(task.max())} were seen, but the {teachers} teachers "
            f"are for tasks 0 to {teachers - 1}"
        )


def value_weights(values: Tensor, temperature: float | Tensor) -> Tensor:
    """``softmax_i(V_i / tau)``: trust whoever expects most, (..., teachers).

    Args:
        values: (..., teachers) V_i of one reward and discount, not normalised.
        temperature: tau, in the values' units.
    """
    return (values.detach() / temperature).softmax(-1)


def gate(values: Tensor, student_value: Tensor, margin: float = 0.0) -> Tensor:
    """``g_i = 1[V_i > V_S + margin]``: a weaker teacher is not copied, (..., teachers) bool.

    Only for teachers of the student's own reward and discount, with unnormalised values and a V_S
    that is warmed up; otherwise route.

    Args:
        values: (..., teachers) V_i.
        student_value: (...) V_S.
        margin: in the values' units; negative keeps a teacher that is hardly worse.
    """
    same_shape(values=values[..., 0], student_value=student_value)
    return values > student_value.unsqueeze(-1) + margin


def open_weights(weights: Tensor, gates: Tensor) -> Tensor:
    """Weights renormalised over open gates; all zero where every gate is closed, (..., teachers).

    Args:
        weights: (..., teachers), not negative.
        gates: (..., teachers) bool.
    """
    same_shape(weights=weights, gates=gates)
    kept = weights * gates
    total = kept.sum(-1, keepdim=True)
    return torch.where(total > 0.0, kept / total.clamp(min=torch.finfo(kept.dtype).tiny), 0.0)


def mix(weights: Tensor, losses: Sequence[Tensor]) -> Tensor:
    """``sum_i w_i l_i``, (...); a teacher without weight adds nothing, whatever its loss is.

    Args:
        weights: (..., teachers) without gradient.
        losses: one (...) per teacher.

    Raises:
        MixtureError: there are not as many losses as weights.
    """
    if len(losses) != weights.shape[-1]:
        raise MixtureError(
            f"got {len(losses)} losses and weights of {weights.shape[-1]} teachers; give one each"
        )
    total = torch.zeros_like(losses[0])
    for weight, loss in zip(weights.detach().unbind(-1), losses, strict=True):
        same_shape(weight=weight, loss=loss)
        # Chosen before and after, so that an infinite loss without weight has no gradient either.
        used = torch.where(weight > 0.0, loss, torch.zeros_like(loss))
        total = total + weight * used
    return total
