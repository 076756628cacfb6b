"""Recorded experience comes back as it was, and students learn from it alone."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from retort.distill.batch import TEACHER, Batch, no_episodes
from retort.distill.dataset import read_dataset, write_dataset
from retort.distill.distiller import DistillConfig, Distiller
from retort.distill.distributions import Categorical, Gaussian, TanhGaussian
from retort.distill.mixture import MixtureConfig
from retort.distill.networks import Critic
from retort.distill.offline import DatasetSource, RecordedTeacher, distil_offline
from retort.distill.recording import DatasetError
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teacher import TeacherOutput
from retort.distill.terms import TermConfig

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")

TICKS, ENVS = 20, 6
ACTIONS = Box(-1, 1, (2,), np.float32)


def said_of(observation, family):
    """A teacher that is a plain function of what it sees, (..., 3)."""
    mean, std = torch.tanh(observation[..., :2]), 0.1 + observation[..., 1:].abs()
    value = observation.sum(-1)
    if family == "gaussian":
        return TeacherOutput(Gaussian(mean, std), value, features={"layer0": observation * 2})
    if family == "tanh_gaussian":
        scale = torch.tensor([2.0, 0.5]).expand_as(mean)
        return TeacherOutput(TanhGaussian(mean, std, scale, 0.25), latent=observation[..., :1])
    return TeacherOutput(Categorical(observation), value, q=observation * 3)


class Plain:
    """The function above as a teacher that remembers how long it has been asked."""

    cacheable = False

    def initial_state(self, n):
        return torch.zeros(n, 1)

    def __call__(self, observations, state, resets):
        return said_of(observations["teacher"], "gaussian"), state + len(resets)


def make_batches(count=3, *, family="gaussian", labelled=True, seed=0, axes=2):
    """Batches whose episodes run on from one to the next, as a rollout's do."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    upcoming = {"student": randn(ENVS, 4), "teacher": randn(ENVS, 3)}
    reset = torch.ones(ENVS, dtype=torch.bool)
    for _ in range(count):
        rows = {group: [] for group in upcoming}
        final, index, resets = {group: [] for group in upcoming}, [], []
        ends = torch.rand(TICKS, ENVS, generator=generator)
        terminated, truncated = ends < 0.08, (ends > 0.06) & (ends < 0.15)
        terminated[4, 2] = truncated[4, 2] = True  # both at once
        for t in range(TICKS):
            resets.append(reset)
            done = terminated[t] | truncated[t]
            for group, values in upcoming.items():
                rows[group].append(values)
                after = randn(*values.shape)
                final[group].append(after[done])
                fresh = randn(*values.shape)
                upcoming[group] = torch.where(done[:, None], fresh, after)
            index += [(t, int(i)) for i in done.nonzero()]
            reset = done
        observations = {group: torch.stack(values) for group, values in rows.items()}
        said = said_of(observations["teacher"], family)
        yield Batch(
            observations=observations,
            action=said.distribution.sample(generator),
            log_prob=randn(TICKS, ENVS),
            driver=torch.zeros(ENVS),
            reward=randn(TICKS, ENVS),
            terminated=terminated,
            truncated=truncated,
            reset=torch.stack(resets),
            final_index=torch.tensor(index),
            final_observations={group: torch.cat(values) for group, values in final.items()},
            last_observations=upcoming,
            initial_state=torch.zeros(ENVS, 0),
            level=torch.rand(TICKS, ENVS, axes, generator=generator),
            task=torch.randint(3, (TICKS, ENVS), generator=generator),
            episodes=no_episodes(),
            labels=(said,) if labelled else None,
        )
        upcoming = dict(upcoming)


def expected_episodes(batches):
    """Environment by environment and tick by tick: rows of each episode, and what came after."""
    episodes = []
    for env in range(ENVS):
        rows = []
        for batch in batches:
            final = {tuple(at): k for k, at in enumerate(batch.final_index.tolist())}
            for t in range(TICKS):
                rows.append((batch, t))
                if batch.terminated[t, env] or batch.truncated[t, env]:
                    k = final[t, env]
                    after = {g: v[k] for g, v in batch.final_observations.items()}
                    episodes.append((env, rows, after))
                    rows = []
        if rows:
            after = {g: v[env] for g, v in batches[-1].last_observations.items()}
            episodes.append((env, rows, after))
    return episodes


