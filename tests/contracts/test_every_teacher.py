"""What the distiller relies on, of every kind of teacher there is."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import onnx
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from onnx import TensorProto, helper, numpy_helper
from retort.distill.batch import STUDENT, Batch, no_episodes
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.distributions import Gaussian
from retort.distill.networks import Critic, make_actor
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher, TeacherOutput
from retort.distill.teachers.foreign import KINDS, load_teacher_file
from retort.distill.teachers.named import OWN
from retort.distill.teachers.own import load_own_teacher
from retort.distill.terms import TermConfig

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


class Remembering:
    """A recurrent teacher, as somebody may write one."""

    def __init__(self):
        self.memory = torch.nn.GRU(SIZE, 3).requires_grad_(False)
        self.head = torch.nn.Linear(3, 2).requires_grad_(False)

    def initial_state(self, n):
        return torch.zeros(n, 3)

    def __call__(self, observations, state, resets):
        outputs = []
        for seen, reset in zip(observations["teacher"], resets, strict=True):
            state = torch.where(reset[:, None], torch.zeros_like(state), state)
            (_, state) = self.memory(seen[None], state[None].contiguous())
            state = state[0]
            outputs.append(self.head(state))
        mean = torch.stack(outputs)
        return TeacherOutput(Gaussian(mean, torch.full_like(mean, 0.1)), mean[..., 0]), state


def remembering(path, actions):
    return Remembering()


def own_file(path, actions):
    env = SimpleNamespace(groups={"teacher": SIZE}, single_action_space=actions)
    return load_own_teacher(str(Path(__file__).with_name("own_teacher.py")), env, {"gain": 0.1})


TEACHERS = {
    "ours": (ours, BOX),
    "somebody's, recurrent": (remembering, BOX),
    "ours, discrete": (ours, CHOICES),
    "sb3 PPO": (sb3("PPO"), BOX),
    "sb3 A2C, discrete": (sb3("A2C"), CHOICES),
    "sb3 SAC": (sb3("SAC"), BOX),
    "sb3 TD3": (sb3("TD3"), BOX),
    "sb3 DQN": (sb3("DQN"), CHOICES),
    "rsl_rl": (rsl_rl, BOX),
    "own": (own_file, BOX),
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
    kinds = {name.split(",")[0].split()[0] for name in TEACHERS}
    assert kinds == {"ours", "somebody's", OWN, *KINDS}


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


def close(one, other):
    torch.testing.assert_close(
        one.distribution.mode(), other.distribution.mode(), atol=1e-6, rtol=1e-5
    )
    if one.value is not None:
        torch.testing.assert_close(one.value, other.value, atol=1e-6, rtol=1e-5)


def resets_of(ticks, n):
    resets = torch.rand(ticks, n, generator=torch.Generator().manual_seed(1)) < 0.2
    resets[0] = True
    return resets


def test_environments_have_nothing_to_do_with_each_other(teacher):
    seen = sequence()
    whole, _ = ask(teacher, seen)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    close(ask(teacher, seen[:, order])[0], whole.select((slice(None), order)))


@pytest.mark.parametrize("pieces", [[5, 5], [1] * 10, [3, 7]])
def test_what_it_says_hangs_on_its_hidden_state_and_not_on_where_a_sequence_is_cut(teacher, pieces):
    seen, resets = sequence(10), resets_of(10, 6)
    whole, end = teacher({"teacher": seen}, teacher.initial_state(6), resets)
    state, begin = teacher.initial_state(6), 0
    for length in pieces:
        part = slice(begin, begin + length)
        said, state = teacher({"teacher": seen[part]}, state, resets[part])
        close(said, whole.select(part))
        begin += length
    torch.testing.assert_close(state, end, atol=1e-6, rtol=1e-5)


def test_a_reset_forgets_everything(teacher):
    seen, resets = sequence(10), torch.zeros(10, 6, dtype=torch.bool)
    resets[4] = True
    whole, end = teacher({"teacher": seen}, teacher.initial_state(6), resets)
    said, state = ask(teacher, seen[4:])
    close(said, whole.select(slice(4, None)))
    torch.testing.assert_close(state, end, atol=1e-6, rtol=1e-5)


def test_asking_leaves_the_given_state_as_it_is(teacher):
    _, state = ask(teacher, sequence())
    before = state.clone()
    teacher({"teacher": sequence()}, state, resets_of(5, 6))
    assert torch.equal(state, before)


def batch_of(seen, resets):
    """Ticks in which somebody else acted."""
    nothing, never = torch.zeros(resets.shape), torch.zeros_like(resets)
    groups = {"student": seen, "teacher": seen}
    return Batch(
        observations=groups,
        action=torch.zeros(*resets.shape, 2),
        log_prob=nothing,
        driver=torch.full((resets.shape[1],), STUDENT),
        reward=nothing,
        terminated=never,
        truncated=never,
        reset=resets,
        final_index=torch.zeros(0, 2, dtype=torch.int64),
        final_observations={group: seen[0, :0] for group in groups},
        last_observations={group: seen[-1] for group in groups},
        initial_state=torch.zeros(resets.shape[1], 0),
        level=torch.zeros(*resets.shape, 0),
        task=torch.zeros(resets.shape, dtype=torch.int64),
        episodes=no_episodes(),
    )


def test_a_distiller_s_batches_are_labelled_and_driven_as_one_long_sequence(teacher):
    seen, resets = sequence(12), resets_of(12, 6)
    whole, _ = teacher({"teacher": seen}, teacher.initial_state(6), resets)
    config = DistillConfig(num_envs=6, ticks=4, minibatches=1, terms=(TermConfig(name="entropy"),))
    student = make_student(StudentConfig(hidden=(4,)), Interface.plain(SIZE, 2))
    distiller = Distiller(config, student, teacher, Critic(SIZE, (4,)), seed=0)
    first, second, third = (slice(i, i + 4) for i in (0, 4, 8))
    distiller.follow(batch_of(seen[first], resets[first]))
    said = distiller.record(batch_of(seen[second], resets[second]), 0.0).teachers[0]
    close(said, whole.select(second))
    for t in range(8, 12):
        action, log_prob, _ = distiller.act_as_teacher(
            {"teacher": seen[t]}, torch.zeros(6, 0), resets[t]
        )
        density = whole.select(t).distribution.log_prob(action)
        torch.testing.assert_close(density, log_prob, atol=1e-4, rtol=1e-4)
    said = distiller.record(batch_of(seen[third], resets[third]), 0.0).teachers[0]
    close(said, whole.select(third))


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
