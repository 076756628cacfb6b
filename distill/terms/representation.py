"""Terms between inner layers, and between what teacher and student attend to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...hardware.checks import POSITIVE, at_least, check
from .. import losses
from ..distributions import Distribution
from ..losses.robust import Method
from .base import Sample, Term, TermError, layer, one_of, refuse_unused, required
from .policy import comparable


class Latent(Term):
    """``||sg z_T - P z_S||^2``, P learned: for students that see a history (``losses.latent``).

    Every teacher has a P of its own: what a unit of a layer means is for each network to choose, so
    that one P for two of them could only end between them.

    Args:
        student: name of the student's layer; its last when None.
        teacher: name of the teacher's layer; its latent, or else its last layer, when None.
    """

    needs = frozenset({"features", "teacher_features"})
    prepared = False

    def __init__(self, student: str | None = None, teacher: str | None = None) -> None:
        self.names = student, teacher
        self.projections: list[nn.Linear] = []  # one per teacher

    def prepare(self, samples: Sequence[Sample]) -> None:
        pairs = map(self._pair, samples)
        self.projections = [nn.Linear(ours.shape[-1], theirs.shape[-1]) for ours, theirs in pairs]

    def parameters(self) -> list[nn.Parameter]:
        return [p for projection in self.projections for p in projection.parameters()]

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        shapes = [p.shape for p in state.values() if p.ndim == 2]  # of weights, biases left out
        self.projections = [nn.Linear(inputs, outputs) for outputs, inputs in shapes]
        super().load_state_dict(state)

    def loss(self, sample: Sample) -> Tensor:
        ours, theirs = self._pair(sample)
        return losses.latent(theirs, ours, self.projections[sample.teacher_index])

    def _pair(self, sample: Sample) -> tuple[Tensor, Tensor]:
        ours, theirs = self.names
        taught = sample.teacher
        if theirs is None and taught.latent is not None:
            return layer(sample.features, ours, "student"), taught.latent
        return (
            layer(sample.features, ours, "student"),
            layer(taught.features, theirs, "teacher"),
        )


class Similarity(Term):
    """Attention (a): which samples of the batch each layer finds alike, between layers of any
    width (``losses.batch_similarity``)."""

    needs = frozenset({"features", "teacher_features"})

    def __init__(
        self, student: str | None = None, teacher: str | None = None, block: int = 256
    ) -> None:
        check("block", block, at_least(1))
        self.names, self.block = (student, teacher), block

    def loss(self, sample: Sample) -> Tensor:
        return losses.batch_similarity(
            layer(sample.teacher.features, self.names[1], "teacher"),
            layer(sample.features, self.names[0], "student"),
            self.block,
        )


class Saliency(Term):
    """Attention (b): which of the inputs that both see the mean action hangs on
    (``losses.saliency_difference``), in units of the student's normaliser.

    Args:
        student, teacher: positions in the observations of each that mean the same; all of them,
            where the observations are the same, when None.
    """

    needs = frozenset({"respond"})

    def __init__(
        self, student: tuple[int, ...] | None = None, teacher: tuple[int, ...] | None = None
    ) -> None:
        if (student is None) != (teacher is None) or len(student or ()) != len(teacher or ()):
            raise TermError("saliency needs as many positions for `student` as for `teacher`")
        self.student, self.teacher = student, teacher

    def loss(self, sample: Sample) -> Tensor:
        assert sample.respond is not None
        normalised = required(sample.normalised, "saliency", "normalised observations")
        scale = required(sample.scale, "saliency", "normalised observations")
        _within(self.student, "student", len(scale))
        normalised = normalised.detach().requires_grad_()
        (ours,) = losses.input_saliency(_mode(sample.respond(normalised), "student"), normalised)
        theirs = _attention(sample)
        _within(self.teacher, "teacher", theirs.shape[-1])
        if self.student is None and ours.shape != theirs.shape:
            raise TermError(
                "saliency: teacher and student see different observations; say with the options "
                "`student` and `teacher` which positions mean the same"
            )
        if self.student is not None and self.teacher is not None:
            ours, scale = ours[..., list(self.student)], scale[list(self.student)]
            theirs = theirs[..., list(self.teacher)]
        return losses.saliency_difference(theirs * scale, ours)


def _attention(sample: Sample) -> Tensor:
    """What the teacher's mode hangs on among what it reads, (T, n, outputs, size): the group of
    teachers, or the student's if it reads nothing else.
    """
    assert sample.ask is not None
    groups = {k: v.detach().requires_grad_() for k, v in sample.observations.items()}
    with torch.enable_grad():
        said = _mode(sample.ask(groups), "teacher")
        maps = dict(zip(groups, losses.input_saliency(said, *groups.values()), strict=True))
    read = [group for group, found in maps.items() if bool(found.any())]
    return maps["student" if read == ["student"] else "teacher"].detach()


def _within(positions: tuple[int, ...] | None, whose: str, size: int) -> None:
    for position in positions or ():
        if not 0 <= position < size:
            raise TermError(
                f"saliency: the {whose} has no position {position}; it sees {size} numbers, use "
                f"0 to {size - 1}"
            )


def _mode(said: Distribution, whose: str) -> Tensor:
    """The mode of what was said, which must hang on the observations by a gradient."""
    mode = said.mode()
    if not mode.requires_grad:
        raise TermError(
            f"saliency: no gradient leads from the {whose}'s action to what it sees, as with ONNX "
            "files and discrete actions; leave this term out"
        )
    return mode


class TimeAttention(Term):
    """Attention (c): which earlier ticks each tick resembles, for students that remember
    (``losses.time_attention``)."""

    needs = frozenset({"features", "teacher_features"})

    def __init__(
        self,
        student: str | None = None,
        teacher: str | None = None,
        temperature: float = 0.1,
    ) -> None:
        check("temperature", temperature, POSITIVE)
        self.names, self.temperature = (student, teacher), temperature

    def loss(self, sample: Sample) -> Tensor:
        return losses.time_attention(
            layer(sample.teacher.features, self.names[1], "teacher"),
            layer(sample.features, self.names[0], "student"),
            sample.reset,
            self.temperature,
        )


class Robust(Term):
    """The student's answer to the worst observation within ``epsilon`` of the true one.

    ``target`` is what it should have been: ``student``, its own answer to the true one
    (``losses.robust_kl``), or ``teacher``, what its teacher says of the true one
    (``losses.robust_label_kl``).
    """

    taught = False  # but towards the teacher's answer
    needs = frozenset({"respond"})

    def __init__(
        self,
        epsilon: float = 0.05,
        steps: int = 10,
        method: Literal["sgld", "pgd"] = "sgld",
        target: Literal["student", "teacher"] = "student",
    ) -> None:
        one_of("robust", "method", method, ("sgld", "pgd"))
        one_of("robust", "target", target, ("student", "teacher"))
        check("epsilon", epsilon, POSITIVE)
        check("steps", steps, at_least(1))
        self.epsilon, self.steps, self.target = epsilon, steps, target
        self.method: Method = method
        self.taught = target == "teacher"

    def loss(self, sample: Sample) -> Tensor:
        normalised = required(sample.normalised, "robust", "normalised observations")
        assert sample.respond is not None
        search: dict[str, Any] = {"steps": self.steps, "method": self.method}
        if self.target == "teacher":
            label = comparable(sample.teacher.distribution, sample.student)
            return losses.robust_label_kl(
                label, sample.respond, normalised, self.epsilon, sample.generator, **search
            )
        return losses.robust_kl(
            sample.respond, normalised, self.epsilon, sample.generator, **search
        )


class Smoothness(Term):
    """Smooth actions in time and space (CAPS): ``temporal + spatial * weight``."""

    taught = False
    needs = frozenset({"respond"})

    def __init__(self, spatial: float = 0.5, deviation: float = 0.05) -> None:
        check("deviation", deviation, POSITIVE)
        if spatial == 0.0:
            refuse_unused("deviation", deviation, 0.05, "spatial is 0")
        self.spatial, self.deviation = spatial, deviation

    def loss(self, sample: Sample) -> Tensor:
        action = sample.student.mode()
        if not action.is_floating_point():
            raise TermError("smoothness needs continuous actions; leave this term out")
        total = losses.temporal_smoothness(action, sample.reset)
        if self.spatial:
            respond = sample.respond
            assert respond is not None
            total = total + self.spatial * losses.spatial_smoothness(
                lambda observation: respond(observation).mode(),
                required(sample.normalised, "smoothness", "normalised observations"),
                self.deviation,
                sample.generator,
            )
        return total
