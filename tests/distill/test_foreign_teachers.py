"""Teachers that are not ours say what their own libraries say of the same observations."""

import gymnasium
import numpy as np
import onnx
import pytest
import torch
from gymnasium.spaces import Box
from onnx import TensorProto, helper, numpy_helper
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distiller import DistillConfig, Distiller, distil
from retort.distill.distributions import Categorical, Gaussian, TanhGaussian
from retort.distill.foreign import ForeignTeacherError, RslRlConfig, Sb3Teacher, load_teacher_file
from retort.distill.networks import Critic
from retort.distill.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.terms import TermConfig
from retort.sim.wrapped import WrappedEnv

TICKS, ENVS = 3, 5
NEVER = torch.zeros(TICKS, ENVS, dtype=torch.bool)


class Space(gymnasium.Env):
    """Nothing but an action space that is not symmetric, and four observations."""

    observation_space = Box(-np.inf, np.inf, (4,), np.float32)

    def __init__(self, actions=None):
        default = Box(np.float32([-1, 0]), np.float32([3, 0.5]), dtype=np.float32)
        self.action_space = actions or default

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(size=4).astype(np.float32), {}

    def step(self, action):
        return self.np_random.normal(size=4).astype(np.float32), 3.0, False, False, {}


def ask(teacher, observation):
    output, state = teacher({"teacher": observation}, teacher.initial_state(ENVS), NEVER)
    assert state.shape == (ENVS, 0)
    assert output.distribution.batch_shape == (TICKS, ENVS)
    return output


