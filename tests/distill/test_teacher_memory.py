"""Teachers that remember: they label and drive as if they had been there all along."""

import dataclasses

import numpy as np
import pytest
import torch
from retort.distill.checkpoint import load_checkpoint, save_checkpoint
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.distributions import Gaussian
from retort.distill.loop import distil
from retort.distill.networks import Critic
from retort.distill.sources.dataset import read_dataset, write_dataset
from retort.distill.sources.offline import DatasetSource, distil_offline
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import TeacherOutput
from retort.distill.terms import TermConfig

from .counting import Counting
from .recorded import ACTIONS, make_batches

ENVS, TICKS, EPISODE = 4, 5, 12
KL = (TermConfig(name="policy_kl"),)


def started(tracking, teacher=None, share=0.5, **changes):
    env = tracking(ENVS, EPISODE, autoreset=True)
    settings = {"terms": KL, "teacher_share": share, "minibatches": 2, **changes}
    config = DistillConfig(steps=6 * ENVS * TICKS, num_envs=ENVS, ticks=TICKS, **settings)
    torch.manual_seed(0)
    student = make_student(StudentConfig(hidden=(4,)), Interface.plain(2, 1))
    distiller = Distiller(config, student, teacher or Counting(), Critic(2, (4,)), seed=0)
    source = RolloutSource(env, TICKS)
    source.share_with_teacher(config.share(0.0))
    source.start(0)
    env.elapsed[:] = np.arange(ENVS)  # so that episodes end at different times
    return distiller, source


def run(distiller, source):
    """Every batch that was collected, and what was recorded of all but the first."""
    batches, recorded = [], []
    collect, record = source.collect, distiller.record

    def collecting(*actors):
        batches.append(collect(*actors))
        return batches[-1]

    def recording(*arguments):
        recorded.append(record(*arguments))
        return recorded[-1]

    source.collect, distiller.record = collecting, recording
    curriculum = Curriculum(CurriculumConfig(kind="none"), (), ENVS, np.zeros(1))
    list(distil(distiller, source, curriculum))
    return batches, recorded


def counted(batches):
    """The tick of the episode at every tick, (batches, T, N)."""
    resets = torch.stack([batch.reset for batch in batches])
    count, counts = torch.zeros(resets.shape[-1]), []
    for reset in resets.flatten(0, 1):
        count = torch.where(reset, torch.zeros_like(count), count) + 1.0
        counts.append(count)
    return torch.stack(counts).view(resets.shape)


def test_labels_count_on_from_batch_to_batch_until_the_episode_ends(tracking):
    batches, recorded = run(*started(tracking))
    expected = counted(batches)
    assert expected.max() == EPISODE > 2 * TICKS
    said = torch.stack([each.teachers[0].distribution.mean[..., 0] for each in recorded])
    assert torch.equal(said, expected[1:])


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_teacher_that_drives_remembers_from_tick_to_tick_and_batch_to_batch(tracking, share):
    distiller, source = started(tracking, share=share)
    batches, _ = run(distiller, source)
    driven = slice(0, round(share * ENVS))
    acts = torch.stack([batch.action[..., 0] for batch in batches])[..., driven]
    torch.testing.assert_close(acts, counted(batches)[..., driven], atol=0.01, rtol=0)


def test_a_teacher_that_begins_to_drive_later_knows_how_long_the_episode_is(tracking):
    distiller, source = started(tracking, share=0.0)
    batches = [source.collect(distiller.act, distiller.act_as_teacher)]
    distiller.record(batches[0], 0.0)
    source.share_with_teacher(1.0)
    batches.append(source.collect(distiller.act, distiller.act_as_teacher))
    acts = batches[1].action[..., 0]
    torch.testing.assert_close(acts, counted(batches)[1], atol=0.01, rtol=0)


def test_kept_batches_are_labelled_again_from_where_they_began(tracking, tmp_path):
    distiller, source = started(tracking, mode="aggregate", kept_batches=3)
    batches, _ = run(distiller, source)
    save_checkpoint(tmp_path / "x.safetensors", distiller.state_dict())
    again, _ = started(tracking, mode="aggregate", kept_batches=3)
    again.load_state_dict(load_checkpoint(tmp_path / "x.safetensors"))
    kept = [each.teachers[0].distribution.mean[..., 0] for each in again._kept._kept]
    assert torch.equal(torch.stack(kept), counted(batches)[-3:])
    # and it goes on where it stood
    batch = source.collect(distiller.act, distiller.act_as_teacher)
    said = [each.record(batch, 0.5).teachers[0].distribution.mean for each in (distiller, again)]
    assert torch.equal(said[0][..., 0], counted(batches)[-1])
    assert torch.equal(*said)


class Asked(Counting):
    """Keeps what it answered where it was asked about single ticks."""

    def __init__(self):
        super().__init__()
        self.answers = []

    def __call__(self, observations, state, resets):
        said, after = super().__call__(observations, state, resets)
        if len(resets) == 1:
            self.answers.append(said.distribution.mean[0, :, 0])
        return said, after


