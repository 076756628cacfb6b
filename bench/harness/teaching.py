"""The teachers that the tables share: how they are trained, and where they are found."""

from __future__ import annotations

import dataclasses

from retort.distill.networks import Actor, Critic
from retort.distill.ppo import PPOConfig
from retort.distill.ppo_settings import gymnasium_ppo
from retort.distill.teachers import ActorTeacher

from .runs import Log, Made, Place, Run
from .training import final_returns, learn_ppo, load_policy, save_policy

TABLE = "teachers"
HIDDEN = (256, 256)
STEPS = 3_000_000
STD_FLOOR = 0.05  # least deviation a teacher may claim
_POINTS = 30  # on a curve


def teacher_run(task: str, seed: int) -> Run:
    """The run that leaves the teacher of a task and seed."""
    return Run(
        table=TABLE,
        task=task,
        arm="teacher",
        seed=seed,
        budget=STEPS,
        execute=_teach,
        keeps=True,
    )


def three_teachers(seed: int) -> tuple[int, int, int]:
    """Seeds of the teachers that a student of ``seed`` has where it has three: the first three, and
    beyond them its own and the two before, so that none is trained for this alone.
    """
    first = max(1, seed - 2)
    return first, first + 1, first + 2


def teacher_settings(task: str, steps: int, hidden: tuple[int, ...] = HIDDEN) -> PPOConfig:
    """Of PPO, with the teachers' critic behind whatever actor.

    With layers this wide and millions of steps the rate of ``efficient`` runs away without a limit.
    """
    return gymnasium_ppo(
        task, "efficient", steps=steps, hidden=hidden, critic_hidden=HIDDEN, kl_limit=0.03
    )


def load_teacher(place: Place, run: Run) -> ActorTeacher:
    """The teacher that ``run`` left."""
    actor, critic = load_networks(place, run)
    return ActorTeacher(actor, critic, std_floor=STD_FLOOR)


def load_networks(place: Place, run: Run) -> tuple[Actor, Critic]:
    """Actor and critic that ``run`` left."""
    return load_policy(place.checkpoint(run), run.task, teacher_settings(run.task, 1))


def _teach(run: Run, place: Place, log: Log) -> Made:
    config = teacher_settings(run.task, place.steps(run.budget))
    every = max(1, config.steps // _POINTS)
    ppo, curve, figures = learn_ppo(run.task, config, run.seed, log, every=every)
    save_policy(place.checkpoint(run), ppo)
    final = final_returns(run.task, curve.actor)
    return Made(dataclasses.asdict(config), curve.points, final, figures)
