"""What a distiller relies on, of every source of batches there is."""

import itertools
import json

import pytest
import torch
from retort.distill.checkpoint import load_checkpoint, save_checkpoint
from retort.distill.distiller import Distiller
from retort.distill.sources.adversary import AdversaryConfig, lied_to
from retort.distill.sources.offline import DatasetSource
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import StudentConfig

from .tiny import (
    ACTIONS,
    EPISODE,
    STUDENT_SIZE,
    TEACHER_SIZE,
    TICKS,
    N,
    TinyEnv,
    make_learner,
    make_teacher,
    recorded,
    settings,
)

SIZES = {"student": STUDENT_SIZE, "teacher": TEACHER_SIZE}
REMEMBERS = StudentConfig(kind="gru", hidden=(8,), recurrent=3)
FORGETS = StudentConfig(hidden=(8,))


def simulated(student, teacher):
    source = RolloutSource(TinyEnv(), TICKS, hidden_size=student.state_size)
    source.start(0)
    return source


def attacked(student, teacher):
    env = lied_to(TinyEnv(), student, AdversaryConfig(warm_up=0.0, hold=5), 1000, 0)
    source = RolloutSource(env, TICKS)
    source.start(0)
    return source


def from_episodes(student, teacher):
    source = DatasetSource(recorded(teacher), num_envs=N, ticks=TICKS, seed=0)
    source.read_by(student, [teacher])
    return source


SOURCES = {
    "simulated": (simulated, REMEMBERS),
    "simulated, under attack": (attacked, FORGETS),
    "recorded": (from_episodes, REMEMBERS),
}


@pytest.fixture(params=SOURCES)
def make(request):
    """Makes the source anew, and a distiller of it."""

    def made():
        kind, config = SOURCES[request.param]
        student, critic = make_learner(config)
        distiller = Distiller(settings(), student, make_teacher(), critic, seed=0)
        source = kind(student, make_teacher())
        source.share_with_teacher(0.25)
        return source, distiller

    return made


def collect(source, distiller, count):
    return [source.collect(distiller.act, distiller.act_as_teacher) for _ in range(count)]


def test_a_batch_has_the_shapes_it_says(make):
    source, distiller = make()
    for batch in collect(source, distiller, 3):
        ended = len(batch.final_index)
        for group, size in SIZES.items():
            assert batch.observations[group].shape == (TICKS, N, size)
            assert batch.final_observations[group].shape == (ended, size)
            assert batch.last_observations[group].shape == (N, size)
        assert batch.action.shape == (TICKS, N, ACTIONS)
        for name in ("log_prob", "reward", "terminated", "truncated", "reset", "task"):
            assert getattr(batch, name).shape == (TICKS, N), name
        for name in ("terminated", "truncated", "reset"):
            assert getattr(batch, name).dtype == torch.bool, name
        assert batch.level.shape == (TICKS, N, 0)
        assert batch.driver.shape == (N,)
        assert batch.initial_state.shape == (N, distiller.student.state_size)


def test_batches_go_on_where_the_last_one_ended(make):
    source, distiller = make()
    batches = collect(source, distiller, 6)
    for before, after in itertools.pairwise(batches):
        for group in SIZES:
            first = after.observations[group][0]
            assert torch.equal(before.last_observations[group], first)
        done = before.terminated[-1] | before.truncated[-1]
        assert torch.equal(after.reset[0], done)


def test_a_reset_is_the_first_tick_after_an_end_and_of_an_episode(make):
    source, distiller = make()
    batches = collect(source, distiller, 6)
    reset = torch.cat([batch.reset for batch in batches])
    done = torch.cat([batch.terminated | batch.truncated for batch in batches])
    tick = torch.cat([batch.observations["teacher"][..., -1] for batch in batches])
    assert done.any()
    assert torch.equal(reset[1:], done[:-1])
    assert (tick[1:][reset[1:]] == 0).all()
    going_on = ~reset[1:]
    assert torch.equal(tick[1:][going_on], tick[:-1][going_on] + 1)


def test_what_was_seen_last_stands_at_every_end_and_is_of_the_old_episode(make):
    source, distiller = make()
    for batch in collect(source, distiller, 6):
        done = batch.terminated | batch.truncated
        assert torch.equal(done.nonzero(), batch.final_index)
        at = batch.final_index.unbind(-1)
        seen = batch.final_observations["teacher"][:, -1]
        assert torch.equal(seen, batch.observations["teacher"][at][:, -1] + 1)
        late = seen == EPISODE
        assert torch.equal(batch.truncated[at], late)


def test_a_batch_begins_with_what_the_student_remembers(make):
    source, distiller = make()
    batches, student = collect(source, distiller, 6), distiller.student
    for before, after in itertools.pairwise(batches):
        seen = before.observations["student"]
        with torch.no_grad():
            _, state = student(seen, before.initial_state, before.reset)
        torch.testing.assert_close(after.initial_state, state, atol=1e-5, rtol=1e-4)
        assert not student.state_size or after.initial_state.any()


def test_it_goes_on_to_the_bit_where_its_state_was_saved(make, tmp_path):
    one, other = make(), make()
    collect(*one, 3)
    save_checkpoint(
        tmp_path / "x.safetensors",
        {"source": one[0].state_dict(), "learner": one[1].state_dict()},
    )
    saved = load_checkpoint(tmp_path / "x.safetensors")
    collect(*other, 1)  # somewhere else
    other[0].load_state_dict(saved["source"])
    other[1].load_state_dict(saved["learner"])
    for a, b in zip(collect(*one, 3), collect(*other, 3), strict=True):
        for name in ("action", "log_prob", "reward", "reset", "driver", "initial_state", "task"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        for group in SIZES:
            assert torch.equal(a.observations[group], b.observations[group])
            assert torch.equal(a.final_observations[group], b.final_observations[group])
        assert torch.equal(a.episodes.score, b.episodes.score)


def test_its_figures_are_numbers_or_nothing(make):
    source, distiller = make()
    for batch in collect(source, distiller, 3):
        figures = source.figures(batch, 100)
        assert all(value is None or isinstance(value, float) for value in figures.values())
        json.dumps(figures, allow_nan=False)
    assert any(value is not None for value in figures.values())
