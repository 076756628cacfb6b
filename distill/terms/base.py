"""What a term of the objective is, and what it may look at. The terms stand beside this."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...hardware.checks import NOT_NEGATIVE, POSITIVE, RangeError, check_fields, check_unused
from ...hardware.errors import RetortError
from ...sim.definition import is_file
from ..distributions import Distribution
from ..losses.policy import Direction
from ..schedules import Kind, Schedule
from ..teachers import TeacherOutput

# The density of a choice that is ruled out counts as the least float; a mean of such overflows.
_INFINITE = 1e30


class TermError(RetortError):
    """There is no such term, it does not take such an option, or it lacks what it needs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TermConfig:
    """One term in a recipe: its name, its weight over time, and its own options.

    The name is one of ``TERMS``, or the path of a Python file that defines ``TERM``.

    The weight goes from ``weight`` to ``end`` as ``schedule`` says (``schedules.Schedule``);
    ``progress`` lets a term hand over to another as the student catches up with its teacher.
    """

    name: str
    weight: float = 1.0
    end: float = 0.0
    schedule: Kind = "constant"
    begin: float = 0.0
    until: float = 1.0
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        ranges = dict.fromkeys(("weight", "end", "begin"), NOT_NEGATIVE)
        check_fields(self, **ranges, until=POSITIVE)
        if self.begin >= self.until:
            raise RangeError(f"begin is {self.begin}; use less than until, which is {self.until}")
        unused = {"constant": ("end", "begin", "until"), "progress": ("begin", "until")}
        check_unused(self, unused.get(self.schedule, ()), f"schedule is {self.schedule!r}")

    @property
    def label(self) -> str:
        """Its name where it is shown: of a file without folder and ending."""
        return Path(self.name).stem if is_file(self.name) else self.name

    def at(self, fraction: float, relative_score: float) -> float:
        """The weight after ``fraction`` of the budget, the student being at ``relative_score``."""
        schedule = Schedule(
            kind=self.schedule,
            start=self.weight,
            end=self.end,
            begin=self.begin,
            until=self.until,
        )
        return schedule.at(fraction, relative_score)


@dataclasses.dataclass
class Sample:
    """What a term may look at. Leading shape (T, n): ticks and the environments of a minibatch.

    With several teachers a term is asked once for each, with that one as ``teacher``.
    """

    observations: dict[str, Tensor]  # group: (T, n, size), not normalised
    reset: Tensor  # (T, n) bool: the tick is the first of an episode
    student: Distribution
    teacher: TeacherOutput  # labels
    action: Tensor  # (T, n, actions), or (T, n) if discrete: what was taken
    value: Callable[[], Tensor]  # (T, n) what the student's critic says, worked out when asked for
    ratio: Tensor  # (T, n) density of ``action`` now over that when it was taken; 1 if not its own
    advantage: Tensor  # (T, n) standardised, but for corrected terms
    lambda_return: Tensor  # (T, n) of the student's own reward
    own: Tensor  # (T, n) 1.0 where the student's own policy acted, else 0.0
    fraction: float  # of the budget that is spent
    # (T, n) V_T by the teachers' weights; None without V_T, and where a gate compares V_S with it.
    expected: Tensor | None = None
    teacher_index: int = 0  # of ``teacher`` among those that are heard
    generator: torch.Generator | None = None
    features: dict[str, Tensor] = dataclasses.field(default_factory=dict)  # student's layers
    normalised: Tensor | None = None  # (T, n, size) as the student's network meets it
    scale: Tensor | None = None  # (size,) what one unit of it is in the observation
    # Normalised observations (T, n, size) to the student's answer, hidden states held fixed.
    respond: Callable[[Tensor], Distribution] | None = None
    # Observation groups, (T, n, size) each, to the teacher's answer, hidden states held fixed.
    ask: Callable[[dict[str, Tensor]], Distribution] | None = None


