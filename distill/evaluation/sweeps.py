"""What policies keep of their return under noise and under attack, on the same episodes.

Changes are made to the observation that a policy acts on, in closed loop: the next observation is
that of where the changed action led, and what a recurrent student remembers is of changed ones.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...controller import program
from ...controller.contract import Contract
from ...sim.env import RobotEnv
from ...sim.interface import LearningEnv
from ..sources.rollout import Actor
from ..students import Interface
from .episodes import Outcome, Reuse, actor_of, anew, mean_interval, ratio_interval, run_episodes
from .statistics import Interval
from .target import (
    AttackName,
    SweepError,
    Target,
    attacked,
    check_attack,
    possible_attacks,
    watch,
)

NOISE_LEVELS = (0.0, 0.1, 0.2, 0.3)
Progress = Callable[[int, int], None]  # trials done and in all
_Change = tuple[str, float, Callable[[], Actor]]  # its name, its strength, the changed policy
_Plan = dict[str, tuple[Actor, list[_Change]]]  # the policy as it is, and what is done to it


@dataclasses.dataclass(frozen=True)
class Trial:
    """One policy under one change of its observations."""

    policy: str
    change: str  # "none", "noise", or the attack
    strength: float  # noise in standard deviations, epsilon in normalised l-infinity
    returns: Interval  # mean over the episodes
    score: Interval  # mean reward per tick of the full time
    kept: Interval | None  # of its own clean return; None where that is not surely above zero
    falls: int
    episodes: int


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Every policy at every strength, the unchanged one first."""

    kind: Literal["noise", "attack"]
    seed: int
    trials: tuple[Trial, ...]

    @property
    def policies(self) -> tuple[str, ...]:
        """Their names, in the order given."""
        return tuple(dict.fromkeys(trial.policy for trial in self.trials))

    def clean(self, policy: str) -> Trial:
        """A policy with nothing changed."""
        return next(t for t in self.trials if t.policy == policy and t.change == "none")

    def worst(self, policy: str, strength: float | None = None) -> Trial:
        """The trial that cost a policy most, at one strength or at any.

        Raises:
            SweepError: there is none at that strength.
        """
        among = [
            t
            for t in self.trials
            if t.policy == policy and (strength is None or t.strength == strength)
        ]
        if not among:
            known = sorted({t.strength for t in self.trials if t.policy == policy})
            raise SweepError(f"{policy} was not tried at {strength}; there are {known}")
        return min(among, key=lambda trial: trial.returns.value)

    def at_worst(self, policy: str) -> list[Trial]:
        """The worst trial at each strength, weakest first; strength 0 is the clean one."""
        strengths = sorted({t.strength for t in self.trials if t.policy == policy})
        return [self.worst(policy, strength) for strength in strengths]

    def to_json(self) -> dict[str, Any]:
        """JSON data, with the worst change of each policy at each strength named."""
        worst = {
            policy: [
                {"strength": t.strength, "change": t.change, "returns": t.returns.value}
                for t in self.at_worst(policy)
            ]
            for policy in self.policies
        }
        return {**dataclasses.asdict(self), "worst": worst}


def observation_deviation(
    env: LearningEnv, actor: Actor, seed: int, *, ticks: int = 200, state_size: int = 0
) -> dict[str, np.ndarray]:
    """Standard deviation of each observation while ``actor`` acts: group to (size,).

    Args:
        env: with autoreset.
        actor: of the episodes; one for all policies of a sweep, so that their noise is the same.
        seed: of the episodes.
        ticks: to look at, of every environment.
        state_size: of the actor's hidden state.
    """
    batch = watch(env, actor, seed, ticks, state_size)
    return {
        group: rows.flatten(0, 1).double().std(0, correction=0).numpy()
        for group, rows in batch.observations.items()
    }


def noisy(
    actor: Actor,
    deviation: Mapping[str, np.ndarray],
    noise: float,
    seed: int,
    contract: Contract | None = None,
) -> Actor:
    """``actor`` seeing ``o + noise * deviation * n``, n ~ N(0, 1), fresh at every tick.

    With a robot's ``contract`` only the newest frame of what its student sees is given fresh noise,
    in its own deviations, and keeps it while it moves through the window. Actors made with one seed
    get the same noise on the groups that both see.
    """
    generators = {
        group: torch.Generator().manual_seed(seed + number)
        for number, group in enumerate(sorted(deviation))
    }
    scales = {
        group: torch.as_tensor(values, dtype=torch.float32) for group, values in deviation.items()
    }

    window = None
    if contract is not None and "student" in scales:
        scales["student"] = scales["student"][list(Interface.of(contract).newest)]
        window = _Window(contract)

    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> Any:
        seen = dict(groups)
        for group, scale in scales.items():
            draw = torch.randn(len(reset), len(scale), generator=generators[group])
            off = noise * scale * draw
            if window is not None and group == "student":
                off = window(off, reset)
            seen[group] = groups[group] + off
        return actor(seen, state, reset)

    return act