@pytest.mark.parametrize("family", ["gaussian", "tanh_gaussian", "categorical"])
@pytest.mark.parametrize("axes", [0, 2])
def test_what_is_written_is_read_exactly(tmp_path, family, axes):
    batches = list(make_batches(family=family, axes=axes))
    space = Discrete(3) if family == "categorical" else ACTIONS
    count = write_dataset(tmp_path, iter(batches), space, name="test/exact-v0", keep_features=True)
    recordings = read_dataset(tmp_path)
    expected = expected_episodes(batches)
    assert len(recordings) == count == len(expected)
    found = {float(recording.reward[0]): recording for recording in recordings}
    for env, rows, after in expected:
        first, t0 = rows[0]
        got = found.pop(float(first.reward[t0, env]))
        for name in ("action", "log_prob", "reward", "terminated", "level", "task"):
            want = torch.stack([getattr(batch, name)[t, env] for batch, t in rows])
            assert torch.equal(getattr(got, name), want), name
        truncated = torch.stack([batch.truncated[t, env] for batch, t in rows])
        truncated[-1] |= not got.terminated[-1]  # still running when the recording stopped
        assert torch.equal(got.truncated, truncated)
        for group, values in got.observations.items():
            want = [batch.observations[group][t, env] for batch, t in rows]
            assert torch.equal(values, torch.stack([*want, after[group]]))
        (label,) = got.labels
        for name in label.distribution.__dataclass_fields__:
            want = [getattr(batch.labels[0].distribution, name) for batch, _ in rows]
            if isinstance(want[0], torch.Tensor):
                rows_of_it = [x[t, env] for x, (_, t) in zip(want, rows, strict=True)]
                assert torch.equal(getattr(label.distribution, name), torch.stack(rows_of_it))
        for name in ("value", "q", "latent"):
            want = [getattr(batch.labels[0], name) for batch, _ in rows]
            if want[0] is None:
                assert getattr(label, name) is None
            else:
                rows_of_it = [x[t, env] for x, (_, t) in zip(want, rows, strict=True)]
                assert torch.equal(getattr(label, name), torch.stack(rows_of_it))
        if family == "gaussian":
            torch.testing.assert_close(
                label.features["layer0"], got.observations["teacher"][:-1] * 2
            )
    assert not found


def test_a_squashed_teacher_keeps_its_range(tmp_path):
    (batch,) = make_batches(1, family="tanh_gaussian")
    write_dataset(tmp_path, [batch], ACTIONS, name="test/range-v0")
    recording = read_dataset(tmp_path)[0]
    said = recording.labels[0].distribution
    direct = said_of(recording.observations["teacher"][:-1], "tanh_gaussian").distribution
    torch.testing.assert_close(said.mode(), direct.mode())
    torch.testing.assert_close(said.log_prob(recording.action), direct.log_prob(recording.action))


def test_minari_itself_reads_what_is_written(tmp_path):
    batches = list(make_batches())
    count = write_dataset(
        tmp_path, batches, ACTIONS, name="test/minari-v3", environment="Pendulum-v1"
    )
    data = minari.MinariDataset(tmp_path / "data")
    assert (data.total_episodes, data.total_steps) == (count, 3 * TICKS * ENVS)
    assert data.spec.dataset_id == "test/minari-v3"
    assert data.env_spec.id == "Pendulum-v1"
    for episode in data.iterate_episodes():
        assert data.observation_space["student"].contains(episode.observations["student"][0])
        assert len(episode.infos["teacher0"]["mean"]) == len(episode) + 1
        assert np.isnan(episode.infos["teacher0"]["mean"][-1]).all()


