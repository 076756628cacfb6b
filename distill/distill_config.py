"""What a recipe's ``[distill]`` may say, checked before anything begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from ..hardware.checks import (
    POSITIVE,
    SHARE,
    Range,
    RangeError,
    between,
    check,
    check_fields,
    check_unused,
)
from ..sim.definition import DefinitionError
from .concurrent import ConcurrentConfig
from .modes import MODES, Mode
from .ppo import LEARNING
from .sources.adversary import AdversaryConfig
from .teachers.mixture import MixtureConfig
from .terms import Term, TermConfig, TermError, make_term


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Settings of distillation; the defaults distil the balancer.

    ``mode``, one of ``MODES`` or a Python file that defines one, says where the data comes from.
    ``teacher_share`` of the environments is the teacher's to drive where both act, in the end if
    its share falls.

    A student that learns Q-values, or logits of any scale, acts by its best choice, and by any
    choice in ``epsilon`` of all ticks; sampled from its own distribution if that is None, as terms
    that weigh what it did by its own density need it.
    """

    mode: str = "student"
    steps: int = 1_600_000  # environment steps in all, the teacher's share included
    num_envs: int = 512
    ticks: int = 24
    episode_seconds: float = 2.5  # one window of the curriculum
    event_rate: float = 2.0  # as in PPOConfig
    teacher_share: float = 0.15  # of the environments that the teacher drives
    kept_batches: int = 50  # of ``aggregate``; the oldest go first
    epsilon: float | None = None  # of discrete actions, share that is random
    dataset: str | None = None  # of ``offline``
    dataset_noise_std: float | None = None  # of whoever acted, in units of the action; None is 0.1
    recorded_steps: int = 200_000  # of the teacher, for ``offline`` without a data set
    terms: tuple[TermConfig, ...] = (
        TermConfig(name="policy_kl", weight=1.0, end=0.05, schedule="linear"),
        TermConfig(name="value"),
        TermConfig(name="rl", weight=0.0, end=1.0, schedule="linear"),
    )
    teachers: MixtureConfig = MixtureConfig()
    concurrent: ConcurrentConfig = ConcurrentConfig()
    adversary: AdversaryConfig | None = None  # lies to the student while it acts
    critic_hidden: tuple[int, ...] = (64, 64)
    std_floor: float = 0.05  # least deviation the teacher may claim
    epochs: int = 2
    minibatches: int = 4
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-4
    gamma: float = 0.985
    lam: float = 0.95
    reward_scale: Literal["horizon", "return"] = "horizon"  # as in PPOConfig
    fall_penalty: float = 3.0  # PPO's final one, so that values mean the same
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        try:
            mode = MODES[self.mode]
        except KeyError as error:
            raise RangeError(
                f"mode is {self.mode!r}; use one of {', '.join(MODES)}, or name a .py file"
            ) from error
        except DefinitionError as error:
            raise ValueError(f"distill.mode: {error}") from error
        check_fields(
            self,
            **LEARNING,
            teacher_share=SHARE,
            epsilon=SHARE,
            dataset_noise_std=POSITIVE,
            kept_batches=between(1, 10**6),
            recorded_steps=between(1, 10**9),
            std_floor=POSITIVE,
        )
        self._check_data(mode)
        if mode.teacher_learns:  # both must act to learn
            inside = Range(0.0, 1.0, open_low=True, open_high=True)
            check("teacher_share", self.teacher_share, inside)
            if not self.both_act:
                raise RangeError(
                    f"teacher_share is {self.teacher_share} of {self.num_envs} environments, which "
                    f"leaves {'the student' if self._driven else 'the teacher'} none, and in mode "
                    f"{self.mode!r} both learn from what they do; use a share between "
                    f"{1 / self.num_envs:.2g} and {1 - 1 / self.num_envs:.2g}, or more num_envs"
                )
        if mode.keeps:  # the first pass is over the new batch
            check("epochs", self.epochs, between(2, 1000))
        if self.teachers.gated and not self.student_acts:
            raise ValueError(
                "distill.teachers.gated compares with the value of the student's own acts, and in "
                f"mode {self.mode!r} it does not act; set it to false, or use mode 'student' with "
                "a teacher_share below 1"
            )
        check("minibatches", self.minibatches, between(1, self.num_envs))  # of environments
        if self.teachers.others and mode.teacher_learns:
            raise ValueError(
                "distill.teachers.others teach beside a teacher that is finished, and in mode "
                f"{self.mode!r} the run's own goes on learning; leave them out, or set "
                "distill.mode to 'student'"
            )
        if self.concurrent.shared_critic_layers and self.reward_scale != "horizon":
            raise ValueError(
                "distill.concurrent.shared_critic_layers needs critics of one unit; set "
                "distill.reward_scale to 'horizon'"
            )
        if not mode.teacher_learns:
            names = [field.name for field in dataclasses.fields(ConcurrentConfig)]
            why = f"mode is {self.mode!r}"
            check_unused(self.concurrent, names, why, where="concurrent.")
        if self.adversary is not None and not self.student_acts:
            raise ValueError(
                "distill.adversary lies to the student while it acts, and in mode "
                f"{self.mode!r} it does not act; leave it out, or use mode 'student' with a "
                "teacher_share below 1"
            )
        if not self.terms:
            raise ValueError("distill.terms is empty; name at least one, as 'policy_kl'")
        made = []
        for i, term in enumerate(self.terms):
            try:
                made.append(self._checked_term(term))
            except (TermError, ValueError) as error:
                raise ValueError(f"distill.terms[{i}]: {error}") from error
        if all(term.own for term in made) and not self.student_acts:
            raise ValueError(
                f"distill.terms ({', '.join(term.label for term in self.terms)}) learn from what "
                f"the student itself does, and in mode '{self.mode}' it does not act; add one "
                "that does not, such as 'policy_kl', or use mode 'student' with a teacher_share "
                "below 1"
            )
        if not any(
            term.weight or (term.schedule != "constant" and term.end) for term in self.terms
        ):
            raise ValueError(
                "distill.terms all weigh 0 from first to last, so that nothing would be learnt; "
                "give one a weight"
            )
        self._check_critic(made)

    def _check_data(self, mode: Mode) -> None:
        """What is learnt from again, or was recorded, is said where there is such a thing."""
        if self.dataset is not None and mode.acts:
            raise ValueError(
                f"distill.dataset belongs to mode 'offline', and mode is {self.mode!r}; leave it "
                "out, or set distill.mode to 'offline'"
            )
        if self.dataset == "":
            raise ValueError("distill.dataset is empty; name a Minari data set or a folder")
        if self.dataset_noise_std is not None and self.dataset is None:
            raise ValueError(
                f"distill.dataset_noise_std is {self.dataset_noise_std} and no distill.dataset is "
                "named whose actions it could be of; leave it out"
            )
        why = f"mode is {self.mode!r}"
        if not mode.keeps:
            check_unused(self, ["kept_batches"], why)
        if mode.acts:
            check_unused(self, ["recorded_steps"], why)

    def _check_critic(self, terms: Sequence[Term]) -> None:
        """Whatever asks the student's critic has one that learns."""
        if any(term.teaches_critic for term in terms):
            return
        asks = [
            f"distill.terms[{i}] ({settings.label})"
            for i, (settings, term) in enumerate(zip(self.terms, terms, strict=True))
            if "advantage" in term.needs
        ]
        if self.teachers.gated:
            asks.append("distill.teachers.gated")
        if asks:
            raise ValueError(
                f"{asks[0]} asks the student's critic what it expects, and no term teaches it; add "
                "the term 'value' or 'joint'"
            )

    def _checked_term(self, settings: TermConfig) -> Term:
        """The term, checked as far as a recipe shows; ``rehearsal`` tries it on robot and teachers.

        Raises:
            TermError: there is no such term or option.
            ValueError: the term would do nothing, or not what it says.
        """
        term = make_term(settings)
        if self.epsilon is not None and "ratio" in term.needs:
            raise ValueError(
                f"{settings.label} weighs what the student did by the density that it gave it, and "
                "with distill.epsilon it acts by its best choice and at random instead; leave one "
                "of the two out"
            )
        if settings.schedule == "progress" and not self.both_act:
            raise ValueError(
                f"{settings.label} follows the student's progress, which is measured beside "
                "episodes of the teacher's; use schedule = 'linear', or let both act by giving the "
                f"teacher a share: teacher_share is {self.teacher_share} of {self.num_envs} "
                f"environments in mode '{self.mode}'"
            )
        until = settings.options.get("until", 0.0)
        if term.teaches_critic and self.teachers.gated and until:
            raise ValueError(
                f"{settings.label} has until = {until}, and with distill.teachers.gated the "
                "student's critic is never told what teachers expect, since it is compared with "
                "that; leave it out"
            )
        if "critics" in term.needs and not MODES[self.mode].acts:
            raise ValueError(
                f"{settings.label} climbs a teacher's critics, which are functions and cannot be "
                f"recorded, and mode {self.mode!r} learns from recordings; leave it out, or use a "
                "mode in which somebody acts"
            )
        if term.corrected and not self.student_acts:
            raise ValueError(
                f"{settings.label} is half a reward of the student's own acts, and in mode "
                f"{self.mode!r} it does not act; use 'cross_entropy', or mode 'student' with a "
                "teacher_share below 1"
            )
        return term

    def share(self, fraction: float) -> float:
        """Share of the environments that the teacher drives after ``fraction`` of the budget."""
        return MODES[self.mode].share(self.teacher_share, min(max(fraction, 0.0), 1.0))

    @property
    def student_acts(self) -> bool:
        """It does in the end, in some environment."""
        return MODES[self.mode].acts and self._driven < self.num_envs

    @property
    def both_act(self) -> bool:
        """Student and teacher each drive an environment at least, until the end."""
        return self.student_acts and self._driven > 0

    @property
    def _driven(self) -> int:
        """Environments that are the teacher's in the end."""
        return round(self.share(1.0) * self.num_envs)
