"""A gate that closes on a teacher: the student's own value goes on being learnt."""

import numpy as np
import pytest
import torch
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.loop import distil
from retort.distill.networks import Critic
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher
from retort.distill.teachers.mixture import MixtureConfig
from retort.distill.terms import TermConfig

N, TICKS = 16, 10
VALUE = {"until": 0.0}


def constant_critic(value):
    critic = Critic(2, (8,))
    with torch.no_grad():
        critic.network[-1].weight.zero_()
        critic.network[-1].bias.fill_(value)
    return critic


class Rewarding:
    """An environment whose rewards are so many times as large."""

    def __init__(self, env, times):
        self.env, self.times = env, times

    def __getattr__(self, name):
        return getattr(self.env, name)

    def step(self, actions):
        observation, reward, *rest = self.env.step(actions)
        return observation, (self.times * reward).astype(np.float32), *rest


def learn(
    tracking,
    tracker,
    terms,
    *,
    iterations=60,
    told=None,
    reward=1.0,
    changes=(),
    expects=15.0,
    tell=(0.0,),
    **mixture,
):
    """A student that expects 15 where there is about 9 to be had, of a teacher that expects 0."""
    env = Rewarding(tracking(N, autoreset=True), reward)
    settings = DistillConfig(
        steps=N * TICKS * iterations, num_envs=N, ticks=TICKS, teacher_share=0.0,
        gamma=0.9,
        fall_penalty=0.0, terms=terms, learning_rate=1e-2,
        teachers=MixtureConfig(gated=True, **mixture), **dict(changes),
    )  # fmt: skip
    torch.manual_seed(0)
    student = make_student(StudentConfig(hidden=(8,)), Interface.plain(2, 1, discrete=False))
    critic = constant_critic(expects)
    made = [ActorTeacher(tracker(), constant_critic(value)) for value in tell]
    distiller = Distiller(settings, student, made, critic, seed=0)
    curriculum = Curriculum(CurriculumConfig(kind="none"), ("none",), N, np.zeros(5))
    source = RolloutSource(env, TICKS, running=curriculum.running)
    source.share_with_teacher(0.0)
    source.start(0)
    weights = []
    record = distiller.record
    distiller.record = lambda *given: weights.append(made := record(*given)) or made
    for row in distil(distiller, source, curriculum):
        if told is not None:
            told.append(row["terms"])
    return [w.weights for w in weights], float(critic(torch.zeros(1, 2)).detach())


@pytest.mark.parametrize("teachers", [1, 2])
@pytest.mark.parametrize(
    "terms",
    [
        (TermConfig(name="policy_kl"), TermConfig(name="value", options=VALUE)),
        (TermConfig(name="joint", options=VALUE),),
    ],
    ids=["value", "joint"],
)
def test_a_value_that_is_too_high_is_corrected_behind_a_closed_gate(
    tracking, tracker, terms, teachers
):
    tell = (0.0,) * teachers
    weights, value = learn(tracking, tracker, terms, tell=tell, warm_up=0.0, margin=-11.0)
    assert (weights[0] == 0).all()  # it expects far too much to listen
    assert value < 11.0  # and learns that it does
    assert (weights[-1].sum(-1) == 1).all()  # until it listens


@pytest.mark.parametrize("name", ["value", "joint"])
def test_a_gate_opens_to_every_teacher_that_is_better_than_the_student(tracking, tracker, name):
    terms = (TermConfig(name="policy_kl"), TermConfig(name=name))  # the mean of both would be 20
    weights, value = learn(tracking, tracker, terms, expects=0.0, tell=(25.0, 15.0))
    assert all((w > 0).all() for w in weights)
    assert 5.0 < value < 13.0  # what the student earns, and not what it is told


def test_gates_are_open_until_the_critic_is_warm(tracking, tracker):
    terms = (TermConfig(name="policy_kl"), TermConfig(name="value"))
    weights, _ = learn(tracking, tracker, terms, iterations=20, warm_up=0.5)
    closed = [bool((w == 0).all()) for w in weights]
    assert closed == [False] * closed.index(True) + [True] * (len(closed) - closed.index(True))
    assert 8 <= closed.index(True) <= 11


def test_what_is_kept_is_not_copied_behind_a_gate_that_has_closed(tracking, tracker):
    terms = (TermConfig(name="policy_kl"), TermConfig(name="value"))
    told = []
    weights, _ = learn(
        tracking,
        tracker,
        terms,
        iterations=20,
        told=told,
        warm_up=0.5,
        changes={"mode": "aggregate"},
    )
    closed = next(i for i, w in enumerate(weights) if (w == 0).all())
    assert all(row["policy_kl"] > 0 for row in told[:closed])
    assert all(row["policy_kl"] == 0 for row in told[closed:])


@pytest.mark.parametrize("reward", [0.001, 1000.0])
def test_values_in_units_of_the_return_do_not_care_for_the_unit_of_rewards(
    tracking, tracker, reward
):
    terms = (TermConfig(name="policy_kl"), TermConfig(name="value", options=VALUE))

    def learnt(times):
        return learn(
            tracking, tracker, terms, iterations=30, reward=times, warm_up=0.3,
            expects=0.0, tell=(7.0 * times,), changes={"reward_scale": "return"},
        )  # fmt: skip

    (one, value), (other, same) = learnt(1.0), learnt(reward)
    assert value > 0.3  # of deviations of the return
    assert same == pytest.approx(value, rel=1e-3)
    assert len({float(w.mean()) for w in one}) > 1  # gates open and close
    for a, b in zip(one, other, strict=True):
        assert float((a == b).float().mean()) > 0.98