def test_teachers_label_what_has_no_labels_and_remember_from_batch_to_batch(tmp_path):
    class Counting(Plain):
        def __call__(self, observations, state, resets):
            output, after = super().__call__(observations, state, resets)
            value = state.T.expand(resets.shape)
            return TeacherOutput(output.distribution, value), after

    batches = list(make_batches(labelled=False))
    write_dataset(tmp_path, batches, ACTIONS, name="test/asked-v0", teachers=[Plain(), Counting()])
    recordings = read_dataset(tmp_path)
    assert {len(recording.labels) for recording in recordings} == {2}
    for recording in recordings:
        direct = said_of(recording.observations["teacher"][:-1], "gaussian")
        assert torch.equal(recording.labels[0].distribution.mean, direct.distribution.mean)
    values = torch.cat([recording.labels[1].value for recording in recordings])
    assert values.unique().tolist() == [0, TICKS, 2 * TICKS]


def test_without_teachers_whoever_acted_is_recorded(tmp_path):
    (batch,) = make_batches(1, labelled=False)
    write_dataset(tmp_path, [batch], ACTIONS, name="test/acted-v0")
    recordings = read_dataset(tmp_path, noise_std=0.3)
    for recording in recordings:
        assert torch.equal(recording.labels[0].distribution.mean, recording.action)
    levels = torch.cat([recording.level for recording in recordings])
    assert torch.equal(levels.sum(-1).sort().values, batch.level.sum(-1).flatten().sort().values)


# ------------------------------------------------------------------------------------ source


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    write_dataset(path, make_batches(), ACTIONS, name="test/source-v0")
    return read_dataset(path)


def source_of(recordings, **options):
    return DatasetSource(recordings, **{"num_envs": 4, "ticks": 7, "seed": 0, **options})