def test_what_comes_after_the_last_tick_is_compared_from_what_it_remembers(tracking):
    terms = (TermConfig(name="corrected"),)
    distiller, source = started(tracking, Asked(), share=0.0, terms=terms)
    distiller.follow(first := source.collect(distiller.act))
    distiller.record(second := source.collect(distiller.act), 0.0)
    third = source.collect(distiller.act)
    distiller.teachers[0].answers.clear()
    distiller.record(third, 0.0)
    *_, after, final = distiller.teachers[0].answers
    expected = counted([first, second, third])[-1]
    ended = third.truncated[-1]
    assert torch.equal(after, torch.where(ended, torch.zeros(ENVS), expected[-1]) + 1.0)
    assert len(third.final_index)
    tick, env = third.final_index.unbind(-1)
    assert torch.equal(final, expected[tick, env] + 1.0)


def test_terms_that_ask_anew_ask_from_the_beginning_of_the_batch(tracking):
    options = {"student": [0], "teacher": [0]}
    terms = (TermConfig(name="saliency", options=options),)
    distiller, source = started(tracking, terms=terms)
    batches, recorded = run(distiller, source)
    ids = torch.tensor([3, 1])
    sample = distiller._sample(recorded[-1], ids, 0.0)
    assert sample.ask is not None
    said = sample.ask(sample.observations).mean[..., 0]
    assert torch.equal(said, counted(batches)[-1][:, ids])


def test_recorded_episodes_are_asked_about_from_where_they_are_read(tmp_path):
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    write_dataset(tmp_path, list(make_batches(4)), ACTIONS, name="test/memory-v0")
    options = {"student": [0], "teacher": [0]}
    terms = (TermConfig(name="saliency", options=options),)
    config = DistillConfig(
        mode="offline", steps=5 * 28, num_envs=4, ticks=7, minibatches=2, terms=terms
    )
    student = make_student(StudentConfig(hidden=(4,)), Interface.plain(4, 2))
    distillers, sources = [], []
    for _ in range(2):
        source = DatasetSource(read_dataset(tmp_path), num_envs=4, ticks=7, seed=0)
        sources.append(source)
        distillers.append(Distiller(config, student, Counting(2), Critic(3, (4,)), seed=0))
    places = []
    rows = distil_offline(distillers[0], sources[0])
    for _ in range(3):
        places.append(sources[0]._tick.copy())
        next(rows)
    assert any(place.any() for place in places)
    sources[1].load_state_dict(sources[0].state_dict())
    for source, distiller in zip(sources, distillers, strict=True):
        now = torch.from_numpy(source._tick).float()
        source.read_by(student, distiller.teachers)
        batch = source.collect()
        recorded = distiller.record(batch, 0.0)
        (before,) = recorded.batch.teacher_states
        assert torch.equal(torch.where(batch.reset[0], torch.zeros(4), before[:, 0]), now)
        ask = distiller.panel.asking(0, recorded.batch, torch.arange(4))
        said = ask(batch.observations).mean[0, :, 0]
        assert torch.equal(said, now + 1.0)


def test_what_no_teacher_remembers_costs_no_number_in_a_checkpoint(tracking):
    class Forgetful(Counting):
        def initial_state(self, n):
            return torch.zeros(n, 0)

        def __call__(self, observations, state, resets):
            said, _ = super().__call__(observations, torch.zeros(resets.shape[1], 1), resets)
            return dataclasses.replace(said, value=None), state

    calls = []
    teacher = Forgetful()
    asked = Forgetful.__call__
    Forgetful.__call__ = lambda *given: calls.append(given[1]) or asked(*given)
    distiller, source = started(tracking, teacher, share=0.0)
    run(distiller, source)
    assert len(calls) == 5  # once about each batch that is learnt from
    assert sum(state.numel() for state in distiller.state_dict()["teacher_states"].values()) == 0


class Fading:
    """Adds up what it sees, and forgets half of it at every tick."""

    def initial_state(self, n):
        return torch.zeros(n, 1)

    def __call__(self, observations, state, resets):
        sums = []
        for seen, reset in zip(observations["teacher"], resets, strict=True):
            state = torch.where(reset[:, None], torch.zeros_like(state), state)
            state = 0.5 * state + seen.sum(-1, keepdim=True)
            sums.append(state)
        mean = torch.stack(sums)
        return TeacherOutput(Gaussian(mean, torch.ones_like(mean))), state


def test_what_a_teacher_attends_to_now_is_not_what_it_will_remember(tracking):
    distiller, source = started(tracking, Fading())
    _, recorded = run(distiller, source)
    last = next(each for each in recorded if each.batch.reset.any())
    batch, ids = last.batch, torch.tensor([2, 0])
    groups = {g: v[:, ids].clone().requires_grad_() for g, v in batch.observations.items()}
    answer = distiller.panel.asking(0, batch, ids)(groups)
    torch.testing.assert_close(answer.mode(), last.teachers[0].distribution.mean[:, ids])
    [gradient] = torch.autograd.grad(answer.mode().sum(), groups["teacher"])
    assert (gradient == 1.0).all()
