"""Terms that compare the student's distribution with the teacher's."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ...hardware.checks import POSITIVE, Range, at_least, check
from .. import losses
from ..distributions import Categorical, Distribution, Gaussian, TanhGaussian
from ..losses.policy import Direction
from ..ppo import surrogate
from .base import Sample, Term, TermError, one_of, refuse_unused

CLIP = Range(0.0, 1.0, open_low=True)  # as PPO's
_SAMPLES = 4
_EXACT = "teacher and student are of one family, whose cross-entropy is known exactly"


def comparable(teacher: Distribution, student: Distribution) -> Distribution:
    """The teacher in the student's family: a squashed Gaussian by the moments of its actions."""
    if isinstance(teacher, TanhGaussian) and not isinstance(student, TanhGaussian):
        return teacher.after_squashing()
    return teacher


def _checked_limit(limit: float | None) -> float | None:
    if limit is not None:
        check("limit", limit, POSITIVE)
    return limit


class PolicyKL(Term):
    """KL between teacher and student, in closed form (``losses.policy_kl``).

    A tanh-squashed teacher of a Gaussian student is taken by the moments after squashing. With a
    ``limit`` of the actions, what lies beyond it is not told apart (``losses.within_limit``).
    """

    def __init__(
        self,
        direction: Direction = "forward",
        temperature: float = 1.0,
        limit: float | None = None,
    ) -> None:
        one_of("policy_kl", "direction", direction, ("forward", "reverse"))
        self.direction: Direction = direction
        check("temperature", temperature, POSITIVE)
        self.temperature = temperature
        self.limit = _checked_limit(limit)

    def loss(self, sample: Sample) -> Tensor:
        teacher = comparable(sample.teacher.distribution, sample.student)
        if self.limit is not None:
            if not (isinstance(teacher, Gaussian) and isinstance(sample.student, Gaussian)):
                raise TermError("limit is one of Gaussian policies' actions; leave it out")
            mean = losses.within_limit(teacher.mean, sample.student.mean, self.limit)
            teacher = Gaussian(mean, teacher.std)
        return losses.policy_kl(teacher, sample.student, self.direction, self.temperature)


class CrossEntropy(Term):
    """``-E_T log pi_S`` from samples of the teacher: for families without a closed form.

    Exact between policies of discrete actions.
    """

    def __init__(self, direction: Direction = "forward", samples: int = _SAMPLES) -> None:
        one_of("cross_entropy", "direction", direction, ("forward", "reverse"))
        self.direction: Direction = direction
        check("samples", samples, at_least(1))
        self.samples = samples

    def loss(self, sample: Sample) -> Tensor:
        pair = (sample.teacher.distribution, sample.student)
        of, under = pair if self.direction == "forward" else pair[::-1]
        if isinstance(of, Categorical) and isinstance(under, Categorical):
            refuse_unused("samples", self.samples, _SAMPLES, "actions are discrete")
            return of.cross_entropy(under)
        return losses.sampled_cross_entropy(of, under, sample.generator, self.samples)


class MeanRegression(Term):
    """Squared or Huber difference of the two modes (``losses.mean_regression``).

    With a ``limit`` of the actions, what lies beyond it is not told apart.
    """

    def __init__(
        self,
        loss: Literal["mse", "huber"] = "mse",
        delta: float = 1.0,
        limit: float | None = None,
    ) -> None:
        one_of("mean_regression", "loss", loss, ("mse", "huber"))
        self.kind: Literal["mse", "huber"] = loss
        check("delta", delta, POSITIVE)
        if loss != "huber":
            refuse_unused("delta", delta, 1.0, f"loss is {loss!r}")
        self.delta = delta
        self.limit = _checked_limit(limit)

    def loss(self, sample: Sample) -> Tensor:
        teacher, student = sample.teacher.distribution.mode(), sample.student.mode()
        if not student.is_floating_point():
            raise TermError("mean_regression needs continuous actions; use policy_kl")
        if self.limit is not None:
            teacher = losses.within_limit(teacher, student, self.limit)
        return losses.mean_regression(teacher, student, self.kind, self.delta)


class Proximal(Term):
    """``max(rho, 1 - eps) KL(pi_T || pi_S)`` (Spigler 2025), where the student acted.

    The ratio is of the student's own acts; where another acted there is none. ``policy_kl`` is for
    those, and for data sets. In the direction ``reverse`` it is KL(pi_S || pi_T), clipped alike.
    """

    own = True
    needs = frozenset({"ratio"})

    def __init__(self, clip: float = 0.2, direction: Direction = "forward") -> None:
        check("clip", clip, CLIP)
        self.clip = clip
        one_of("proximal", "direction", direction, ("forward", "reverse"))
        self.direction: Direction = direction

    def loss(self, sample: Sample) -> Tensor:
        teacher = comparable(sample.teacher.distribution, sample.student)
        kl = losses.policy_kl(teacher, sample.student, self.direction)
        return losses.proximal(kl, sample.ratio, self.clip) * sample.own


class Corrected(Term):
    """Entropy-corrected distillation (Czarnecki et al. 2019): l(s), and -l(s') as a reward.

    It follows the policy gradient of that reward itself, in units of l: only together are the two
    the gradient of E sum l over the student's own course, so that neither may be scaled alone. The
    gradient is PPO's, clipped in later passes over a batch, with a critic of its own.
    """

    corrected = True
    own = True
    needs = frozenset({"ratio"})

    def __init__(
        self, direction: Direction = "forward", samples: int = _SAMPLES, clip: float = 0.2
    ) -> None:
        one_of("corrected", "direction", direction, ("forward", "reverse"))
        self.direction: Direction = direction
        check("samples", samples, at_least(1))
        self.samples = samples
        check("clip", clip, CLIP)
        self.clip = clip

    def loss(self, sample: Sample) -> Tensor:
        teacher = comparable(sample.teacher.distribution, sample.student)
        if type(teacher) is type(sample.student):
            refuse_unused("samples", self.samples, _SAMPLES, _EXACT)
        loss = losses.corrected_loss(
            teacher,
            sample.student,
            self.direction,
            sample.generator,
            self.samples,
        )
        return loss * sample.own

    def untaught(self, sample: Sample) -> Tensor:
        off = (sample.value() - sample.lambda_return).square()
        return (off - surrogate(sample.ratio, sample.advantage, self.clip)) * sample.own


class Entropy(Term):
    """``-H(pi_S)``: keeps the student exploring."""

    taught = False

    def loss(self, sample: Sample) -> Tensor:
        return losses.negative_entropy(sample.student)