def sequence(size=4, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(TICKS, ENVS, size, generator=generator)


def rows(tensor):
    return tensor.flatten(0, 1)


@pytest.fixture(scope="module")
def sb3():
    return pytest.importorskip("stable_baselines3")


def make(sb3, name, env, **options):
    if name not in ("PPO", "A2C"):
        options = {"buffer_size": 10, **options}
    with torch.random.fork_rng():
        return getattr(sb3, name)(
            "MlpPolicy",
            env,
            seed=0,
            device="cpu",
            policy_kwargs={"net_arch": [16, 8]},
            **options,
        )


def excite(module):
    """Weights large enough for outputs to differ from observation to observation."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data.copy_(0.7 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("name", ["PPO", "A2C"])
@pytest.mark.parametrize("sde", [False, True])
def test_sb3_actor_critic_gives_its_distribution_and_value(sb3, name, sde):
    model = make(sb3, name, Space(), gamma=0.9, use_sde=sde)
    excite(model.policy)
    seen = sequence()
    said = ask(Sb3Teacher(model), seen)
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
    model = make(sb3, "PPO", "CartPole-v1")
    excite(model.policy)
    seen = sequence()
    said = ask(Sb3Teacher(model), seen)
    assert isinstance(said.distribution, Categorical)
    theirs = model.policy.get_distribution(rows(seen)).distribution.probs
    torch.testing.assert_close(rows(said.distribution.log_probs.exp()), theirs)


@pytest.mark.parametrize("sde", [False, True])
def test_sb3_sac_is_squashed_into_the_range_and_brings_its_critics(sb3, sde):
    model = make(sb3, "SAC", Space(), gamma=0.9, use_sde=sde)
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


def test_sb3_critics_pull_an_action_uphill(sb3):
    model = make(sb3, "SAC", Space())
    excite(model.critic)
    said = ask(Sb3Teacher(model), sequence())
    action = said.distribution.mode().clone().requires_grad_()
    said.critics(action).min(0).values.sum().backward()
    assert (action.grad.abs() > 0).any(-1).all()


@pytest.mark.parametrize("name", ["TD3", "DDPG"])
def test_sb3_deterministic_actors_get_the_stated_noise(sb3, name):
    model = make(sb3, name, Space(), gamma=0.9)
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
    model = make(sb3, "DQN", "CartPole-v1", gamma=0.9)
    excite(model.q_net)
    seen = sequence()
    said = ask(Sb3Teacher(model, temperature=0.5), seen)
    q = 0.1 * model.q_net(rows(seen))
    torch.testing.assert_close(rows(said.q), q)
    torch.testing.assert_close(rows(said.distribution.log_probs), (q / 0.5).log_softmax(-1))
    torch.testing.assert_close(rows(said.value), q.max(-1).values)
    predicted, _ = model.predict(rows(seen).numpy(), deterministic=True)
    np.testing.assert_array_equal(rows(said.distribution.mode()).numpy(), predicted)


def test_sb3_statistics_normalise_observations_and_scale_values_back(sb3, tmp_path):
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    env = VecNormalize(DummyVecEnv([Space]), gamma=0.9, clip_obs=2.0)
    model = make(sb3, "PPO", env, gamma=0.9, n_steps=64, batch_size=64, n_epochs=1)
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
    model = make(sb3, name, "CartPole-v1" if name == "DQN" else "Pendulum-v1")
    model.save(tmp_path / "model.zip")
    before = torch.get_rng_state()
    teacher = load_teacher_file(tmp_path / "model.zip")
    assert torch.equal(torch.get_rng_state(), before)
    seen = sequence(teacher.observation_size)
    loaded, direct = ask(teacher, seen), ask(Sb3Teacher(model), seen)
    torch.testing.assert_close(loaded.distribution.mode(), direct.distribution.mode())
    assert isinstance(model, type(teacher.model))


def test_sb3_gradients_reach_the_observations(sb3):
    model = make(sb3, "PPO", Space())
    excite(model.policy)
    seen = sequence().requires_grad_()
    ask(Sb3Teacher(model), seen).distribution.mode().sum().backward()
    assert (seen.grad.abs().sum(-1) > 0).all()


def test_a_teacher_only_teaches_where_it_was_trained(sb3):
    teacher = Sb3Teacher(make(sb3, "SAC", "Pendulum-v1"))
    teacher.check(WrappedEnv("Pendulum-v1"))
    with pytest.raises(ForeignTeacherError, match=r"got observations of 2 .* expects 3"):
        teacher.check(WrappedEnv("MountainCarContinuous-v0"))
    with pytest.raises(ForeignTeacherError, match=r"got observations of 4 .* expects 3"):
        ask(teacher, sequence(4))
    widened = Sb3Teacher(make(sb3, "SAC", Space()))
    with pytest.raises(ForeignTeacherError, match=r"actions are Box.*Discrete"):
        widened.check(WrappedEnv("CartPole-v1"))
    with pytest.raises(ForeignTeacherError, match="there are teacher"):
        Sb3Teacher(make(sb3, "SAC", Space()), group="critic")(
            {"teacher": sequence()}, torch.zeros(ENVS, 0), NEVER
        )


def test_sb3_spaces_that_no_student_has_are_refused(sb3):
    model = make(sb3, "PPO", Space(gymnasium.spaces.MultiDiscrete([2, 3])))
    with pytest.raises(ForeignTeacherError, match="MultiDiscrete"):
        Sb3Teacher(model)


# ------------------------------------------------------------------------------------ rsl_rl


@pytest.mark.parametrize("std_type", ["scalar", "log"])
@pytest.mark.parametrize("by_state", [False, True])
def test_rsl_rl_checkpoints_give_what_the_library_gives(tmp_path, std_type, by_state):
    pytest.importorskip("rsl_rl")
    from rsl_rl.models import MLPModel
    from tensordict import TensorDict

    seen = sequence()
    observations = TensorDict({"policy": rows(seen)}, batch_size=[TICKS * ENVS])
    kind = "HeteroscedasticGaussianDistribution" if by_state else "GaussianDistribution"
    actor, critic = (
        MLPModel(
            observations,
            {"actor": ["policy"], "critic": ["policy"]},
            name,
            outputs,
            hidden_dims=[16, 8],
            activation="swish",
            obs_normalization=True,
            distribution_cfg=distribution,
        )
        for name, outputs, distribution in (
            ("actor", 2, {"class_name": kind, "init_std": 0.6, "std_type": std_type}),
            ("critic", 1, None),
        )
    )
    for model in (actor, critic):
        excite(model.mlp)
        model.update_normalization(TensorDict({"policy": 2 + 3 * sequence()[0]}, batch_size=[5]))
    saved = {
        "actor_state_dict": actor.state_dict(),
        "critic_state_dict": critic.state_dict(),
        "iter": 3,
        "infos": None,
    }
    torch.save(saved, tmp_path / "model_3.pt")
    options = {"state_dependent_std": std_type} if by_state else {}
    teacher = load_teacher_file(
        tmp_path / "model_3.pt", activation="swish", gamma=0.9, std_floor=1e-6, **options
    )
    said = ask(teacher, seen)
    actor.eval()
    torch.testing.assert_close(rows(said.distribution.mode()), actor(observations))
    actor(observations, stochastic_output=True)
    torch.testing.assert_close(rows(said.distribution.std), actor.output_std)
    critic.eval()
    torch.testing.assert_close(rows(said.value), 0.1 * critic(observations).squeeze(-1))
    assert [layer.shape[-1] for layer in said.features.values()] == [16, 8]


def old_rsl_rl(path, normaliser_inside):
    """A checkpoint laid out as rsl_rl 2 (statistics beside the model) or 3 (in it) did."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    model = {
        "actor.0.weight": randn(8, 4),
        "actor.0.bias": randn(8),
        "actor.2.weight": randn(2, 8),
        "actor.2.bias": randn(2),
        "std": torch.tensor([0.3, 0.4]),
    }
    statistics = {"_mean": randn(1, 4), "_std": randn(1, 4).abs(), "_var": randn(1, 4).square()}
    saved = {"model_state_dict": model, "iter": 1, "infos": None}
    if normaliser_inside:
        model |= {f"actor_obs_normalizer.{k}": v for k, v in statistics.items()}
    else:
        saved["obs_norm_state_dict"] = statistics
    torch.save(saved, path)
    return model, statistics


