"""Recorded experience comes back as it was, ours and other people's."""

import sys
from collections import OrderedDict
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from retort.distill.sources.dataset import read_dataset, write_dataset
from retort.distill.sources.flat import flat, space_as_written
from retort.distill.sources.offline import DatasetSource
from retort.distill.sources.recording import DatasetError
from retort.distill.teachers import TeacherOutput, ValuesOf
from retort.hardware.checks import RangeError

from .recorded import ACTIONS, ENVS, TICKS, box, foreign_data, make_batches, said_of

minari = pytest.importorskip("minari")
h5py = pytest.importorskip("h5py")


class Plain:
    """The function above as a teacher that remembers how long it has been asked."""

    def initial_state(self, n):
        return torch.zeros(n, 1)

    def __call__(self, observations, state, resets):
        return said_of(observations["teacher"], "gaussian"), state + len(resets)


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
            else:
                assert getattr(label.distribution, name) == pytest.approx(want[0]), name
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
    torch.testing.assert_close(said.after_squashing().std, direct.after_squashing().std)


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

    class Known(Counting):
        values_of = ValuesOf(0.9, 2.0)

    batches = list(make_batches(labelled=False))
    write_dataset(tmp_path, batches, ACTIONS, name="test/asked-v0", teachers=[Plain(), Known()])
    recordings = read_dataset(tmp_path)
    source = DatasetSource(recordings, num_envs=2, ticks=2, seed=0)
    assert [teacher.values_of for teacher in source.teachers] == [None, ValuesOf(0.9, 2.0)]
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


def test_whoever_acted_in_other_data_is_the_teacher(tmp_path):
    recordings = read_dataset(foreign_data(tmp_path, box(4), ACTIONS), noise_std=0.2)
    assert len(recordings) == 4
    for recording in recordings:
        said = recording.labels[0].distribution
        assert torch.equal(said.mean, recording.action)
        assert (said.std == 0.2).all()
        assert torch.equal(recording.observations["student"], recording.observations["teacher"])
        assert recording.truncated.tolist() == [False] * 39 + [True]


def parts_as(*order):
    return gymnasium.spaces.Dict(OrderedDict((name, box(2)) for name in order))


@pytest.mark.parametrize(
    ("space", "columns"),
    [
        (gymnasium.spaces.Dict({"goal": box(2), "at": box(2)}), [0, 1, 2, 3]),  # sorts a dict
        (parts_as("at", "goal"), [0, 1, 2, 3]),
        (parts_as("goal", "at"), [2, 3, 0, 1]),
        (gymnasium.spaces.Dict(OrderedDict(deep=parts_as("goal", "at"))), [2, 3, 0, 1]),
    ],
)
def test_parts_of_other_data_stand_as_the_environment_flattens_them(tmp_path, space, columns):
    apart = read_dataset(foreign_data(tmp_path / "apart", space, ACTIONS))
    flat = read_dataset(foreign_data(tmp_path / "flat", box(4), ACTIONS))
    for a, b in zip(apart, flat, strict=True):
        assert torch.equal(a.observations["student"], b.observations["student"][:, columns])


def test_what_is_counted_becomes_what_gymnasium_makes_of_it():
    from minari.serialization import serialize_space

    space = gymnasium.spaces.Tuple(
        [
            Discrete(3, start=-1),
            gymnasium.spaces.MultiDiscrete([2, 4]),
            gymnasium.spaces.MultiBinary(3),
            gymnasium.spaces.Dict(OrderedDict(b=box(2), a=Box(0, 255, (2, 2), np.uint8))),
        ]
    )
    space.seed(0)
    seen = [space.sample() for _ in range(20)]
    rows = tuple(np.stack([each[i] for each in seen]) for i in range(3))
    deep = {key: np.stack([each[3][key] for each in seen]) for key in "ab"}
    expected = np.stack([gymnasium.spaces.flatten(space, each) for each in seen])
    written = space_as_written(serialize_space(space))
    np.testing.assert_array_equal(flat(written, (*rows, deep)), expected)
    with pytest.raises(ValueError, match="none of its 3 values"):
        flat(Discrete(3), np.array([0, 3]))
    with pytest.raises(ValueError, match="no numbers that a student could see"):
        flat(gymnasium.spaces.Text(3), np.array(["a"]))


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
    with pytest.raises(RangeError, match="noise_std is 0"):
        read_dataset(tmp_path, noise_std=0)
    strange = foreign_data(tmp_path / "strange", box(4), gymnasium.spaces.MultiBinary(2))
    with pytest.raises(DatasetError, match="expected a Box of one axis or Discrete"):
        read_dataset(strange)


