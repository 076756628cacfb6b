"""Mode ``offline`` of a recipe: a data set that is named, or what the run's own teacher did."""

import dataclasses
import os
import shutil
import signal
import sys

import pytest
import torch
from gymnasium.spaces import Discrete
from retort.distill.checkpoint import load_checkpoint
from retort.distill.distill_config import DistillConfig
from retort.distill.distributions import Gaussian
from retort.distill.evaluation import EvaluationConfig
from retort.distill.experiment import STUDENT_PARTS, Experiment
from retort.distill.ppo import PPOConfig
from retort.distill.sources.dataset import find_dataset, read_dataset
from retort.distill.sources.recording import DatasetError
from retort.distill.stages import offline as offline_stage
from retort.distill.stages import verbs as stages
from retort.distill.stages.offline import named_data
from retort.distill.stages.rehearsal import RehearsalError, rehearse
from retort.distill.students import StudentConfig
from retort.distill.teachers.mixture import MixtureConfig
from retort.distill.terms import TermConfig
from retort.hardware import RetortError

from .counting import Counting
from .recorded import ACTIONS, box, foreign_data, make_batches

pytest.importorskip("minari")
h5py = pytest.importorskip("h5py")

ENVS, TICKS = 16, 16
BATCH = ENVS * TICKS
OWN = Experiment(
    robot="balancer",
    task="balancer",
    teacher=PPOConfig(
        steps=BATCH * 3, num_envs=ENVS, ticks=TICKS, hidden=(16,), critic_hidden=(16,)
    ),
    student=StudentConfig(kind="gru", hidden=(16,), recurrent=8),
    distill=DistillConfig(
        mode="offline",
        steps=BATCH * 8,
        num_envs=ENVS,
        ticks=TICKS,
        episode_seconds=0.3,
        recorded_steps=BATCH * 2,
        terms=(TermConfig(name="policy_kl"),),
    ),
    evaluation=EvaluationConfig(episodes=3, seconds=0.5, hardest_episodes=4, hardest_seconds=0.5),
)


