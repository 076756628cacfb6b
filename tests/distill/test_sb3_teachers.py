"""Teachers by Stable-Baselines3 say what the library says of the same observations."""

import os
import pickle
import zipfile

import gymnasium
import numpy as np
import pytest
import torch
from retort.distill.distributions import Categorical, Gaussian, TanhGaussian
from retort.distill.losses import policy_kl
from retort.distill.teachers import ValuesOf
from retort.distill.teachers.foreign import ForeignTeacherError, Sb3Teacher, load_teacher_file

from .foreign_models import ENVS, TICKS, Space, ask, excite, rows, sb3_model, sequence


@pytest.fixture(scope="module")
def sb3():
    return pytest.importorskip("stable_baselines3")


@pytest.mark.parametrize("name", ["PPO", "A2C"])
@pytest.mark.parametrize("sde", [False, True])
def test_sb3_actor_critic_gives_its_distribution_and_value(sb3, name, sde):
    model = sb3_model(sb3, name, Space(), gamma=0.9, use_sde=sde)
    excite(model.policy)
    seen = sequence()
    teacher = Sb3Teacher(model)
    said = ask(teacher, seen)
    low, high = model.action_space.low, model.action_space.high
    predicted, _ = model.predict(rows(seen).numpy(), deterministic=True)
    np.testing.assert_allclose(
        rows(said.distribution.mode()).numpy().clip(low, high), predicted, rtol=1e-5
    )
    assert isinstance(said.distribution, Gaussian)
    action = torch.randn(TICKS, ENVS, 2, generator=torch.Generator().manual_seed(2))
    value, log_prob, _ = model.policy.evaluate_actions(rows(seen), rows(action))
    torch.testing.assert_close(rows(said.distribution.log_prob(action)), log_prob)
    torch.testing.assert_close(rows(said.value), 0.1 * value.squeeze(-1))
    assert teacher.values_of == ValuesOf(0.9)
    assert [layer.shape[-1] for layer in said.features.values()] == [16, 8]


def test_sb3_squashed_actor_critic_stays_in_the_range_of_actions(sb3):
    model = sb3.PPO(
        "MlpPolicy", Space(), use_sde=True, policy_kwargs={"squash_output": True}, device="cpu"
    )
    excite(model.policy)
    seen = sequence()
    said = ask(Sb3Teacher(model), seen)
    assert isinstance(said.distribution, TanhGaussian)
    predicted, _ = model.predict(rows(seen).numpy(), deterministic=True)
    np.testing.assert_allclose(rows(said.distribution.mode()).numpy(), predicted, atol=1e-5)


def test_sb3_choices_have_its_probabilities(sb3):
    model = sb3_model(sb3, "PPO", "CartPole-v1")
    excite(model.policy)
    seen = sequence()
    said = ask(Sb3Teacher(model), seen)
    assert isinstance(said.distribution, Categorical)
    theirs = model.policy.get_distribution(rows(seen)).distribution.probs
    torch.testing.assert_close(rows(said.distribution.log_probs.exp()), theirs)


@pytest.mark.parametrize("sde", [False, True])
def test_sb3_sac_is_squashed_into_the_range_and_brings_its_critics(sb3, sde):
    model = sb3_model(sb3, "SAC", Space(), gamma=0.9, use_sde=sde)
    excite(model.actor)
    excite(model.critic)
    if not sde:  # deviations of about 0.4, so that densities can be compared in float32
        model.actor.log_std.weight.data *= 0.05
        model.actor.log_std.bias.data[:] = -1.0
    seen = sequence()
    said = ask(Sb3Teacher(model), seen)
    assert isinstance(said.distribution, TanhGaussian)
    predicted, _ = model.predict(rows(seen).numpy(), deterministic=True)
    np.testing.assert_allclose(rows(said.distribution.mode()).numpy(), predicted, atol=1e-5)
    # Density of the action in its own range, against the library's in [-1, 1].
    squashed = 0.8 * torch.tanh(sequence(2))
    action = torch.tensor([1.0, 0.25]) + torch.tensor([2.0, 0.25]) * squashed
    mean, log_std, keywords = model.actor.get_action_dist_params(rows(seen))
    theirs = model.actor.action_dist.proba_distribution(mean, log_std, **keywords)
    width = torch.log(torch.tensor(2.0 * 0.25))
    torch.testing.assert_close(
        rows(said.distribution.log_prob(action)),
        theirs.log_prob(rows(squashed)) - width,
        rtol=1e-4,
        atol=1e-3,
    )
    q = torch.stack(model.critic(rows(seen), rows(squashed)))[..., 0]
    torch.testing.assert_close(said.critics(action).flatten(1), 0.1 * q, rtol=1e-4, atol=1e-5)
    chosen = said.select((slice(None), torch.tensor([3, 1])))
    torch.testing.assert_close(
        chosen.critics(action[:, [3, 1]]), said.critics(action)[:, :, [3, 1]]
    )
    assert said.value is None