class Term:
    """A loss of one name. Subclasses take their options as keyword arguments.

    Attributes:
        taught: it compares with a teacher, so that several teachers' losses are weighted.
        own: it learns from what the student itself did and from nothing else.
        needs: what must be in the sample: "features", "teacher_features", "respond"; "ratio", which
            is always there, where the student samples from its own distribution; "critics" of the
            teacher, which no recording holds; "advantage", which a term must teach the student's
            critic to tell.
        teaches_critic: it moves ``value``, the student's critic, towards what the student earns.
        corrected: ``-loss`` of the next state is a pseudo-reward. ``untaught`` is then given its
            advantage, in units of the loss and not standardised, its lambda-return and its value.
        direction: "reverse" where it asks the teacher of what the student may do.
        prepared: false until ``prepare`` has run, for terms that must see a sample first.
    """

    taught: bool = True
    own: bool = False
    needs: frozenset[str] = frozenset()
    teaches_critic: bool = False
    corrected: bool = False
    direction: Direction = "forward"
    prepared: bool = True

    def loss(self, sample: Sample) -> Tensor:
        """Per-sample loss, (T, n)."""
        raise NotImplementedError

    def untaught(self, sample: Sample) -> Tensor | None:
        """What is learnt beside ``loss`` whatever teachers weigh, (T, n); None for nothing."""
        return None

    def prepare(self, samples: Sequence[Sample]) -> None:
        """See a sample with each teacher before training, to size what the term itself learns.

        Raises:
            TermError: the sample lacks what the term needs.
        """

    def parameters(self) -> list[nn.Parameter]:
        """What the term itself learns, such as a projection."""
        return []

    def state_dict(self) -> dict[str, Tensor]:
        """What the term has learnt."""
        return {f"parameter{i}": p.detach().clone() for i, p in enumerate(self.parameters())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of ``state_dict``."""
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters()):
                parameter.copy_(state[f"parameter{i}"])


def required(value: Tensor | None, name: str, what: str) -> Tensor:
    """``value``, or an error that the term cannot do without it.

    Raises:
        TermError: it is None.
    """
    if value is None:
        raise TermError(f"the term {name!r} needs {what}, which are not given here")
    return value


def refuse_unused(option: str, value: object, default: object, why: str) -> None:
    """An option that would do nothing must be what it is where nothing is said.

    Args:
        option: its name.
        value: that it has.
        default: that it has where nothing is said.
        why: it would do nothing, as "loss is 'mse'".

    Raises:
        TermError: it is something else.
    """
    if value != default:
        raise TermError(
            f"{option} is {value!r} and does nothing where {why}; leave it out, or change that"
        )


def require_finite(term: Term, loss: Tensor) -> None:
    """A term's loss, (T, n), must be defined before anything is learnt.

    Raises:
        TermError: it is not; the message says what to do.
    """
    loss = loss.detach()
    wrong = loss[~(loss.abs() < _INFINITE)]
    if not len(wrong):
        return
    why = "look at what teachers, data and environment give, or leave this term out"
    if term.direction == "reverse":
        why = (
            "a teacher that rules choices out, as one of whom nothing but what was done is known, "
            "has nothing to say of a student that may choose them; use direction = 'forward'"
        )
    raise TermError(f"its loss is {float(wrong[0]):.3g} before anything is learnt; {why}")


def require_gradient(loss: Tensor) -> None:
    """A term's loss must depend on something that learns.

    Raises:
        TermError: it does not.
    """
    if not loss.requires_grad:
        raise TermError(
            "its loss has no gradient, so that nothing would be learnt from it; work it out from "
            "what the student says, without detach() or no_grad()"
        )


def layer(features: dict[str, Tensor], name: str | None, whose: str) -> Tensor:
    """One inner layer by name; the last when None.

    Raises:
        TermError: there is none of that name; the message lists those there are.
    """
    if not features:
        raise TermError(f"the {whose} shows no inner layers; this term cannot compare any")
    if name is None:
        return features[list(features)[-1]]
    if name not in features:
        raise TermError(f"the {whose} has no layer {name!r}; it has {', '.join(features)}")
    return features[name]


def one_of(term: str, option: str, value: str, allowed: tuple[str, ...]) -> None:
    """An option's value must be one that the term knows.

    Raises:
        TermError: it is not; the message lists those that are.
    """
    if value not in allowed:
        choices = " or ".join(repr(choice) for choice in allowed)
        raise TermError(f"{term} {option} is {value!r}; use {choices}")
