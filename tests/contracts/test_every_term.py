"""What holds for every term a recipe can name, alone in a tiny training and beside others."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.distributions import Categorical
from retort.distill.loop import distil
from retort.distill.networks import Critic, make_actor
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher, BoundCritics
from retort.distill.teachers.mixture import MixtureConfig
from retort.distill.terms import TERMS, TermConfig, make_term
from retort.sim import RobotEnv

from .tiny import ACTIONS, TinyEnv

NUM_ENVS, TICKS = 16, 8
# Terms that are of another kind with other options: term and options.
VARIANTS = {
    "of a file": (str(Path(__file__).with_name("own_term.py")), {"scale": 2.0}),
    "robust to teacher": ("robust", {"steps": 2, "target": "teacher"}),
    **{f"q {kind}": ("q", {"kind": kind}) for kind in ("tempered", "nll", "mse")},
}
NAMES = [*TERMS, *VARIANTS]
OPTIONS = {"saliency": {"student": [0, 1, 2], "teacher": [0, 1, 2]}, "robust": {"steps": 2}}


class CriticTeacher(ActorTeacher):
    """An actor that also says Q(s, a), highest at its own action or of every choice."""

    def __call__(self, observations, state, resets):
        said, state = super().__call__(observations, state, resets)
        if isinstance(said.distribution, Categorical):
            return dataclasses.replace(said, q=said.distribution.logits), state

        def critics(observation, action):
            off = (action - self.actor(observation).mode()).square().sum(-1)
            return torch.stack([-off, -2.0 * off])

        bound = BoundCritics(critics, observations[self.group])
        return dataclasses.replace(said, critics=bound), state


@functools.cache
def environment(discrete):
    """One for all of a kind: a reset with a seed makes it new."""
    if discrete:
        return TinyEnv(NUM_ENVS, discrete=True)
    return RobotEnv(num_envs=NUM_ENVS, level=0.0, episode_seconds=0.2)


def make(name, heard=(0,), **changes):
    """A distiller whose teachers are those of two by number, their layers of different width."""
    term, options = VARIANTS.get(name, (name, OPTIONS.get(name, {})))
    discrete = term == "q"
    env = environment(discrete)
    sees, knows = env.groups["student"], env.groups["teacher"]
    interface = Interface.plain(sees, ACTIONS, discrete=True) if discrete else env.contract
    torch.manual_seed(0)
    student = make_student(StudentConfig(hidden=(8,)), interface)
    critic = Critic(knows, (16,))
    made = []
    for width in (16, 12):
        actor = make_actor(knows, env.single_action_space, (width,), initial_std=0.3)
        torch.nn.init.normal_(actor.network[-1].weight, std=0.3)
        made.append(CriticTeacher(actor, Critic(knows, (8,))))
    terms = [TermConfig(name=term, options=options)]
    if "advantage" in make_term(terms[0]).needs:  # somebody must teach the critic that tells it
        terms.append(TermConfig(name="value"))
    settings = {"steps": NUM_ENVS * TICKS * 3, "num_envs": NUM_ENVS, "ticks": TICKS}
    config = DistillConfig(**{**settings, "terms": tuple(terms), "episode_seconds": 0.2, **changes})
    distiller = Distiller(config, student, [made[i] for i in heard], critic, seed=0)
    curriculum = Curriculum(CurriculumConfig(kind="none"), env.axes, NUM_ENVS, np.zeros(5))
    source = RolloutSource(env, TICKS, running=curriculum.running)
    source.share_with_teacher(config.share(0.0))
    source.start(0)
    return distiller, source, curriculum


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_the_student_and_the_critic_if_that_is_what_it_teaches(name):
    distiller, source, curriculum = make(name)
    student, critic = ([*each.parameters()] for each in (distiller.student, distiller.critic))
    before = [[p.detach().clone() for p in each] for each in (student, critic)]
    rows = list(distil(distiller, source, curriculum))
    assert all(np.isfinite(value) for row in rows for value in row["terms"].values())
    assert all(bool(torch.isfinite(p).all()) for p in (*student, *critic))
    moved = [
        not all(map(torch.equal, was, now))
        for was, now in zip(before, (student, critic), strict=True)
    ]
    teaches = any(term.teaches_critic for _, term in distiller.terms)
    assert moved == [name != "value", teaches]


@pytest.mark.parametrize("name", NAMES)
def test_two_runs_of_it_are_the_same_to_the_bit(name):
    ends = []
    for _ in range(2):
        distiller, source, curriculum = make(name)
        list(distil(distiller, source, curriculum))
        ends.append([p.detach().clone() for p in distiller.student.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("name", [n for n in NAMES if n in VARIANTS or TERMS[n].taught])
def test_two_teachers_weigh_as_much_as_their_weights_say(name):
    mixture = MixtureConfig(others=("other",), weights=(0.25, 0.75))
    pair, source, _ = make(name, heard=(0, 1), teachers=mixture)
    batch = source.collect(pair.act, pair.act_as_teacher)
    both = loss_on(pair, batch)
    learnt = list(pair.terms[0][1].parameters())  # of each teacher as many
    total, stream = 0.0, None
    for number, weight in enumerate((0.25, 0.75)):
        alone, _, _ = make(name, heard=(number,))
        share = len(learnt) // 2
        own = learnt[number * share : (number + 1) * share]
        total = total + weight * loss_on(alone, batch, own, stream)
        stream = alone.generator.get_state()  # of two teachers the second is asked after the first
    torch.testing.assert_close(both, total)


def loss_on(distiller, batch, learnt=None, stream=None):
    """What the first term asks of teachers on a batch, with given parameters and random stream."""
    recorded, ids = distiller.record(batch, 0.1), torch.arange(NUM_ENVS)
    sample, term = distiller._sample(recorded, ids, 0.1), distiller.terms[0][1]
    for parameter, value in zip(term.parameters(), learnt or (), strict=learnt is not None):
        parameter.data = value.data
    distiller.generator.manual_seed(1)
    if stream is not None:
        distiller.generator.set_state(stream)
    return distiller._taught_loss(term, sample, recorded, ids)