@pytest.mark.parametrize("floor", [None, 0.2])
def test_sb3_a_saturated_actor_does_not_claim_to_be_certain(sb3, floor):
    """Its actions barely vary at the ends of their range, however unsure it is before squashing."""
    model = sb3_model(sb3, "SAC", Space())
    model.actor.mu.weight.data[:] = 0.0
    model.actor.mu.bias.data[:] = torch.tensor([9.0, -9.0])
    said = ask(Sb3Teacher(model, std_floor=floor), sequence()).distribution
    std = (floor or 0.05) * torch.tensor([2.0, 0.25])  # of half the range
    torch.testing.assert_close(said.after_squashing().std, std.expand(said.mean.shape))
    student = Gaussian(said.mode() + std, std.expand(said.mean.shape))  # one deviation off
    kl = policy_kl(said.after_squashing(), student, "reverse")
    torch.testing.assert_close(kl, torch.ones_like(kl), rtol=1e-2, atol=0.0)


def test_sb3_critics_pull_an_action_uphill(sb3):
    model = sb3_model(sb3, "SAC", Space())
    excite(model.critic)
    said = ask(Sb3Teacher(model), sequence())
    action = said.distribution.mode().clone().requires_grad_()
    said.critics(action).min(0).values.sum().backward()
    assert (action.grad.abs() > 0).any(-1).all()
    beyond = action.detach() + 9.0  # of which the critics have seen nothing
    torch.testing.assert_close(said.critics(beyond), said.critics(beyond + 1.0))


@pytest.mark.parametrize("name", ["TD3", "DDPG"])
def test_sb3_deterministic_actors_get_the_stated_noise(sb3, name):
    model = sb3_model(sb3, name, Space(), gamma=0.9)
    excite(model.actor)
    seen = sequence()
    said = ask(Sb3Teacher(model, noise_std=0.2), seen)
    predicted, _ = model.predict(rows(seen).numpy(), deterministic=True)
    np.testing.assert_allclose(rows(said.distribution.mode()).numpy(), predicted, atol=1e-5)
    assert (said.distribution.std == 0.2).all()
    with torch.no_grad():
        q = torch.stack(model.critic(rows(seen), model.actor(rows(seen)))).min(0).values[:, 0]
    torch.testing.assert_close(rows(said.value), 0.1 * q)
    assert [layer.shape[-1] for layer in said.features.values()] == [16, 8]


def test_sb3_dqn_gives_q_values_and_their_softmax(sb3):
    model = sb3_model(sb3, "DQN", "CartPole-v1", gamma=0.9)
    excite(model.q_net)
    seen = sequence()
    said = ask(Sb3Teacher(model, temperature=0.5), seen)
    q = 0.1 * model.q_net(rows(seen))
    torch.testing.assert_close(rows(said.q), q)
    torch.testing.assert_close(rows(said.distribution.log_probs), (q / 0.5).log_softmax(-1))
    torch.testing.assert_close(rows(said.value), q.max(-1).values)
    predicted, _ = model.predict(rows(seen).numpy(), deterministic=True)
    np.testing.assert_array_equal(rows(said.distribution.mode()).numpy(), predicted)


@pytest.mark.parametrize(
    ("name", "world", "option"),
    [("PPO", "CartPole-v1", "std_floor"), ("SAC", "Pendulum-v1", "noise_std")],
)
def test_sb3_options_that_do_nothing_are_refused(sb3, name, world, option):
    with pytest.raises(ForeignTeacherError, match=rf"{option} is 0.1 and does nothing .* {name}"):
        Sb3Teacher(sb3_model(sb3, name, world), **{option: 0.1})


