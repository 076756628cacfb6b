"""A source of recorded episodes, and students that learn from it alone."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from retort.distill.batch import TEACHER
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.distributions import Gaussian
from retort.distill.networks import Critic
from retort.distill.sources.dataset import read_dataset, write_dataset
from retort.distill.sources.offline import DatasetSource, RecordedTeacher, distil_offline
from retort.distill.sources.recording import DatasetError
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import TeacherOutput
from retort.distill.teachers.mixture import MixtureConfig
from retort.distill.terms import TermConfig, TermError

from .recorded import ACTIONS, ENVS, TICKS, box, foreign_data, make_batches

pytest.importorskip("minari")
pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    write_dataset(path, make_batches(), ACTIONS, name="test/source-v0")
    return read_dataset(path)


def source_of(recordings, student=None, **options):
    source = DatasetSource(recordings, **{"num_envs": 4, "ticks": 7, "seed": 0, **options})
    if student is not None:
        source.read_by(student)
    return source


def student_of(kind="mlp", **config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_student(StudentConfig(kind=kind, hidden=(16,), **config), Interface.plain(4, 2))


def read_columns(recordings, source, batches):
    """The episodes that a source yields, column by column, checked row by row."""
    firsts = {float(r.reward[0]): k for k, r in enumerate(recordings)}
    order = {column: [] for column in range(source.num_envs)}
    running = [None] * source.num_envs
    after = None
    for _ in range(batches):
        batch = source.collect()
        assert (batch.driver == TEACHER).all()
        if after is not None:
            for group, values in batch.observations.items():
                assert torch.equal(values[0], after[group])
        after = batch.last_observations
        final = {tuple(at): k for k, at in enumerate(batch.final_index.tolist())}
        for i in range(batch.num_envs):
            for t in range(batch.ticks):
                if batch.reset[t, i]:
                    running[i] = [firsts[float(batch.reward[t, i])], 0]
                    order[i].append(running[i][0])
                if running[i] is None:
                    continue
                episode, tick = running[i]
                recording = recordings[episode]
                for name in ("action", "log_prob", "reward", "terminated", "truncated", "level"):
                    assert torch.equal(getattr(batch, name)[t, i], getattr(recording, name)[tick])
                assert torch.equal(
                    batch.labels[0].distribution.mean[t, i],
                    recording.labels[0].distribution.mean[tick],
                )
                for group, values in batch.observations.items():
                    assert torch.equal(values[t, i], recording.observations[group][tick])
                running[i][1] += 1
                ended = tick == len(recording) - 1
                assert ended == ((t, i) in final)
                if ended:
                    for group, values in batch.final_observations.items():
                        want = recording.observations[group][-1]
                        assert torch.equal(values[final[t, i]], want)
                    running[i] = None
    return order


def test_a_source_yields_episodes_one_after_the_other_in_every_column(recordings):
    order = read_columns(recordings, source_of(recordings), 40)
    assert all(len(episodes) > 10 for episodes in order.values())


def test_every_episode_comes_once_before_any_comes_again(recordings):
    source = source_of(recordings, num_envs=1, ticks=50)
    running, halfway = int(source._episode[0]), source._tick[0] > 0
    (started,) = read_columns(recordings, source, 25).values()
    if halfway:  # the first one was not seen to begin
        started = [running, *started]
    count = len(recordings)
    assert len(started) > 3 * count
    for k in range(0, 3 * count, count):
        assert sorted(started[k : k + count]) == list(range(count))


def test_a_source_is_its_seed_and_goes_on_where_it_stood(recordings):
    student = student_of("gru")
    one, other, third = (source_of(recordings, student, seed=seed) for seed in (3, 3, 4))
    same = [(one.collect(), other.collect()) for _ in range(5)]
    for a, b in same:
        assert torch.equal(a.reward, b.reward)
        assert torch.equal(a.initial_state, b.initial_state)
    assert not torch.equal(third.collect().reward, same[0][0].reward)
    third.load_state_dict(one.state_dict())
    for _ in range(5):
        a, b = one.collect(), third.collect()
        assert torch.equal(a.reward, b.reward)
        assert torch.equal(a.initial_state, b.initial_state)


@pytest.mark.parametrize("kind", ["gru", "tcn"])
def test_a_batch_begins_with_what_the_student_remembers_of_the_episode(recordings, kind):
    student = student_of(kind)
    source = source_of(recordings, student, ticks=5)
    assert (source._tick > 0).any()
    ends = {float(r.reward[t]): (r, t) for r in recordings for t in range(len(r))}
    for _ in range(6):
        batch = source.collect()
        for i in range(batch.num_envs):
            recording, t = ends[float(batch.reward[0, i])]
            if t == 0:
                continue
            past = recording.observations["student"][:t, None]
            never = torch.zeros(t, 1, dtype=torch.bool)
            with torch.no_grad():
                _, state = student(past, student.initial_state(1), never)
            torch.testing.assert_close(batch.initial_state[i], state[0], atol=1e-6, rtol=1e-5)


def test_scores_are_of_episodes_that_were_read_whole(recordings):
    source = source_of(recordings, num_envs=2, ticks=60)
    batch = source.collect()
    whole = {float(r.reward.sum() / source.episode_ticks): r for r in recordings}
    assert len(batch.episodes.score) > 4
    for score, fell in zip(batch.episodes.score, batch.episodes.fell, strict=True):
        recording = min(whole.items(), key=lambda item: abs(item[0] - float(score)))[1]
        assert float(score) == pytest.approx(
            float(recording.reward.sum() / source.episode_ticks), abs=1e-6
        )
        assert fell == recording.terminated[-1]


# ---------------------------------------------------------------------------------- learning


def settings(**changes):
    return DistillConfig(
        **{
            "steps": 120 * 128,
            "num_envs": 8,
            "ticks": 16,
            "terms": (TermConfig(name="policy_kl"),),
            "epochs": 2,
            "minibatches": 2,
            "learning_rate": 1e-2,
            "final_learning_rate": 5e-4,
            **changes,
        }
    )


def linear_batches(count=6):
    """The teacher's action is linear in what the student sees."""
    for batch in make_batches(count):
        mean = 0.5 * batch.observations["student"][..., :2] - 0.2
        batch.labels = (TeacherOutput(Gaussian(mean, torch.full_like(mean, 0.1))),)
        yield batch


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    path = tmp_path_factory.mktemp("linear")
    write_dataset(path, linear_batches(), ACTIONS, name="test/linear-v0")
    return read_dataset(path)


