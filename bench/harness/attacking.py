"""A policy under every named attack, as strong as the table's claims need them."""

from __future__ import annotations

from retort.distill.networks import Actor
from retort.distill.students import Student
from retort.distill.sweeps import attack_sweep
from retort.distill.target import ATTACKS, learn_target

from .runs import Log
from .teaching import teacher_settings
from .training import FINAL_EPISODES, FINAL_SEED, make_env

EPSILON = {"Hopper": 0.075, "Walker2d": 0.05}  # Zhang et al. 2020, normalised l-infinity
STEPS = 10  # of an attack's ascent, as published
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
    """Mean return of the held-out episodes clean (``none``), under each attack and the ``worst``.

    Args:
        task: on which.
        policy: an actor of ours, or a student.
        log: told of each.
        scale: part of the attacker's learning that is done.
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
    env = make_env(task, FINAL_EPISODES, autoreset=False)
    sweep = attack_sweep(env, {"it": target}, [EPSILON[task]], FINAL_SEED, steps=steps)
    found = {trial.change: round(trial.returns.value, 2) for trial in sweep.trials}
    found["worst"] = min(found[attack] for attack in ATTACKS)
    log("   ".join(f"{name} {value:.0f}" for name, value in found.items()))
    return found
