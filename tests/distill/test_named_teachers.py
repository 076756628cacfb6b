"""Teachers that a recipe names beside its own: how they are read, weighed, and learnt from."""

import dataclasses
import pickle

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from retort.distill.checkpoint import load_checkpoint
from retort.distill.distill_config import DistillConfig
from retort.distill.experiment import Experiment
from retort.distill.ppo import PPOConfig
from retort.distill.stages import verbs as stages
from retort.distill.stages.finished import load_teachers
from retort.distill.stages.rehearsal import RehearsalError, rehearse
from retort.distill.teachers.foreign import Sb3Teacher
from retort.distill.teachers.mixture import MixtureConfig, teacher_weights
from retort.distill.terms import TermConfig

from .foreign_models import excite, sb3_model

BATCH = 32 * 24
SMALL = Experiment(
    robot="balancer",
    task="balancer",
    teacher=PPOConfig(steps=BATCH * 2, num_envs=32, hidden=(16,), critic_hidden=(16,)),
    distill=DistillConfig(
        steps=BATCH * 4,
        num_envs=32,
        episode_seconds=0.3,
        terms=(TermConfig(name="policy_kl"), TermConfig(name="q_ascent", weight=1e-3)),
    ),
)
ENV = SMALL.world.make_env(2, episode_seconds=0.3)


class Body(gymnasium.Env):
    """What the balancer's teacher sees and does, and nothing that happens."""

    observation_space = Box(-np.inf, np.inf, (ENV.teacher_size,), np.float32)
    action_space = ENV.single_action_space

    def reset(self, *, seed=None, options=None):
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action):
        return np.zeros(self.observation_space.shape, np.float32), 0.0, False, False, {}


@pytest.fixture(scope="module")
def sac(tmp_path_factory):
    """A file of a SAC teacher that says something, and one of statistics."""
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    folder = tmp_path_factory.mktemp("sac")
    model = sb3_model(sb3, "SAC", Body())
    excite(model.actor.latent_pi)
    model.save(folder / "sac.zip")
    normaliser = VecNormalize(DummyVecEnv([Body]))
    normaliser.obs_rms.mean = np.linspace(-1.0, 1.0, ENV.teacher_size)
    normaliser.obs_rms.var = np.full(ENV.teacher_size, 4.0)
    normaliser.save(str(folder / "statistics.pkl"))
    return folder


def taught_by(*others, weights=(), terms=None, **changes):
    mixture = MixtureConfig(others=others, weights=weights)
    changes = {"teachers": mixture, "terms": terms or SMALL.distill.terms, **changes}
    return dataclasses.replace(SMALL, distill=dataclasses.replace(SMALL.distill, **changes))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    stages.train_teacher(SMALL, folder)
    return folder


def test_the_critics_of_a_sac_teach_where_the_runs_own_teacher_has_no_say(own, sac, tmp_path):
    chosen = taught_by(str(sac / "sac.zip"), weights=(0.0, 1.0))
    rehearse(chosen)
    (tmp_path / "teacher").symlink_to(own / "teacher")
    rows = []
    stages.distil_student(chosen, tmp_path, progress=rows.append)
    assert all(np.isfinite(row["terms"]["q_ascent"]) for row in rows)
    assert rows[-1]["terms"]["policy_kl"] < rows[0]["terms"]["policy_kl"]
    saved = load_checkpoint(tmp_path / "distillation" / "checkpoint.safetensors")
    assert saved["learner"]["queries"] == BATCH * 3  # one teacher, and the first batch gives scale


def test_a_teacher_that_has_a_say_must_have_what_terms_need(sac):
    file = str(sac / "sac.zip")
    with pytest.raises(RehearsalError, match=r"distill\.terms\[1\] \(q_ascent\): .* such as SAC"):
        rehearse(taught_by(file, weights=(0.5, 0.5)))
    by_value = MixtureConfig(others=(file,), weighting="value")
    with pytest.raises(RehearsalError, match="1 of 2 teachers give no values"):
        rehearse(taught_by(teachers=by_value, terms=(TermConfig(name="policy_kl"),)))


def test_critics_cannot_be_recorded():
    terms = (TermConfig(name="policy_kl"), TermConfig(name="q_ascent"))
    with pytest.raises(ValueError, match=r"terms\[1\]: q_ascent climbs .* cannot be recorded"):
        DistillConfig(mode="offline", terms=terms)