def test_sb3_statistics_normalise_observations_and_scale_values_back(sb3, tmp_path):
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    env = VecNormalize(DummyVecEnv([Space]), gamma=0.9, clip_obs=2.0)
    model = sb3_model(sb3, "PPO", env, gamma=0.9, n_steps=64, batch_size=64, n_epochs=1)
    model.learn(64)
    excite(model.policy)
    model.save(tmp_path / "model.zip")
    env.save(str(tmp_path / "statistics.pkl"))
    teacher = load_teacher_file(tmp_path / "model.zip", statistics=tmp_path / "statistics.pkl")
    seen = sequence(scale=3.0)  # far enough for clipping
    said = ask(teacher, seen)
    normalised = env.normalize_obs(rows(seen).numpy())
    assert (np.abs(normalised) == 2.0).any()
    predicted = model.policy.get_distribution(torch.from_numpy(normalised)).distribution.mean
    torch.testing.assert_close(rows(said.distribution.mode()), predicted)
    value = model.policy.predict_values(torch.from_numpy(normalised)).squeeze(-1)
    scale = float(np.sqrt(env.ret_rms.var + env.epsilon))
    assert scale > 1.5  # rewards of 3 in a row were scaled down
    torch.testing.assert_close(rows(said.value), 0.1 * scale * value)


@pytest.mark.parametrize("name", ["PPO", "A2C", "SAC", "TD3", "DDPG", "DQN"])
def test_sb3_files_say_what_they_are(sb3, name, tmp_path):
    model = sb3_model(sb3, name, "CartPole-v1" if name == "DQN" else "Pendulum-v1")
    model.save(tmp_path / "model.zip")
    before = torch.get_rng_state()
    teacher = load_teacher_file(tmp_path / "model.zip")
    assert torch.equal(torch.get_rng_state(), before)
    seen = sequence(teacher.observation_size)
    loaded, direct = ask(teacher, seen), ask(Sb3Teacher(model), seen)
    torch.testing.assert_close(loaded.distribution.mode(), direct.distribution.mode())
    assert isinstance(model, type(teacher.model))


def test_sb3_gradients_reach_the_observations(sb3):
    model = sb3_model(sb3, "PPO", Space())
    excite(model.policy)
    seen = sequence().requires_grad_()
    ask(Sb3Teacher(model), seen).distribution.mode().sum().backward()
    assert (seen.grad.abs().sum(-1) > 0).all()


def test_sb3_spaces_that_no_student_has_are_refused(sb3):
    model = sb3_model(sb3, "PPO", Space(gymnasium.spaces.MultiDiscrete([2, 3])))
    with pytest.raises(ForeignTeacherError, match="MultiDiscrete"):
        Sb3Teacher(model)


def test_a_zip_file_of_something_else_is_refused(sb3, tmp_path):
    (tmp_path / "model.zip").write_bytes(b"nothing")
    with pytest.raises(ForeignTeacherError, match="not a model of Stable-Baselines3"):
        load_teacher_file(tmp_path / "model.zip")
    with pytest.raises(ForeignTeacherError, match="use one of PPO, A2C"):
        load_teacher_file(tmp_path / "model.zip", algorithm="TQC")


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def test_statistics_run_the_code_they_hold_so_that_one_must_trust_them(sb3, tmp_path):
    sb3_model(sb3, "PPO", Space()).save(tmp_path / "model.zip")
    statistics, made = tmp_path / "statistics.pkl", tmp_path / "made"
    statistics.write_bytes(pickle.dumps(Harmful(made)))
    load_teacher_file(tmp_path / "model.zip", statistics=statistics)
    assert made.is_dir()


def test_statistics_of_something_else_are_refused(sb3, tmp_path):
    sb3_model(sb3, "PPO", Space()).save(tmp_path / "model.zip")
    statistics = tmp_path / "statistics.pkl"
    for contents, message in (
        (pickle.dumps({"mean": 0.0}), "got statistics of dict, expected VecNormalize"),
        (b"nothing", "cannot read"),
    ):
        statistics.write_bytes(contents)
        with pytest.raises(ForeignTeacherError, match=message):
            load_teacher_file(tmp_path / "model.zip", statistics=statistics)


def test_statistics_of_another_width_are_refused(sb3, tmp_path):
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    class Wide(Space):
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (9,), np.float32)

        def reset(self, **_):
            return np.zeros(9, np.float32), {}

    sb3_model(sb3, "PPO", Space()).save(tmp_path / "model.zip")
    VecNormalize(DummyVecEnv([Wide])).save(tmp_path / "wide.pkl")
    with pytest.raises(ForeignTeacherError, match="statistics are of 9 numbers and the model sees"):
        load_teacher_file(tmp_path / "model.zip", statistics=tmp_path / "wide.pkl")


def test_a_file_that_does_not_say_its_algorithm_is_asked_about(sb3, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(ForeignTeacherError, match="say which with the option algorithm"):
        load_teacher_file(tmp_path / "model.zip")
