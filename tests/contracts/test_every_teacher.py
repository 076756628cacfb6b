"""What the distiller relies on, of every kind of teacher there is."""

import importlib.util

import gymnasium
import numpy as np
import onnx
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from onnx import TensorProto, helper, numpy_helper
from retort.distill.foreign import KINDS, load_teacher_file
from retort.distill.networks import Critic, make_actor
from retort.distill.teacher import ActorTeacher

SIZE = 4
BOX, CHOICES = Box(-2, 2, (2,), np.float32), Discrete(3)


class Blank(gymnasium.Env):
    observation_space = Box(-np.inf, np.inf, (SIZE,), np.float32)

    def __init__(self, actions):
        self.action_space = actions


def ours(path, actions):
    torch.manual_seed(0)
    return ActorTeacher(make_actor(SIZE, actions, (8,)), Critic(SIZE, (8,)))


def sb3(name):
    def make(path, actions):
        algorithm = getattr(pytest.importorskip("stable_baselines3"), name)
        options = {} if name in ("PPO", "A2C") else {"buffer_size": 10}
        model = algorithm("MlpPolicy", Blank(actions), seed=0, device="cpu", **options)
        model.save(path / "model.zip")
        return load_teacher_file(path / "model.zip")

    return make


def rsl_rl(path, actions):
    layers = torch.nn.Sequential(torch.nn.Linear(SIZE, 8), torch.nn.ELU(), torch.nn.Linear(8, 2))
    state = {f"mlp.{name}": value for name, value in layers.state_dict().items()}
    state["distribution.std_param"] = torch.full((2,), 0.3)
    torch.save({"actor_state_dict": state}, path / "model.pt")
    return load_teacher_file(path / "model.pt")


def onnx_file(path, actions):
    discrete = isinstance(actions, Discrete)
    outputs = int(actions.n) if discrete else 2
    weight = np.random.default_rng(0).normal(size=(SIZE, outputs)).astype("f4")
    shapes = (("obs", SIZE), ("action", outputs))
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in shapes
    ]
    node = helper.make_node("MatMul", ["obs", "weight"], ["action"])
    constants = [numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph([node], "policy", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path / "policy.onnx")
    return load_teacher_file(path / "policy.onnx", discrete=discrete)


TEACHERS = {
    "ours": (ours, BOX),
    "ours, discrete": (ours, CHOICES),
    "sb3 PPO": (sb3("PPO"), BOX),
    "sb3 A2C, discrete": (sb3("A2C"), CHOICES),
    "sb3 SAC": (sb3("SAC"), BOX),
    "sb3 TD3": (sb3("TD3"), BOX),
    "sb3 DQN": (sb3("DQN"), CHOICES),
    "rsl_rl": (rsl_rl, BOX),
    "onnx": (onnx_file, BOX),
    "onnx, discrete": (onnx_file, CHOICES),
}


@pytest.fixture(scope="module", params=TEACHERS)
def teacher(request, tmp_path_factory):
    if "onnx" in request.param and importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    make, actions = TEACHERS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = make(tmp_path_factory.mktemp("teacher"), actions)
    made.space = actions
    return made


def ask(teacher, observation):
    ticks, n = observation.shape[:2]
    never = torch.zeros(ticks, n, dtype=torch.bool)
    return teacher({"teacher": observation}, teacher.initial_state(n), never)


def sequence(ticks=5, n=6):
    return torch.randn(ticks, n, SIZE, generator=torch.Generator().manual_seed(0))


def test_every_kind_of_file_is_here():
    assert {name.split(",")[0].split()[0] for name in TEACHERS} == {"ours", *KINDS}


def test_it_answers_a_whole_sequence_in_the_students_action_space(teacher):
    output, state = ask(teacher, sequence())
    assert output.distribution.batch_shape == (5, 6)
    assert state.shape == teacher.initial_state(6).shape
    mode = output.distribution.mode()
    sample = output.distribution.sample(torch.Generator().manual_seed(0))
    assert sample.shape == mode.shape == (5, 6, *teacher.space.shape)
    assert teacher.space.contains(mode[0, 0].numpy().astype(teacher.space.dtype))
    assert torch.isfinite(output.distribution.log_prob(sample)).all()
    for value in (output.value, output.q):
        assert value is None or (value.shape[:2] == (5, 6) and torch.isfinite(value).all())
    if output.critics is not None:
        assert output.critics(sample).shape[1:] == (5, 6)


def test_what_may_be_cached_depends_on_the_observation_alone(teacher):
    assert teacher.cacheable
    seen = sequence()
    whole, _ = ask(teacher, seen)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    parts = [ask(teacher, seen[t : t + 1, order])[0] for t in range(5)]
    again = torch.cat([part.distribution.mode() for part in parts])
    torch.testing.assert_close(again, whole.distribution.mode()[:, order], atol=1e-6, rtol=1e-5)
    if whole.value is not None:
        value = torch.cat([part.value for part in parts])
        torch.testing.assert_close(value, whole.value[:, order], atol=1e-6, rtol=1e-5)


def test_asking_changes_neither_random_streams_nor_what_is_asked(teacher):
    seen = sequence()
    before, state = seen.clone(), torch.get_rng_state()
    ask(teacher, seen)
    assert torch.equal(seen, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_of_it_is_learnt(teacher):
    output, _ = ask(teacher, sequence())
    said = [getattr(output.distribution, n) for n in output.distribution.__dataclass_fields__]
    said += [output.value, output.q]
    assert not any(isinstance(x, torch.Tensor) and x.requires_grad for x in said)