@pytest.mark.parametrize(
    ("column", "row", "words"),
    [
        ("observations", 7, r"episode 2 of .* has observations \(student\) .* first in tick 7; le"),
        ("actions", 3, r"episode 2 of .* has actions that are not finite, at first in tick 3"),
        ("rewards", 0, r"episode 2 of .* has rewards that are not finite, at first in tick 0"),
    ],
)
def test_what_is_not_finite_in_other_data_is_found_with_its_place(tmp_path, column, row, words):
    path = foreign_data(tmp_path, box(4), ACTIONS)
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        file[f"episode_2/{column}"][row] = np.nan
    with pytest.raises(DatasetError, match=words):
        read_dataset(path)


def test_choices_that_there_are_not_and_data_without_episodes(tmp_path):
    path = foreign_data(tmp_path / "wrong", box(4), Discrete(2))
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        file["episode_1/actions"][5] = 2
    with pytest.raises(DatasetError, match=r"episode 1 of .* none of its 2 choices; leave it out"):
        read_dataset(path)
    assert read_dataset(foreign_data(tmp_path / "none", box(4), ACTIONS, episodes=0)) == []


def test_a_deviation_that_would_be_nobody_s_is_refused(tmp_path):
    write_dataset(tmp_path / "ours", make_batches(1), ACTIONS, name="test/said-v0")
    foreign_data(tmp_path / "choices", box(4), Discrete(2))
    for name, words in (("ours", "there are teachers' labels"), ("choices", "are discrete")):
        with pytest.raises(DatasetError, match=rf"noise_std is 0.3 and does nothing .*{words}"):
            read_dataset(tmp_path / name, noise_std=0.3)


def test_choices_are_recorded_as_the_environment_calls_them_and_read_from_0(tmp_path):
    batches = list(make_batches(family="categorical"))
    write_dataset(tmp_path / "ours", batches, Discrete(3, start=-1), name="test/choices-v0")
    data = minari.MinariDataset(tmp_path / "ours" / "data")
    written = np.concatenate([episode.actions for episode in data.iterate_episodes()])
    assert set(written.tolist()) == {-1, 0, 1}
    taken = torch.cat([batch.action.flatten() for batch in batches])
    read = torch.cat([recording.action for recording in read_dataset(tmp_path / "ours")])
    assert torch.equal(read.bincount(), taken.bincount())
    one_on = foreign_data(tmp_path / "theirs", box(4), Discrete(2, start=1))
    for recording in read_dataset(one_on):
        right = (recording.observations["student"][:-1, 0] > 0).long()
        assert torch.equal(recording.action, right)
        assert torch.equal(recording.labels[0].distribution.mode(), right)


def test_the_folder_of_the_data_itself_may_be_named_too(tmp_path):
    path = foreign_data(tmp_path, box(4), ACTIONS)
    whole, inner = read_dataset(path), read_dataset(path / "data")
    assert [len(recording) for recording in whole] == [len(recording) for recording in inner]


def test_a_full_disk_and_a_missing_library_say_what_helps(tmp_path, monkeypatch):
    from minari.dataset.minari_storage import MinariStorage

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MinariStorage, "update_episodes", full)
        patch.setattr(MinariStorage, "update_metadata", full)
        with pytest.raises(DatasetError, match=r"No space left on device.*make room"):
            write_dataset(tmp_path, make_batches(1), ACTIONS, name="test/full-v0")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DatasetError, match=r"pip install '\.\[data\]'"):
        read_dataset(tmp_path)


def test_a_folder_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    count = write_dataset(Path("here") / "data-set", make_batches(), ACTIONS, name="test/here-v0")
    assert len(read_dataset(Path("here") / "data-set")) == count