@pytest.mark.parametrize("normaliser_inside", [False, True])
def test_rsl_rl_checkpoints_of_older_versions(tmp_path, normaliser_inside):
    path = tmp_path / "model_1.pt"
    model, statistics = old_rsl_rl(path, normaliser_inside)
    seen = sequence()
    said = ask(load_teacher_file(path, gamma=0.9), seen)
    x = (seen - statistics["_mean"][0]) / (statistics["_std"][0] + 1e-2)
    x = torch.nn.functional.elu(x @ model["actor.0.weight"].T + model["actor.0.bias"])
    expected = x @ model["actor.2.weight"].T + model["actor.2.bias"]
    torch.testing.assert_close(said.distribution.mode(), expected)
    torch.testing.assert_close(said.distribution.std[0, 0], model["std"])
    assert said.value is None


def test_rsl_rl_configuration_is_read_from_the_runners():
    runner = {"policy": {"activation": "tanh"}, "algorithm": {"gamma": 0.98}}
    assert RslRlConfig.of(runner) == RslRlConfig(activation="tanh", gamma=0.98)
    assert RslRlConfig.of({"actor": {"activation": "relu"}}).activation == "relu"
    with pytest.raises(ForeignTeacherError, match="'sine'; use one of elu"):
        RslRlConfig.of({"actor": {"activation": "sine"}})


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"model_state_dict": Harmful()}, tmp_path / "model.pt")
    with pytest.raises(ForeignTeacherError, match=r"cannot read .* as tensors"):
        load_teacher_file(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"weights": 1}, "expected actor_state_dict or model_state_dict"),
        ({"model_state_dict": {"student.0.weight": torch.zeros(1)}}, "no layers of an actor"),
        (
            {"actor_state_dict": {"mlp.0.weight": torch.zeros(2, 4), "rnn.rnn.w": torch.zeros(1)}},
            "expected a perceptron",
        ),
        (
            {"actor_state_dict": {"mlp.0.weight": torch.zeros(2, 4), "mlp.0.bias": torch.zeros(2)}},
            "state_dependent_std",
        ),
    ],
)
def test_checkpoints_of_another_kind_say_what_they_lack(tmp_path, contents, message):
    torch.save(contents, tmp_path / "model.pt")
    with pytest.raises(ForeignTeacherError, match=message):
        load_teacher_file(tmp_path / "model.pt")


# -------------------------------------------------------------------------------------- ONNX


