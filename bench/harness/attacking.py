"""A policy under every named attack, as strong as the table's claims need them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from retort.distill.bounds import Bounds
from retort.distill.evaluation import actor_of, run_episodes
from retort.distill.evaluation.attacks import push_attack
from retort.distill.evaluation.sweeps import attack_sweep
from retort.distill.evaluation.target import ATTACKS, Target, learn_target
from retort.distill.networks import Actor
from retort.distill.students import Student
from torch import Tensor

from .runs import Log
from .teaching import teacher_settings
from .training import FINAL_EPISODES, FINAL_SEED, make_env

EPSILON = {"Hopper": 0.075, "Walker2d": 0.05}  # Zhang et al. 2020, normalised l-infinity
STEPS = 10  # of an attack's ascent, as published
PUSH_STEPS = 3
_PUSHED = 64  # episodes in which directions are tried, unless there are more directions
_ENVS, _TICKS, _UPDATES = 64, 400, 4000  # what the Sarsa value is learnt from, and how long
_SEED = 4_000_003


def attacked_returns(
    task: str,
    policy: Actor | Student,
    log: Log,
    *,
    scale: float = 1.0,
    steps: int = STEPS,
    seed: int = _SEED,
) -> dict[str, float]:
    """Mean return of the held-out episodes clean (``none``), under each published attack and the
    ``worst`` of those; and under the worst ``push``, which is not among them.

    Args:
        task: on which.
        policy: an actor of ours, or a student.
        log: told of each.
        scale: part of the attacker's learning and looking that is done.
        steps: of each attack's ascent.
        seed: of the attacker.
    """
    gamma = teacher_settings(task, 1).gamma
    target = learn_target(
        make_env(task, _ENVS),
        policy,
        gamma,
        seed,
        ticks=max(5, round(_TICKS * scale)),
        updates=max(5, round(_UPDATES * scale)),
    )
    ascent = max(1, round(steps * scale))
    env = make_env(task, FINAL_EPISODES, autoreset=False)
    sweep = attack_sweep(env, {"it": target}, [EPSILON[task]], FINAL_SEED, steps=ascent)
    found = {trial.change: round(trial.returns.value, 2) for trial in sweep.trials}
    found["worst"] = min(found[attack] for attack in ATTACKS)
    found["push"] = worst_push(task, policy, steps=max(1, round(PUSH_STEPS * scale)))
    log("   ".join(f"{name} {value:.0f}" for name, value in found.items()))
    return found


def worst_push(task: str, policy: Actor | Student, *, steps: int = PUSH_STEPS) -> float:
    """Return under the push in that direction, of all where each action goes up or down, which
    costs most.

    Every direction is tried on episodes of its own; the worst is then tried on the held-out ones,
    since the least of many means is lower than what it is the mean of.
    """
    space = make_env(task, 1).single_action_space
    signs = itertools.product((-1.0, 1.0), repeat=int(np.prod(space.shape or ())))
    directions = torch.tensor(list(signs))
    every = directions.repeat(max(1, _PUSHED // len(directions)), 1)
    tried = _pushed(task, policy, every, _SEED, steps)
    worst = directions[int(tried.reshape(-1, len(directions)).mean(0).argmin())]
    held_out = _pushed(task, policy, worst.repeat(FINAL_EPISODES, 1), FINAL_SEED, steps)
    return round(float(held_out.mean()), 2)


def _pushed(
    task: str, policy: Actor | Student, direction: Tensor, seed: int, steps: int
) -> np.ndarray:
    """Returns of an episode for each row of ``direction``, (episodes, actions)."""
    env = make_env(task, len(direction), autoreset=False)
    target = Target(policy, bounds=Bounds.of(env.single_action_space))
    generator = torch.Generator().manual_seed(seed)
    actor = actor_of(policy)

    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> Any:
        seen = groups[target.sees]
        normalised = policy.normaliser(seen)
        attack = push_attack(
            target.respond(state), direction, EPSILON[task], generator, steps=steps
        )
        change = (attack(normalised) - normalised) * policy.normaliser.std
        return actor({**groups, target.sees: seen + change}, state, reset)

    return run_episodes(env, act, seed).returns
