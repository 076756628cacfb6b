"""Teacher and student learning at the same time, on environments they share out among themselves.

The teacher is a PPO learner of its own; the student is distilled from it as it stands and from its
own reward. Two networks; or one head on two encoders, where the last layers are the teacher's and
the student learns an encoder for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from ..hardware.checks import NOT_NEGATIVE, above, between, check_fields
from .batch import TEACHER, Batch
from .distributions import Distribution
from .diverged import DivergedError
from .networks import Actor, Critic, GaussianActor
from .ppo import PPO, Pull
from .students import MlpStudent, Student
from .teachers import ActorTeacher, ValuesOf


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConcurrentConfig:
    """How teacher and student share the work.

    With ``shared_layers`` teacher and student are two encoders before the same last layers, and
    with ``shared_critic_layers`` so are their critics, after concurrent teacher and student (Wang
    et al. 2024); with 0 they are two networks. Unlike there the student's own reward does not move
    what is shared: whatever the student learns moves its encoder alone, and shared layers are
    learnt by the teacher from what it does itself, or what the student cannot do would be unlearnt
    by the teacher too. ``pull`` weighs KL(pi_T || pi_S) in the teacher's own loss, which keeps it
    near what the student can do (guided policy optimisation, 2025); for the same reason it moves
    the teacher's encoder alone. A student update that moves KL(pi_T || pi_S) above ``kl_guard``
    times its running mean counts as a divergence and is taken back.
    """

    shared_layers: int = 0
    shared_critic_layers: int = 0
    pull: float = 0.0
    kl_guard: float = 10.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            shared_layers=between(0, 100),
            shared_critic_layers=between(0, 100),
            pull=NOT_NEGATIVE,
            kl_guard=above(1.0),
        )


class LearningTeacher:
    """A teacher that goes on learning: a PPO learner, and the guard over its student.

    Args:
        ppo: the learner; from now on a fall costs it its final penalty, and its optimiser is made
            anew where layers are shared.
        config: settings.
        student: whose last layers are shared, if any are.
        critic: the student's, whose last layers are shared, if any are.
        std_floor: least deviation the teacher may claim.

    Raises:
        ValueError: the layers do not fit, or the critics have no unit in common.
    """

    def __init__(
        self,
        ppo: PPO,
        config: ConcurrentConfig,
        student: MlpStudent | None = None,
        critic: Critic | None = None,
        *,
        std_floor: float = 0.05,
    ) -> None:
        self.ppo, self.config = ppo, config
        final = ppo.config.final_fall_penalty  # which its values are of
        ppo.config = dataclasses.replace(ppo.config, fall_penalty=final)
        if config.shared_layers:
            if student is None:
                raise ValueError("shared_layers needs a student of kind 'mlp'")
            share_head(ppo.actor, student, config.shared_layers)
        if config.shared_critic_layers:
            if critic is None:
                raise ValueError("shared_critic_layers needs the student's critic")
            if ppo.config.reward_scale != "horizon":
                raise ValueError(
                    "shared_critic_layers needs critics of one unit; set teacher.reward_scale to "
                    "'horizon'"
                )
            share_critic(ppo.critic, critic, config.shared_critic_layers)
        if config.shared_layers or config.shared_critic_layers:
            ppo.make_optimiser()
        self.teacher = ActorTeacher(
            ppo.actor,
            ppo.critic,
            std_floor=std_floor,
            frozen=False,
            value_unit=ppo.value_unit,
            values_of=ValuesOf(ppo.config.gamma, ppo.config.final_fall_penalty),
        )
        self.mean_kl = math.nan
        self.kl = math.nan  # KL(pi_T || pi_S) after the last update
        self.divergences = 0

    def learn(self, batch: Batch, student: Student, fraction: float) -> dict[str, float]:
        """One update on what the teacher itself did, after ``fraction`` of the budget."""
        self.ppo.fraction = fraction
        taught = batch.columns(batch.driver == TEACHER)
        pull = None
        if self.config.pull:
            shared = set(student.parameters())
            own = [each for each in self.ppo.actor.parameters() if each not in shared]
            pull = Pull(_answer(student, taught), self.config.pull, own)
        losses = self.ppo.update(taught, pull)
        self.teacher.value_unit = self.ppo.value_unit
        return losses

    @contextlib.contextmanager
    def guarding(
        self, student: Student, undo: Callable[[], None], teacher: Distribution, batch: Batch
    ) -> Iterator[None]:
        """Take back what the body does if that leaves the student far from its teacher, or not
        finite; the body has then ended early.

        Args:
            student: learns in the body.
            undo: takes that back, the optimiser's moments too, which would do it again.
            teacher: its distributions along ``batch``, (T, N).
            batch: what the student is asked about.
        """

        def distance() -> float:
            return float(teacher.kl(_answer(student, batch)).mean())

        if math.isnan(self.mean_kl):
            self.mean_kl = distance()
        try:
            yield
            kl = distance()
        except DivergedError:
            kl = math.inf
        if not kl <= self.config.kl_guard * max(self.mean_kl, 1e-3):
            self.divergences += 1
            undo()
            kl = distance()
        self.kl = kl
        self.mean_kl = 0.9 * self.mean_kl + 0.1 * kl

    def state_dict(self) -> dict[str, Any]:
        """The learner and the guard."""
        return {
            "learner": self.ppo.state_dict(),
            "mean_kl": None if math.isnan(self.mean_kl) else self.mean_kl,
            "divergences": self.divergences,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.ppo.load_state_dict(state["learner"])
        self.teacher.value_unit = self.ppo.value_unit
        self.mean_kl = math.nan if state["mean_kl"] is None else float(state["mean_kl"])
        self.divergences = int(state["divergences"])


def share_head(actor: Actor, student: MlpStudent, layers: int) -> None:
    """Let ``actor`` end in the student's own last ``layers`` layers, and share its deviations.

    They begin with what the teacher knows: with a new student's weights it would begin anew.

    Args:
        actor: the teacher's; what goes into the shared layers must be as wide as the student's.
        student: keeps its layers, which get the teacher's weights.
        layers: how many are shared, the output among them.

    Raises:
        ValueError: widths or activations differ, or no layer would be left for an encoder.
    """
    pair = (actor.activation, student.config.activation)
    _share_last(actor.network, student.layers, layers, pair, "shared layers")
    if isinstance(actor, GaussianActor) and student.log_std is not None:
        with torch.no_grad():
            student.log_std.copy_(actor.log_std)
        actor.log_std = student.log_std


def share_critic(theirs: Critic, ours: Critic, layers: int) -> None:
    """``share_head`` for the critics of teacher and student.

    Raises:
        ValueError: widths or activations differ, or no layer would be left for an encoder.
    """
    pair = (theirs.activation, ours.activation)
    _share_last(theirs.network, ours.network, layers, pair, "shared critic layers")


def _share_last(
    theirs: nn.Sequential,
    ours: Iterable[nn.Module],
    layers: int,
    activations: tuple[str, str],
    what: str,
) -> None:
    """Let ``theirs`` end in the linear layers that ``ours`` ends in, with its own weights."""
    places = [i for i, module in enumerate(theirs) if isinstance(module, nn.Linear)]
    own = [module for module in ours if isinstance(module, nn.Linear)]
    if not 1 <= layers < min(len(places), len(own)):
        raise ValueError(
            f"{layers} {what}, but the teacher has {len(places)} and the student {len(own)}; share "
            "at least one and leave each an encoder"
        )
    if activations[0] != activations[1]:
        raise ValueError(
            f"{what}: the teacher's activation is {activations[0]} and the student's "
            f"{activations[1]}; make them equal"
        )
    for place, layer in zip(places[-layers:], own[-layers:], strict=True):
        known = theirs[place]
        assert isinstance(known, nn.Linear)
        if known.weight.shape != layer.weight.shape:
            wide = [one.weight.shape[1] for one in (known, layer)]
            raise ValueError(
                f"{what}: the teacher's encoder ends {wide[0]} wide and the student's {wide[1]}; "
                "make them equal"
            )
    for place, layer in zip(places[-layers:], own[-layers:], strict=True):
        layer.load_state_dict(theirs[place].state_dict())
        theirs[place] = layer


@torch.no_grad()
def _answer(student: Student, batch: Batch) -> Distribution:
    """The student's distributions along a batch, (T, N)."""
    return student(batch.observations["student"], batch.initial_state, batch.reset)[0]