def test_the_first_teacher_with_a_say_drives(own, sac, monkeypatch):
    from retort.distill.distiller import Distiller

    chosen = taught_by(str(sac / "sac.zip"), weights=(0.0, 1.0), mode="teacher")
    teachers = load_teachers(chosen, own, ENV)
    student, critic = chosen.make_learner(ENV.teacher_size)
    distiller = Distiller(chosen.distill, student, teachers, critic, 0)
    assert [type(each) for each in distiller.teachers] == [Sb3Teacher]
    groups = {"teacher": torch.zeros(3, ENV.teacher_size)}
    action, log_prob, _ = distiller.act_as_teacher(
        groups, torch.zeros(3, 0), torch.ones(3, dtype=torch.bool)
    )
    said, _ = teachers[1]({"teacher": groups["teacher"][None]}, torch.zeros(3, 0), None)
    torch.testing.assert_close(said.distribution.log_prob(action[None])[0], log_prob)


def test_weights_are_those_of_the_teachers_with_a_say():
    config = MixtureConfig(others=("a", "b"), weights=(0.0, 0.25, 0.75))
    assert config.heard(3) == (1, 2)
    weights = teacher_weights(config, torch.zeros(2).long(), [None, None], torch.zeros(2))
    assert weights.tolist() == [[0.25, 0.75]] * 2
    assert MixtureConfig(others=("a",)).heard(2) == (0, 1)


def test_statistics_and_options_of_a_table_reach_the_teacher(own, sac):
    entry = {
        "file": str(sac / "sac.zip"),
        "statistics": str(sac / "statistics.pkl"),
        "std_floor": 0.7,
    }
    plain, normalised = (
        load_teachers(taught_by(other), own, ENV)[1] for other in (str(sac / "sac.zip"), entry)
    )
    assert normalised.std_floor == 0.7
    seen = torch.randn(2, 3, ENV.teacher_size, generator=torch.Generator().manual_seed(0))
    with open(sac / "statistics.pkl", "rb") as file:
        direct = Sb3Teacher(plain.model, pickle.load(file), std_floor=0.7)
    said, expected, unlike = (
        teacher({"teacher": seen}, torch.zeros(3, 0), torch.zeros(2, 3).bool())[0].distribution
        for teacher in (normalised, direct, plain)
    )
    torch.testing.assert_close(said.mean, expected.mean)
    assert not torch.allclose(said.mean, unlike.mean)
    assert said.std.min() >= 0.7


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"file": "a.zip", "noise": 0.1},
            r"others\[0\]: .*'sb3' takes no option 'noise'",
        ),
        ({"file": "a.onnx", "statistics": "s"}, r"'onnx' takes no option 'statistics'"),
        ({"file": "a.pt", "activation": 3}, r"'rsl_rl': activation must be text, got 3"),
        ({"file": "a.pt", "state_dependent_std": "x"}, r"state_dependent_std is 'x'; .*'scalar'"),
        ({"file": "a.bin", "noise_std": 0.1}, r"a\.bin is of kind None; name one of sb3 \(\.zip\)"),
        ({"file": "a.bin", "kind": "jax"}, r"a\.bin is of kind 'jax'; name one of"),
        ({"noise_std": 0.1}, r"name a run folder or a file"),
        ("", r"name a run folder or a file"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_when_it_is_read(entry, words):
    with pytest.raises(ValueError, match=words):
        MixtureConfig(others=(entry,))


def test_what_only_the_files_tell_is_refused_by_their_place(sac, tmp_path):
    file = str(sac / "sac.zip")
    (tmp_path / "no.pkl").write_bytes(b"")
    sb3_model(pytest.importorskip("stable_baselines3"), "SAC", "Pendulum-v1").save(
        tmp_path / "pendulum.zip"
    )
    for entry, words in (
        ("typo.zip", r"others\[1\]: there is no teacher typo\.zip"),
        ({"file": file, "noise_std": 0.0}, r"others\[1\]: noise_std is 0"),
        ({"file": file, "statistics": "typo.pkl"}, r"others\[1\]: .*the statistics typo\.pkl"),
        ({"file": file, "statistics": str(tmp_path / "no.pkl")}, r"the statistics .*no\.pkl"),
        (str(tmp_path / "pendulum.zip"), r"others\[1\]: got observations of \d+ .* expects 3"),
    ):
        with pytest.raises(RehearsalError, match=words):
            rehearse(taught_by("runs/to-come", entry, terms=(TermConfig(name="policy_kl"),)))


def test_a_rehearsal_changes_no_random_stream_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state()
    rehearse(taught_by("runs/to-come", terms=DistillConfig().terms))
    assert torch.equal(torch.get_rng_state(), before)
    assert not list(tmp_path.iterdir())
