"""What training relies on, of everything that learns: PPO, a distiller, a teacher beside it."""

import math

import numpy as np
import pytest
import torch
from retort.distill.checkpoint import load_checkpoint, save_checkpoint
from retort.distill.distiller import Distiller
from retort.distill.diverged import DivergedError
from retort.distill.sources.rollout import RolloutSource
from retort.distill.terms import TermConfig

from .tiny import TICKS, N, TinyEnv, make_learner, make_ppo, make_teacher, settings


def ppo():
    return make_ppo(), lambda learner, batch: learner.update(batch)["value_loss"]


def distiller():
    terms = (TermConfig(name="policy_kl"), TermConfig(name="value"))
    made = Distiller(settings(terms=terms), *_ours(), seed=0)

    def learn(learner, batch):
        losses = learner.update(learner.record(batch, 0.0), 0.0, 0.0)
        return losses["policy_kl"] + losses["value"]

    return made, learn


def _ours():
    student, critic = make_learner()
    return student, make_teacher(1), critic


LEARNERS = {"ppo": ppo, "distiller": distiller}


@pytest.fixture(params=LEARNERS)
def make(request):
    """Makes the learner anew, and the function that learns from a batch and says its loss."""
    return LEARNERS[request.param]


def collected(learner, seed=0):
    source = RolloutSource(TinyEnv(), TICKS)
    source.start(seed)
    return source.collect(learner.act)


def test_it_acts_by_a_stream_of_its_own_and_says_how_likely_that_was(make):
    learner, _ = make()
    groups = {group: rows[0] for group, rows in collected(learner).observations.items()}
    state, reset = torch.zeros(N, 0), torch.zeros(N, dtype=torch.bool)
    before = torch.get_rng_state()
    action, log_prob, after = learner.act(groups, state, reset)
    other, _, _ = learner.act(groups, state, reset)
    assert torch.equal(torch.get_rng_state(), before)
    assert action.shape == (N, 2)
    assert log_prob.shape == (N,)
    assert after.shape == state.shape
    assert not torch.equal(action, other)
    assert not action.requires_grad
    assert torch.isfinite(log_prob).all()


def test_two_of_one_seed_do_the_same_to_the_bit(make):
    (one, learn), (other, _) = make(), make()
    for k in range(2):
        a, b = collected(one, k), collected(other, k)
        assert torch.equal(a.action, b.action)
        assert learn(one, a) == learn(other, b)


def test_what_it_measures_is_what_observations_are_normalised_by(make):
    learner, _ = make()
    batch = collected(learner)
    learner.measure(batch)
    network = learner.actor if hasattr(learner, "actor") else learner.student
    group = "teacher" if hasattr(learner, "actor") else "student"
    for normaliser, seen in (
        (network.normaliser, batch.observations[group]),
        (learner.critic.normaliser, batch.observations["teacher"]),
    ):
        rows = normaliser(seen).flatten(0, 1)
        torch.testing.assert_close(rows.mean(0), torch.zeros(rows.shape[1]), atol=1e-4, rtol=0)


def test_learning_from_a_batch_again_lowers_its_loss(make):
    learner, learn = make()
    learner.measure(collected(learner))
    batch = collected(learner)
    losses = [learn(learner, batch) for _ in range(15)]
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


def test_it_goes_on_to_the_bit_where_its_state_was_saved(make, tmp_path):
    (one, learn), (other, _) = make(), make()
    batches = [collected(one, seed) for seed in range(4)]
    for batch in batches[:2]:
        learn(one, batch)
    save_checkpoint(tmp_path / "x.safetensors", one.state_dict())
    learn(other, batches[3])  # somewhere else
    other.load_state_dict(load_checkpoint(tmp_path / "x.safetensors"))
    for batch in batches[2:]:
        assert learn(one, batch) == learn(other, batch)
    assert torch.equal(collected(one).action, collected(other).action)
    for a, b in zip(one.parameters, other.parameters, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("where", ["reward", "weight"])
def test_numbers_that_are_none_end_it_with_a_sentence(make, where):
    learner, learn = make()
    batch = collected(learner)
    if where == "reward":
        batch.reward[2, 1] = math.nan
    else:
        with torch.no_grad():
            learner.critic.network[0].weight[0, 0] = math.inf
    with pytest.raises(DivergedError, match="training has diverged"):
        learn(learner, batch)
