"""Teacher and student learning at the same time, on environments they share out among themselves.

The teacher is a PPO learner of its own; the student is distilled from it as it stands and from its
own reward. Two networks; or one head on two encoders, where both push the same last layers.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from .batch import STUDENT, TEACHER
from .curriculum import Curriculum
from .distiller import Distiller
from .networks import Actor, GaussianActor
from .ppo import PPO
from .rollout import RolloutSource
from .students import MlpStudent


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConcurrentConfig:
    """How teacher and student share the work.

    ``shared_head``: teacher and student are two encoders before the same last layers (concurrent
    teacher and student, Wang et al. 2024); else two networks. ``pull`` weighs KL(pi_T || pi_S) in
    the teacher's own loss, which keeps it near what the student can do (guided policy
    optimisation, 2025). A student update that moves KL(pi_T || pi_S) above ``kl_guard`` times its
    running mean counts as a divergence and is taken back.
    """

    teacher_share: float = 0.75  # of the environments
    shared_head: bool = False
    pull: float = 0.0
    kl_guard: float = 10.0


def share_head(actor: Actor, student: MlpStudent, layers: int) -> None:
    """Let ``actor`` end in the student's own last ``layers`` layers; both then train them.

    Args:
        actor: the teacher's; what goes into the shared layers must be as wide as the student's.
        student: keeps its layers.
        layers: how many are shared, the output among them.

    Raises:
        ValueError: widths or activations differ, or no layer would be left for an encoder.
    """
    network = actor.network
    places = [i for i, module in enumerate(network) if isinstance(module, nn.Linear)]
    if not 1 <= layers < min(len(places), len(student.layers)):
        raise ValueError(
            f"{layers} shared layers, but the teacher has {len(places)} and the student "
            f"{len(student.layers)}; share at least one and leave each an encoder"
        )
    if actor.activation != student.config.activation:
        raise ValueError(
            f"the teacher's activation is {actor.activation} and the student's "
            f"{student.config.activation}; make them equal"
        )
    theirs, ours = network[places[-layers]], student.layers[-layers]
    if theirs.weight.shape != ours.weight.shape:
        raise ValueError(
            f"the teacher's encoder ends {theirs.weight.shape[1]} wide and the student's "
            f"{ours.weight.shape[1]}; make them equal"
        )
    for place, layer in zip(places[-layers:], student.layers[-layers:], strict=True):
        network[place] = layer
    if isinstance(actor, GaussianActor) and student.log_std is not None:
        actor.log_std = student.log_std


def learn_together(
    ppo: PPO,
    distiller: Distiller,
    source: RolloutSource,
    curriculum: Curriculum,
    config: ConcurrentConfig,
    *,
    steps_done: int = 0,
    seconds: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Yield one dict of figures per iteration until the distiller's budget is spent.

    Args:
        ppo: the teacher.
        distiller: its only teacher is ``ppo``'s actor, not frozen.
        source: both act in it.
        curriculum: gates on the student relative to the teacher as they are.
    """
    settings = distiller.config
    per_iteration = settings.ticks * settings.num_envs
    guard = _Guard(config.kl_guard)
    if steps_done == 0:  # the first rollout gives the normalisers their scale
        observations = source.collect(distiller.act, ppo.act).observations
        distiller.normalise(observations)
        ppo.normalise(observations["teacher"])
        steps_done = per_iteration
    while steps_done < settings.steps:
        began = time.perf_counter()
        fraction = min(1.0, steps_done / settings.steps)
        ppo.fraction = fraction
        source.share_with_teacher(config.teacher_share)
        batch = source.collect(distiller.act, ppo.act)
        episodes = batch.episodes
        by_teacher = (batch.driver == TEACHER)[episodes.env].numpy()
        score = episodes.score.numpy()
        curriculum.record(episodes.running.numpy(), score, by_teacher)
        taught = batch.columns(batch.driver == TEACHER)
        pull = None
        if config.pull:
            with torch.no_grad():
                pull, _ = distiller.student(
                    taught.observations["student"], taught.initial_state, taught.reset
                )
        figures = ppo.update(taught, pull, config.pull)
        recorded = distiller.record(batch, fraction)
        with guard.watch(distiller, recorded.teachers[0].distribution, batch):
            losses = distiller.update(recorded, fraction, curriculum.relative_score())
        curriculum.advance(fraction)
        elapsed = time.perf_counter() - began
        steps_done += per_iteration
        seconds += elapsed
        yield {
            "steps": steps_done,
            "seconds": seconds,
            "steps_per_second": per_iteration / elapsed,
            "score_student": _mean(score[~by_teacher]),
            "score_teacher": _mean(score[by_teacher]),
            "reward_student": float(batch.reward[:, batch.driver == STUDENT].mean()),
            "reward_teacher": float(batch.reward[:, batch.driver == TEACHER].mean()),
            "levels": curriculum.frontier,
            "terms": losses,
            "teacher": figures,
            "kl": guard.last,
            "divergences": guard.divergences,
            "teacher_queries": distiller.queries,
        }


class _Guard:
    """Takes a student's update back when it moved the student far from its teacher."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.mean = math.nan
        self.last = math.nan
        self.divergences = 0

    def watch(self, distiller: Distiller, teacher: Any, batch: Any) -> _Watch:
        return _Watch(self, distiller, teacher, batch)


class _Watch:
    def __init__(self, guard: _Guard, distiller: Distiller, teacher: Any, batch: Any) -> None:
        self.guard, self.distiller = guard, distiller
        self.teacher, self.batch = teacher, batch

    def __enter__(self) -> None:
        self.before = {k: v.clone() for k, v in self.distiller.student.state_dict().items()}

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            return
        guard, kl = self.guard, self._kl()
        usual = kl if math.isnan(guard.mean) else guard.mean
        if not math.isfinite(kl) or kl > guard.limit * max(usual, 1e-3):
            guard.divergences += 1
            self.distiller.student.load_state_dict(self.before)
            kl = self._kl()
        guard.last = kl
        guard.mean = kl if math.isnan(guard.mean) else 0.9 * guard.mean + 0.1 * kl

    @torch.no_grad()
    def _kl(self) -> float:
        batch = self.batch
        student, _ = self.distiller.student(
            batch.observations["student"], batch.initial_state, batch.reset
        )
        return float(self.teacher.kl(student).mean())


def _mean(values: Any) -> float | None:
    return float(values.mean()) if len(values) else None