class _Window:
    """What is added to a robot's observations, frame by frame as its own history goes."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.frames: Tensor | None = None  # (N, history, frame), oldest first

    def __call__(self, newest: Tensor, reset: Tensor) -> Tensor:
        """What is added to observations (N, size) with ``newest`` (N, frame) on the newest frame.

        An episode's first frame fills its history, here as in ``program.observe``.
        """
        first = newest[:, None].expand(-1, self.contract.history, -1)
        if self.frames is None:
            self.frames = first
        else:
            moved = torch.cat([self.frames[:, 1:], newest[:, None]], dim=1)
            self.frames = torch.where(reset[:, None, None], first, moved)
        return program.flatten(self.contract, self.frames)


def noise_sweep(
    env: LearningEnv,
    actors: Mapping[str, Actor],
    deviation: Mapping[str, np.ndarray],
    seed: int,
    *,
    levels: Sequence[float] = NOISE_LEVELS,
    progress: Progress | None = None,
    reuse: Reuse = anew,
) -> Sweep:
    """Every policy under observation noise, on the same episodes with the same noise.

    Of a robot only what is measured is noisy (``RobotEnv.measured``), and its student's readings
    are so once each, however long they stay in the window. Elsewhere all of an observation is, anew
    at every tick; give a deviation of 0 to what needs none.

    Args:
        env: made with ``autoreset=False``; one episode in every environment.
        actors: any policies by name; act as they are deployed.
        deviation: group to (size,), the unit of noise; see ``observation_deviation``.
        seed: of episodes and noise, never one of training.
        levels: of noise, in deviations; the clean episodes are always among them.
        progress: called after each trial.
        reuse: which trials were measured before.

    Raises:
        SweepError: a negative level.
    """
    strengths, contract = _strengths(levels), None
    if isinstance(env, RobotEnv):
        contract, measured = env.contract, env.measured
        deviation = {group: unit * measured[group] for group, unit in deviation.items()}
    plan: _Plan = {
        name: (
            actor,
            [
                ("noise", level, functools.partial(noisy, actor, deviation, level, seed, contract))
                for level in strengths
            ],
        )
        for name, actor in actors.items()
    }
    return Sweep("noise", seed, _trials(env, plan, seed, progress, reuse))


def attack_sweep(
    env: LearningEnv,
    targets: Mapping[str, Target],
    epsilons: Sequence[float],
    seed: int,
    *,
    attacks: Sequence[AttackName] | None = None,
    steps: int = 10,
    progress: Progress | None = None,
    reuse: Reuse = anew,
) -> Sweep:
    """Every policy under every attack at every strength, on the same episodes.

    Args:
        env: made with ``autoreset=False``; one episode in every environment.
        targets: by name; see ``learn_target``.
        epsilons: half widths of the box, in normalised units.
        seed: of episodes and attacks, never one of training.
        attacks: those to try; all that a policy can be put to when None.
        steps: of each attack's ascent.
        progress: called after each trial.
        reuse: which trials were measured before.

    Raises:
        SweepError: a negative epsilon, or an attack that a policy cannot be put to.
    """
    strengths = _strengths(epsilons)
    plan: _Plan = {}
    for name, target in targets.items():
        chosen = tuple(attacks or possible_attacks(target))
        for attack in chosen:
            check_attack(target, attack)
        changes: list[_Change] = [
            (
                attack,
                epsilon,
                functools.partial(attacked, target, attack, epsilon, seed, steps=steps),
            )
            for epsilon in strengths
            for attack in chosen
        ]
        plan[name] = (actor_of(target.policy, target.group), changes)
    return Sweep("attack", seed, _trials(env, plan, seed, progress, reuse))


def _trials(
    env: LearningEnv, plan: _Plan, seed: int, progress: Progress | None, reuse: Reuse
) -> tuple[Trial, ...]:
    """Every policy with nothing changed, then with each of its changes, on the same episodes."""
    trials, rng = [], np.random.default_rng(seed)
    total = sum(1 + len(changes) for _, changes in plan.values())
    for name, (actor, changes) in plan.items():
        clean = None
        for change, strength, changed in (("none", 0.0, lambda actor=actor: actor), *changes):
            outcome = reuse(
                f"{name} under {change} of {strength!r}",
                lambda changed=changed: run_episodes(env, changed(), seed),
            )
            clean = outcome if clean is None else clean  # the first
            trials.append(_trial(name, change, strength, outcome, clean, rng))
            if progress is not None:
                progress(len(trials), total)
    return tuple(trials)


def _strengths(values: Sequence[float]) -> list[float]:
    """Strengths above zero, each once, rising: the clean episodes stand for zero."""
    if not all(np.isfinite(v) and v >= 0 for v in values):
        raise SweepError(f"strengths are {list(values)}; they must be finite and not negative")
    return sorted({float(v) for v in values if v > 0})


def _trial(
    policy: str,
    change: str,
    strength: float,
    outcome: Outcome,
    clean: Outcome,
    rng: np.random.Generator,
) -> Trial:
    return Trial(
        policy=policy,
        change=change,
        strength=strength,
        returns=mean_interval(outcome.returns, rng),
        score=mean_interval(outcome.score, rng),
        kept=ratio_interval(outcome.returns, clean.returns, rng),
        falls=int(outcome.fell.sum()),
        episodes=len(outcome.returns),
    )