def changed(**changes):
    return dataclasses.replace(OWN, distill=dataclasses.replace(OWN.distill, **changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    stages.train_teacher(OWN, folder)
    stages.distil_student(OWN, folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A run folder with nothing but a teacher."""
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    return tmp_path


def checkpoint(folder):
    return load_checkpoint(folder / "distillation" / "checkpoint.safetensors")


def same(one, other):
    a, b = ({**checkpoint(folder)["learner"]["student"]} for folder in (one, other))
    return all(torch.equal(a[name], b[name]) for name in a)


def test_without_a_data_set_the_runs_own_teacher_is_recorded_and_labels(finished):
    recordings = read_dataset(finished / "recorded")
    assert sum(map(len, recordings)) == OWN.distill.recorded_steps
    env = OWN.world.make_env(1, episode_seconds=0.3)
    levels = torch.cat([recording.level for recording in recordings])
    assert levels.shape[-1] == len(env.axes)
    assert levels.min() < 0.2
    assert levels.max() > 0.8
    [teacher] = stages.load_teachers(OWN, finished, env)
    for recording in recordings[:5]:
        seen = {group: values[:-1, None] for group, values in recording.observations.items()}
        said, _ = teacher(seen, teacher.initial_state(1), torch.zeros(len(recording), 1).bool())
        [label] = recording.labels
        # Other numbers of rows at once are rounded otherwise.
        torch.testing.assert_close(label.distribution.mean, said.distribution.mean[:, 0])
        off = recording.action - label.distribution.mean
        assert off.abs().mean() > 0.01  # it acts with noise


def test_the_student_of_data_is_exported_and_evaluated_as_any_other(finished):
    assert (stages.export_bundle(OWN, finished) / "manifest.json").is_file()
    assert stages.evaluate(OWN, finished)["hardest"]["episodes"] == 4


def test_nobody_is_asked_but_for_the_recording(finished):
    assert checkpoint(finished)["learner"]["queries"] == 0


def stop_at(key, value):
    def interrupt(figures):
        if figures.get(key, 0) >= value:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


@pytest.mark.parametrize("when", [("done", 1), ("steps", BATCH * 4)])
def test_it_resumes_to_the_bit_in_the_recording_and_after_it(finished, folder, when):
    with pytest.raises(KeyboardInterrupt):
        stages.distil_student(OWN, folder, progress=stop_at(*when))
    assert (folder / "recorded").exists() == (when[0] == "steps")
    stages.distil_student(OWN, folder)
    assert same(finished, folder)
    assert not (folder / "recorded.partial").exists()


def test_what_is_recorded_is_a_data_set_for_others(finished, tmp_path):
    stages.distil_student(changed(dataset=str(finished / "recorded")), tmp_path)
    assert same(finished, tmp_path)  # without a teacher
    assert not (tmp_path / "recorded").exists()


def test_terms_may_ask_the_recorded_teacher_about_other_situations(folder):
    options = {"student": [0, 1], "teacher": [0, 1]}
    terms = (TermConfig(name="saliency", options=options), TermConfig(name="time_attention"))
    stages.distil_student(changed(terms=terms, steps=BATCH), folder)
    assert checkpoint(folder)["steps"] == BATCH


def test_a_teacher_that_remembers_is_recorded_as_it_acts_along_an_episode(folder, monkeypatch):
    monkeypatch.setattr(offline_stage, "load_teachers", lambda *given: [Counting(2)])
    stages.distil_student(changed(steps=5 * ENVS, ticks=5), folder)
    recordings = read_dataset(folder / "recorded")
    assert max(map(len, recordings)) > 5
    for recording in recordings:
        count = torch.arange(1.0, len(recording) + 1)[:, None].expand(-1, 2)
        torch.testing.assert_close(recording.action, count, atol=0.01, rtol=0)
        assert torch.equal(recording.labels[0].distribution.mean, count)


def test_other_recorded_steps_are_recorded_again(folder):
    for steps in (1, 3):
        few = changed(steps=BATCH, recorded_steps=steps * BATCH)
        stages.distil_student(few, folder, fresh=True)
        assert sum(map(len, read_dataset(folder / "recorded"))) == steps * BATCH


def test_what_a_teacher_has_labelled_is_recorded_again_with_another_in_its_place(folder):
    other = folder / "other"
    stages.train_teacher(dataclasses.replace(OWN, seed=2), other)
    pair = changed(steps=BATCH, teachers=MixtureConfig(others=(str(other),)))
    stages.distil_student(pair, folder)
    shutil.rmtree(folder / "distillation")  # as if it had ended with the recording
    stages.train_teacher(dataclasses.replace(OWN, seed=3), other, fresh=True)
    stages.distil_student(pair, folder)
    env = OWN.world.make_env(1, episode_seconds=0.3)
    teacher = stages.load_teachers(pair, folder, env)[1]
    recording = read_dataset(folder / "recorded")[0]
    seen = {group: values[:-1, None] for group, values in recording.observations.items()}
    said, _ = teacher(seen, teacher.initial_state(1), torch.zeros(len(recording), 1).bool())
    torch.testing.assert_close(recording.labels[1].distribution.mean, said.distribution.mean[:, 0])


def test_a_data_set_that_has_changed_is_refused(finished, tmp_path):
    data = tmp_path / "data-set"
    data.symlink_to(finished / "recorded")
    named = changed(dataset=str(data))
    with pytest.raises(KeyboardInterrupt):
        stages.distil_student(named, tmp_path, progress=stop_at("steps", BATCH * 2))
    data.unlink()
    few = changed(steps=BATCH, recorded_steps=BATCH)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "teacher").symlink_to(finished / "teacher")
    stages.distil_student(few, tmp_path / "other")
    data.symlink_to(tmp_path / "other" / "recorded")
    with pytest.raises(DatasetError, match=r"is not what distillation in .* began with"):
        stages.distil_student(named, tmp_path)
    stages.distil_student(named, tmp_path, fresh=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: dataclasses.replace(said, value=said.value + 1.0),
        lambda said: dataclasses.replace(
            said, distribution=Gaussian(said.distribution.mean, said.distribution.std * 2.0)
        ),
        lambda said: dataclasses.replace(said, features={"layer0": said.distribution.mean}),
    ],
    ids=["value", "deviation", "features"],
)
def test_other_words_of_a_teacher_are_another_data_set(finished, change):
    recordings = read_dataset(finished / "recorded")
    relabelled = [
        dataclasses.replace(each, labels=tuple(map(change, each.labels))) for each in recordings
    ]
    assert offline_stage._digest(recordings) == offline_stage._digest([*recordings])
    assert offline_stage._digest(recordings) != offline_stage._digest(relabelled)


def test_a_data_set_is_found_by_its_folder_and_by_its_id(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert find_dataset(str(finished / "recorded")) == finished / "recorded"
    with pytest.raises(DatasetError, match="minari download robot/walk-v0"):
        find_dataset("robot/walk-v0")
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / "walk-v0").symlink_to(finished / "recorded")
    assert find_dataset("robot/walk-v0") == tmp_path / "robot" / "walk-v0"


def test_a_data_set_that_is_missing_or_does_not_fit_is_refused_at_once(tmp_path):
    with pytest.raises(DatasetError, match="there is no data set 'nowhere'"):
        named_data(changed(dataset="nowhere"))
    foreign_data(tmp_path / "short", box(4), ACTIONS)
    with pytest.raises(DatasetError, match="has observations of 4 numbers and the student on"):
        named_data(changed(dataset=str(tmp_path / "short")))
    size = OWN.world.interface().observation_size
    for name, actions, words in (
        ("three", box(3), "has 3 actions and balancer has 2"),
        ("choices", Discrete(2), "has discrete actions and balancer has 2 continuous ones"),
    ):
        wide_data(tmp_path / name, size, actions)
        with pytest.raises(DatasetError, match=words):
            named_data(changed(dataset=str(tmp_path / name)))


def test_whoever_acted_in_a_named_data_set_is_as_sure_as_the_recipe_says(tmp_path):
    data = str(foreign_data(tmp_path, box(3), box(1)))
    with h5py.File(tmp_path / "data" / "main_data.hdf5", "a") as file:
        for episode in file.values():
            seen, did = episode["observations"][:, :3], episode["actions"][:, :1]
            del episode["observations"], episode["actions"]
            episode["observations"], episode["actions"] = seen, did
    for stated, std in ((None, 0.1), (0.4, 0.4)):
        config = DistillConfig(mode="offline", dataset=data, dataset_noise_std=stated)
        experiment = Experiment(environment="Pendulum-v1", distill=config)
        [said] = named_data(experiment)[0].labels
        assert (said.distribution.std == std).all()
        key = experiment.key(STUDENT_PARTS)
        assert ("dataset_noise_std" in key) == (stated is not None)  # or as it was before there was


@pytest.mark.parametrize("name", ["policy_kl", "cross_entropy", "joint"])
def test_what_a_teacher_of_whom_choices_alone_are_known_cannot_say_is_refused_at_once(
    name, tmp_path
):
    data = str(foreign_data(tmp_path / "choices", box(4), Discrete(2)))

    def by(*terms):
        config = DistillConfig(mode="offline", dataset=data, terms=terms)
        return Experiment(environment="CartPole-v1", distill=config)

    reverse = {"direction": "reverse"}
    rehearse(by(TermConfig(name=name)))
    passed_over = TermConfig(name="proximal", options=reverse)  # nobody's own acts are there
    rehearse(by(TermConfig(name=name), passed_over))
    words = rf"distill\.terms\[0\] \({name}\): its loss is .*e\+3\d .* use direction = 'forward'"
    with pytest.raises(RehearsalError, match=words):
        rehearse(by(TermConfig(name=name, options=reverse)))


def test_as_many_teachers_must_be_named_as_have_labelled(finished, tmp_path):
    named = changed(dataset=str(finished / "recorded"), teachers=MixtureConfig(others=("a.zip",)))
    with pytest.raises(DatasetError, match=r"names 1 others, and .* has labels of 1 teachers"):
        stages.distil_student(named, tmp_path)


def wide_data(path, size, actions):
    """A data set of one episode as wide as a student sees."""
    from retort.distill.sources.dataset import write_dataset

    [batch] = make_batches(1)
    shape = batch.reward.shape
    for group in ("student", "teacher"):
        for rows in (batch.observations, batch.final_observations, batch.last_observations):
            rows[group] = torch.zeros(*rows[group].shape[:-1], size)
    batch.labels = None
    discrete = isinstance(actions, Discrete)
    batch.action = torch.zeros(shape).long() if discrete else torch.zeros(*shape, 3)
    write_dataset(path, [batch], actions, name="test/wide-v0")


def test_without_minari_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari.dataset.minari_storage", None)
    with pytest.raises(DatasetError, match=r"pip install '\.\[data\]'"):
        named_data(OWN)
    named_data(changed(mode="student", recorded_steps=DistillConfig.recorded_steps))


def test_a_teacher_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(RetortError, match="retort train"):
        stages.distil_student(OWN, tmp_path)
    assert not (tmp_path / "recorded.partial").exists()