def save_onnx(path, *, batch="batch", size=4, inputs=("obs",), element=TensorProto.FLOAT):
    """A layer of tanh, and its weights."""
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, 2)).astype("f4"), rng.normal(size=2).astype("f4")
    nodes = [
        helper.make_node("MatMul", [inputs[0], "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["action"]),
    ]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(name, element, [batch, size]) for name in inputs],
        [helper.make_tensor_value_info("action", element, [batch, None if size is None else 2])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return torch.from_numpy(weight), torch.from_numpy(bias)


@pytest.mark.parametrize("batch", ["batch", 1, 4])
def test_onnx_files_give_their_output_and_the_stated_noise(tmp_path, batch):
    pytest.importorskip("onnxruntime")
    weight, bias = save_onnx(tmp_path / "policy.onnx", batch=batch)
    seen = sequence()
    teacher = load_teacher_file(tmp_path / "policy.onnx", noise_std=0.2)
    said = ask(teacher, seen)
    torch.testing.assert_close(said.distribution.mode(), torch.tanh(seen @ weight + bias))
    assert (said.distribution.std == 0.2).all()
    assert (teacher.observation_size, teacher.outputs) == (4, 2)


def test_onnx_files_may_give_logits(tmp_path):
    pytest.importorskip("onnxruntime")
    weight, bias = save_onnx(tmp_path / "policy.onnx")
    seen = sequence()
    env = WrappedEnv("CartPole-v1")
    teacher = load_teacher_file(tmp_path / "policy.onnx", discrete=True, temperature=0.5, env=env)
    said = ask(teacher, seen)
    expected = (torch.tanh(seen @ weight + bias) / 0.5).log_softmax(-1)
    torch.testing.assert_close(said.distribution.log_probs, expected)


def test_onnx_files_that_are_no_policy_say_why(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "policy.onnx"
    save_onnx(path, inputs=("obs", "memory"))
    with pytest.raises(ForeignTeacherError, match=r"inputs obs .*name it with the option input"):
        load_teacher_file(path)
    with pytest.raises(ForeignTeacherError, match="without hidden state"):
        load_teacher_file(path, input="obs")
    save_onnx(path, element=TensorProto.DOUBLE, size=4)
    with pytest.raises(ForeignTeacherError):
        load_teacher_file(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ForeignTeacherError, match="cannot read"):
        load_teacher_file(path)


# ------------------------------------------------------------------------------------- files


def test_files_and_options_that_do_not_exist_say_what_does(tmp_path):
    with pytest.raises(ForeignTeacherError, match="there is no teacher"):
        load_teacher_file(tmp_path / "model.zip")
    strange = tmp_path / "model.bin"
    strange.write_bytes(b"")
    with pytest.raises(ForeignTeacherError, match=r"sb3 \(.zip\), rsl_rl \(.pt\), onnx \(.onnx\)"):
        load_teacher_file(strange)
    with pytest.raises(ForeignTeacherError, match="'noise'; its options are noise_std"):
        load_teacher_file(strange, kind="onnx", noise=0.1)
    with pytest.raises(ForeignTeacherError, match="noise_std is 0"):
        load_teacher_file(strange, kind="onnx", noise_std=0.0)


def test_a_zip_file_of_something_else_is_refused(sb3, tmp_path):
    (tmp_path / "model.zip").write_bytes(b"nothing")
    with pytest.raises(ForeignTeacherError, match="not a model of Stable-Baselines3"):
        load_teacher_file(tmp_path / "model.zip")
    with pytest.raises(ForeignTeacherError, match="use one of PPO, A2C"):
        load_teacher_file(tmp_path / "model.zip", algorithm="TQC")


# --------------------------------------------------------------------------------- teaching


def taught(teacher, env, terms, discrete):
    """Term losses of the first and last iteration of a short distillation."""
    teacher.check(env)
    size, n = env.groups["student"], env.num_envs
    config = DistillConfig(
        steps=30 * n * 16,
        num_envs=n,
        ticks=16,
        teacher_share=0.5,
        terms=terms,
        epochs=4,
        minibatches=2,
        learning_rate=5e-3,
        fall_penalty=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = make_student(
            StudentConfig(hidden=(32,)), Interface.plain(size, teacher.outputs, discrete=discrete)
        )
        critic = Critic(size, (8,))
    distiller = Distiller(config, student, teacher, critic, seed=0)
    source = RolloutSource(env, config.ticks)
    source.start(seed=0)
    curriculum = Curriculum(CurriculumConfig(kind="none"), (), n, np.zeros(1))
    figures = list(distil(distiller, source, curriculum))
    assert figures[-1]["teacher_queries"] == len(figures) * n * 16
    return figures[0]["terms"], figures[-1]["terms"]


def test_a_dqn_teaches_by_its_q_values(sb3):
    model = make(sb3, "DQN", "CartPole-v1")
    excite(model.q_net)
    terms = (TermConfig(name="q", options={"kind": "tempered"}),)
    first, last = taught(Sb3Teacher(model), WrappedEnv("CartPole-v1", 8), terms, discrete=True)
    assert last["q"] < 0.3 * first["q"]


def test_a_sac_teaches_by_its_policy_and_by_its_critics(sb3):
    model = make(sb3, "SAC", "Pendulum-v1")
    excite(model.actor.latent_pi)
    terms = (TermConfig(name="policy_kl"), TermConfig(name="q_ascent", weight=1e-3))
    first, last = taught(Sb3Teacher(model), WrappedEnv("Pendulum-v1", 8), terms, discrete=False)
    assert last["policy_kl"] < 0.3 * first["policy_kl"]
    assert np.isfinite(last["q_ascent"])