STUDENTS = {"mlp": {}, "gru": {"kind": "gru"}, "whitened": {"whiten": True}}


def started(recordings, kind="mlp", **changes):
    config = settings(**changes)
    source = DatasetSource(recordings, num_envs=config.num_envs, ticks=config.ticks, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = Critic(3, (8,))
    return Distiller(config, student_of(**STUDENTS[kind]), source.teachers, critic, seed=0), source


def distilled(recordings, kind="mlp", **changes):
    distiller, source = started(recordings, kind, **changes)
    return distiller, list(distil_offline(distiller, source))


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_student_reaches_its_teachers_actions_from_data_alone(linear, kind):
    distiller, figures = distilled(linear, kind)
    student = distiller.student
    squares, spread = [], []
    for recording in linear:
        seen = recording.observations["student"][:-1, None]
        never = torch.zeros(seen.shape[:2], dtype=torch.bool)
        with torch.no_grad():
            mode = student(seen, student.initial_state(1), never)[0].mode()[:, 0]
        taught = recording.labels[0].distribution.mode()
        squares.append((mode - taught).square())
        spread.append(taught)
    error, variance = torch.cat(squares).mean(), torch.cat(spread).var()
    assert error < 0.01 * variance
    assert figures[-1]["teacher_queries"] == 0
    assert figures[-1]["steps"] == 120 * 128
    assert figures[-1]["passes"] == pytest.approx(120 * 128 / (6 * TICKS * ENVS))
    assert figures[-1]["terms"]["policy_kl"] < 0.2 * figures[0]["terms"]["policy_kl"]


def test_proximal_has_nothing_to_learn_from_where_nobody_acts(linear):
    weak = TermConfig(name="policy_kl", weight=1e-9)  # a term on data must be among them
    terms = (TermConfig(name="proximal"), weak)
    _, figures = distilled(linear, terms=terms, steps=3 * 128)
    assert [row["terms"]["proximal"] for row in figures] == [0.0] * 3


def test_recorded_teachers_are_weighed_as_the_recipe_says(tmp_path):
    def batches():
        for batch in linear_batches():
            (good,) = batch.labels
            mean = -good.distribution.mean
            bad = TeacherOutput(Gaussian(mean, good.distribution.std))
            batch.labels = (bad, good)
            yield batch

    write_dataset(tmp_path, batches(), ACTIONS, name="test/two-v0")
    recordings = read_dataset(tmp_path)
    weights = MixtureConfig(others=("runs/second",), weights=(0.0, 1.0))
    student = distilled(recordings, teachers=weights, steps=60 * 128)[0].student
    seen = recordings[0].observations["student"][:-1, None]
    mode = student(seen, student.initial_state(1), torch.zeros(seen.shape[:2]).bool())[0].mode()
    bad, good = (said.distribution.mode() for said in recordings[0].labels)
    assert (mode[:, 0] - good).square().mean() < 0.05 * (mode[:, 0] - bad).square().mean()


def test_a_weight_cannot_follow_the_progress_of_a_student_that_does_not_act(linear):
    terms = (TermConfig(name="policy_kl", schedule="progress"),)
    with pytest.raises(DatasetError, match="does not act"):
        distilled(linear, terms=terms)


def test_two_runs_over_the_same_data_are_the_same(linear):
    one, other = (distilled(linear, "gru", steps=5 * 128)[0].student for _ in range(2))
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["gru", "whitened"])
def test_going_on_learns_what_going_through_would_have(linear, kind):
    whole, figures = distilled(linear, kind, steps=6 * 128)
    first, source = started(linear, kind, steps=6 * 128)
    rows = distil_offline(first, source)
    row = [next(rows) for _ in range(3)][-1]
    second, goes_on = started(linear, kind, steps=6 * 128)
    second.load_state_dict(first.state_dict())
    goes_on.load_state_dict(source.state_dict())
    rest = list(distil_offline(second, goes_on, steps_done=row["steps"], seconds=row["seconds"]))
    assert [r["terms"] for r in rest] == [r["terms"] for r in figures[3:]]
    assert rest[-1]["seconds"] > row["seconds"]
    for a, b in zip(
        whole.student.state_dict().values(), second.student.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_terms_that_ask_the_teacher_say_that_there_is_none(linear):
    with pytest.raises(TermError, match=r"\(corrected\): a term asks the teacher about situations"):
        distilled(linear, terms=(TermConfig(name="corrected"),))


def test_a_source_that_does_not_fit_is_refused(linear):
    source = DatasetSource(linear, num_envs=8, ticks=16, seed=0)

    def start(config, teachers):
        distiller = Distiller(config, student_of(), teachers, Critic(3, (8,)), seed=0)
        next(distil_offline(distiller, source))

    with pytest.raises(DatasetError, match="labels of 1 teachers, the distiller 2"):
        start(settings(), [RecordedTeacher(), RecordedTeacher()])
    with pytest.raises(DatasetError, match="16 ticks of 8 columns, the distiller expects 16 of 4"):
        start(settings(num_envs=4), source.teachers)
    terms = (TermConfig(name="policy_kl"), TermConfig(name="value"))
    with pytest.raises(DatasetError, match="gated = false"):
        start(settings(teachers=MixtureConfig(gated=True), terms=terms), source.teachers)


def test_choices_in_other_data_are_cloned(tmp_path):
    recordings = read_dataset(foreign_data(tmp_path, box(4), Discrete(2)))
    config = settings(steps=60 * 128)
    source = DatasetSource(recordings, num_envs=8, ticks=16, seed=0)
    student = make_student(StudentConfig(hidden=(16,)), Interface.plain(4, 2, discrete=True))
    distiller = Distiller(config, student, source.teachers, Critic(4, (8,)), seed=0)
    for figures in distil_offline(distiller, source):
        assert np.isfinite(figures["terms"]["policy_kl"])
    right = []
    for recording in recordings:
        seen = recording.observations["student"][:-1, None]
        never = torch.zeros(seen.shape[:2], dtype=torch.bool)
        mode = student(seen, student.initial_state(1), never)[0].mode()[:, 0]
        right.append(mode == recording.action)
    assert torch.cat(right).float().mean() > 0.95