def student_of(kind="mlp", **config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_student(StudentConfig(kind=kind, hidden=(16,), **config), Interface.plain(4, 2))


def read_columns(recordings, source, batches):
    """The episodes that a source yields, column by column, checked row by row."""
    firsts = {float(r.reward[0]): k for k, r in enumerate(recordings)}
    order = {column: [] for column in range(source.num_envs)}
    running = [None] * source.num_envs
    student = student_of()
    after = None
    for _ in range(batches):
        batch = source.collect(student)
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
    one, other, third = (source_of(recordings, seed=seed) for seed in (3, 3, 4))
    same = [(one.collect(student), other.collect(student)) for _ in range(5)]
    for a, b in same:
        assert torch.equal(a.reward, b.reward)
        assert torch.equal(a.initial_state, b.initial_state)
    assert not torch.equal(third.collect(student).reward, same[0][0].reward)
    third.load_state_dict(one.state_dict())
    for _ in range(5):
        a, b = one.collect(student), third.collect(student)
        assert torch.equal(a.reward, b.reward)
        assert torch.equal(a.initial_state, b.initial_state)


@pytest.mark.parametrize("kind", ["gru", "tcn"])
def test_a_batch_begins_with_what_the_student_remembers_of_the_episode(recordings, kind):
    student = student_of(kind)
    source = source_of(recordings, ticks=5)
    assert (source._tick > 0).any()
    ends = {float(r.reward[t]): (r, t) for r in recordings for t in range(len(r))}
    for _ in range(6):
        batch = source.collect(student)
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
    batch = source.collect(student_of())
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


def distilled(recordings, kind="mlp", **changes):
    config = settings(**changes)
    source = DatasetSource(recordings, num_envs=config.num_envs, ticks=config.ticks, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = Critic(3, (8,))
    distiller = Distiller(config, student_of(kind), source.teachers, critic, seed=0)
    return distiller, list(distil_offline(distiller, source))


@pytest.mark.parametrize("kind", ["mlp", "gru"])
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


def test_two_runs_over_the_same_data_are_the_same(linear):
    one, other = (distilled(linear, "gru", steps=5 * 128)[0].student for _ in range(2))
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_terms_that_ask_the_teacher_say_that_there_is_none(linear):
    with pytest.raises(DatasetError, match="asks the teacher about situations"):
        distilled(linear, terms=(TermConfig(name="corrected"), TermConfig(name="rl")))


def test_a_source_that_does_not_fit_is_refused(linear):
    source = DatasetSource(linear, num_envs=8, ticks=16, seed=0)

    def start(config, teachers):
        distiller = Distiller(config, student_of(), teachers, Critic(3, (8,)), seed=0)
        next(distil_offline(distiller, source))

    with pytest.raises(DatasetError, match="labels of 1 teachers, the distiller 2"):
        start(settings(), [RecordedTeacher(), RecordedTeacher()])
    with pytest.raises(DatasetError, match="16 ticks of 8 columns, the distiller expects 16 of 4"):
        start(settings(num_envs=4), source.teachers)
    with pytest.raises(DatasetError, match="gated = false"):
        start(settings(teachers=MixtureConfig(gated=True)), source.teachers)


# --------------------------------------------------------------------- other people's data


def foreign_data(path, observations, actions, episodes=4):
    """A data set as Minari writes it for anyone, without labels; the episodes just stop."""
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    rng = np.random.default_rng(0)
    path.mkdir(exist_ok=True)
    storage = MinariStorage.new(path / "data", observation_space=observations, action_space=actions)
    storage.update_metadata({"dataset_id": "someone/else-v0"})
    for _ in range(episodes):
        seen = rng.normal(size=(41, 4)).astype(np.float32)
        if isinstance(actions, Discrete):
            action = (seen[:-1, 0] > 0).astype(np.int64)
        else:
            action = 0.5 * seen[:-1, :2]
        whole = {"goal": seen[:, 2:], "at": seen[:, :2]}
        storage.update_episodes(
            [
                EpisodeBuffer(
                    observations=whole if isinstance(observations, gymnasium.spaces.Dict) else seen,
                    actions=action,
                    rewards=np.ones(40),
                    terminations=np.zeros(40, dtype=bool),
                    truncations=np.zeros(40, dtype=bool),
                )
            ]
        )
    return path


def box(size):
    return Box(-np.inf, np.inf, (size,), np.float32)


def test_whoever_acted_in_other_data_is_the_teacher(tmp_path):
    recordings = read_dataset(foreign_data(tmp_path, box(4), ACTIONS), noise_std=0.2)
    assert len(recordings) == 4
    for recording in recordings:
        said = recording.labels[0].distribution
        assert torch.equal(said.mean, recording.action)
        assert (said.std == 0.2).all()
        assert torch.equal(recording.observations["student"], recording.observations["teacher"])
        assert recording.truncated.tolist() == [False] * 39 + [True]


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


def test_several_observations_of_other_data_are_put_side_by_side(tmp_path):
    space = gymnasium.spaces.Dict({"at": box(2), "goal": box(2)})
    apart = read_dataset(foreign_data(tmp_path / "apart", space, ACTIONS))
    flat = read_dataset(foreign_data(tmp_path / "flat", box(4), ACTIONS))
    for a, b in zip(apart, flat, strict=True):
        assert torch.equal(a.observations["student"], b.observations["student"])


def test_mistakes_say_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="there are no batches"):
        write_dataset(tmp_path, [], ACTIONS, name="test/none-v0")
    with pytest.raises(DatasetError, match="name it like robot/walk-v0"):
        write_dataset(tmp_path, make_batches(), ACTIONS, name="walk")
    write_dataset(tmp_path, make_batches(1), ACTIONS, name="test/taken-v0")
    with pytest.raises(DatasetError, match="already a data set"):
        write_dataset(tmp_path, make_batches(1), ACTIONS, name="test/taken-v0")
    with pytest.raises(DatasetError, match="noise_std is 0"):
        read_dataset(tmp_path, noise_std=0)
    strange = foreign_data(tmp_path / "strange", box(4), gymnasium.spaces.MultiBinary(2))
    with pytest.raises(DatasetError, match="expected a Box of one axis or Discrete"):
        read_dataset(strange)
