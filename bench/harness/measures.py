"""What tables measure of a policy beside its return, and what they learn of a teacher."""

from __future__ import annotations

import dataclasses

from retort.distill.evaluation import actor_of, run_episodes
from retort.distill.evaluation.sweeps import noisy, observation_deviation
from retort.distill.evaluation.target import Target, attacked, learn_target, watch
from retort.distill.losses.smoothness import temporal_smoothness
from retort.distill.sources.rollout import Actor
from retort.distill.students import Student
from retort.distill.teachers import ActorTeacher, BoundCritics, TeacherOutput
from torch import Tensor

from .teaching import STD_FLOOR, teacher_settings
from .training import make_env

_EPISODES, _SEED = 20, 3_000_017  # no run trains on it, and no other is evaluated on it
_TICKS = 500  # of an action's change
CRITIC_TICKS, CRITIC_ENVS, _UPDATES = 1000, 32, 4000  # of a fitted critic


class CriticTeacher(ActorTeacher):
    """A teacher with a critic Q(s, a) that is fitted to it, by Sarsa on what it does by itself.

    Args:
        teacher: stays as it is.
        task: on which.
        seed: of episodes and critic.
        share: of the steps and updates that the critic gets.

    Attributes:
        steps: environment steps that were watched.
    """

    def __init__(self, teacher: ActorTeacher, task: str, seed: int, share: float = 1.0) -> None:
        super().__init__(teacher.actor, teacher.critic, std_floor=STD_FLOOR)
        gamma = teacher_settings(task, 1).gamma
        ticks, updates = (max(2, round(share * most)) for most in (CRITIC_TICKS, _UPDATES))
        self.steps = ticks * CRITIC_ENVS
        target = learn_target(
            make_env(task, CRITIC_ENVS), teacher.actor, gamma, seed, ticks=ticks, updates=updates
        )
        assert target.q is not None
        self.q, self.bounds = target.q.eval().requires_grad_(False), target.bounds

    def __call__(
        self, observations: dict[str, Tensor], state: Tensor, resets: Tensor
    ) -> tuple[TeacherOutput, Tensor]:
        said, state = super().__call__(observations, state, resets)
        critics = BoundCritics(self._critics, observations[self.group], self.bounds)
        return dataclasses.replace(said, critics=critics), state

    def _critics(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.q(self.actor.normaliser(observation), action)[None]


def action_change(task: str, student: Student) -> float:
    """Mean of ``|a_t - a_{t-1}|_2`` within episodes, the student acting by its mode."""
    batch = watch(make_env(task, _EPISODES), actor_of(student), _SEED, _TICKS, student.state_size)
    change = temporal_smoothness(batch.action, batch.reset)
    within = ~batch.reset[1:]
    return float(change[:-1][within].mean())


def return_under_noise(task: str, actor: Actor, noise: float, reference: Actor) -> float:
    """Mean return with ``noise`` deviations of each observation, as ``reference`` meets them.

    One reference for all that are compared: what a policy meets depends on how good it is.
    """
    deviation = observation_deviation(make_env(task, _EPISODES), reference, _SEED)
    return _mean_return(task, noisy(actor, deviation, noise, _SEED))


def return_under_attack(task: str, student: Student, epsilon: float) -> float:
    """Mean return under the attack ``mad``, the strongest that needs no action value."""
    return _mean_return(task, attacked(Target(student), "mad", epsilon, _SEED))


def _mean_return(task: str, actor: Actor) -> float:
    env = make_env(task, _EPISODES, autoreset=False)
    return round(float(run_episodes(env, actor, _SEED).returns.mean()), 3)
