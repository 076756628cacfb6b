"""What every student owes: one answer by sequence, by tick, on the robot, in ONNX and in C."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.numpy
import torch
from retort.controller import BundleError, Contract, load_bundle, load_policy, record_golden
from retort.controller import save_bundle as save
from retort.controller.architecture import ACTIVATIONS
from retort.distill.distributions import Categorical, Gaussian
from retort.distill.export import to_c, to_onnx
from retort.distill.students import KINDS, Interface, Student, StudentConfig, make_student
from retort.hardware import RobotState, load_robot
from retort.sim.task import load_task, make_contract

TICKS, N = 40, 6
OWN = str(Path(__file__).with_name("own_student.py"))
CONFIGS = {
    "mlp": StudentConfig(hidden=(24, 12)),
    "mlp, no hidden layer": StudentConfig(hidden=()),
    "gru": StudentConfig(kind="gru", hidden=(16,), recurrent=12, activation="relu"),
    "gru, no encoder": StudentConfig(kind="gru", hidden=(), recurrent=5),
    "tcn": StudentConfig(kind="tcn", hidden=(10,), channels=(8, 9, 7), activation="tanh"),
    "tcn, two taps": StudentConfig(kind="tcn", hidden=(), channels=(6,), kernel=2),
    "mlp, whitened": StudentConfig(hidden=(24, 12), whiten=True),
    "tcn, whitened": StudentConfig(kind="tcn", hidden=(10,), channels=(8, 9), whiten=True),
    "of a file": StudentConfig(kind=OWN, hidden=(10,), channels=(8, 9)),
    "of a file, int8": StudentConfig(kind=OWN, quantise="int8", group=8),
    "mlp, whitened, int8": StudentConfig(whiten=True, quantise="int8", group=8),
}
CONFIGS |= {
    f"{name}, int8": dataclasses.replace(config, quantise="int8", group=8)
    for name, config in CONFIGS.items()
    if name in KINDS
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return make_contract(load_robot("balancer"), load_task("balancer"), None, {})


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def student(request: pytest.FixtureRequest, contract: Contract) -> Student:
    """Of every kind, with weights and statistics as after training."""
    return make(request.param, contract)


def make(config: StudentConfig, contract: Contract, seed: int = 0) -> Student:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = make_student(config, contract)
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
            student.layers[-1].weight.mul_(3.0)  # type: ignore[index,union-attr]
        student.normaliser.update(1.0 + 3.0 * torch.randn(500, contract.observation_size))
        noise, steps = torch.randn(2, 100, 5, contract.observation_size)
        past = 1.0 + 3.0 * noise + steps.cumsum(0)
        never = torch.zeros(100, 5, dtype=torch.bool)
        student.observe(past, student.initial_state(5), never)
    return student.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def data(contract: Contract) -> tuple[torch.Tensor, torch.Tensor]:
    """Observations (T, N, size) and resets (T, N)."""
    generator = torch.Generator().manual_seed(4)
    sequence = 1.0 + 4.0 * torch.randn(TICKS, N, contract.observation_size, generator=generator)
    resets = torch.rand(TICKS, N, generator=generator) < 0.1
    resets[20, 0] = resets[21, 0] = True  # two in a row
    resets[:, 1] = False  # and an environment that goes on
    return sequence, resets


def states_like(student: Student) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(N, student.state_size, generator=generator)


def test_a_sequence_at_once_is_its_ticks_one_by_one(student: Student, data) -> None:
    sequence, resets = data
    state = start = states_like(student)
    together, end = student(sequence, start, resets)
    for t in range(TICKS):
        one, state = student(sequence[t : t + 1], state, resets[t : t + 1])
        torch.testing.assert_close(one.mode()[0], together.mode()[t], atol=1e-5, rtol=0)
    torch.testing.assert_close(state, end, atol=1e-5, rtol=0)


def test_gradients_by_sequence_are_those_of_the_ticks(contract: Contract, student, data) -> None:
    sequence, resets = data[0][:8], data[1][:8]
    student.requires_grad_(True)
    student(sequence, states_like(student), resets)[0].mode().square().mean().backward()
    together = {
        name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None
    }
    student.zero_grad()
    state, total = states_like(student), torch.zeros(())
    for t in range(8):
        one, state = student(sequence[t : t + 1], state, resets[t : t + 1])
        total = total + one.mode().square().mean() / 8
    total.backward()
    assert set(together) == {name for name, _ in student.named_parameters()} - {"log_std"}
    for name, parameter in student.named_parameters():
        if name in together:
            torch.testing.assert_close(together[name], parameter.grad, atol=1e-4, rtol=1e-4)


def test_a_reset_forgets_everything_before_it_and_nothing_else(student: Student, data) -> None:
    sequence = data[0]
    resets = torch.zeros(TICKS, N, dtype=torch.bool)
    resets[15] = True
    whole, end = student(sequence, states_like(student), resets)
    fresh, fresh_end = student(sequence[15:], student.initial_state(N), resets[15:] & False)
    torch.testing.assert_close(whole.mode()[15:], fresh.mode(), atol=1e-6, rtol=0)
    torch.testing.assert_close(end, fresh_end, atol=1e-6, rtol=0)
    if student.state_size:
        going_on, _ = student(sequence, states_like(student), resets & False)
        assert (going_on.mode()[15] - whole.mode()[15]).abs().max() > 1e-3


def test_features_hold_the_memory_each_tick_began_with(student: Student, data) -> None:
    sequence, resets = data
    start = states_like(student)
    plain, end = student(sequence, start, resets)
    shown, same_end, features = student.forward_features(sequence, start, resets)
    torch.testing.assert_close(shown.mode(), plain.mode())
    torch.testing.assert_close(same_end, end)
    assert ("memory" in features) == (student.state_size > 0)
    for layer in features.values():
        assert layer.shape[:2] == (TICKS, N)
    memory = features.get("memory")
    alone = student.respond(student.normaliser(sequence), memory)
    torch.testing.assert_close(alone.mode(), plain.mode(), atol=1e-5, rtol=0)


def test_parameters_are_counted_alike_on_both_sides(contract: Contract, student: Student) -> None:
    meta, tensors = student.export()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    policy = load_policy(contract, meta, arrays)
    learned = sum(a.size for name, a in arrays.items() if not name.startswith("normaliser."))
    scales = sum(a.size for name, a in arrays.items() if name.endswith(".scale"))
    assert student.parameter_count() == policy.parameters == learned - scales


def test_the_robot_s_runtime_gives_the_same_over_sequences_with_resets(
    contract: Contract, student: Student, data
) -> None:
    sequence, resets = data
    deployed = student.deployed()
    expected, state = [], student.initial_state(N)
    meta, tensors = student.export()
    policy = load_policy(contract, meta, {name: t.numpy() for name, t in tensors.items()})
    for t in range(TICKS):
        said, state = deployed(sequence[t : t + 1], state, resets[t : t + 1])
        expected.append((said.mode()[0].numpy(), state.numpy().copy()))
    for i in range(N):
        hidden = policy.initial_state()
        for t in range(TICKS):
            if resets[t, i]:
                hidden = policy.initial_state()
            action, hidden = policy.step(sequence[t, i].numpy(), hidden)
            np.testing.assert_allclose(action, expected[t][0][i], atol=1e-5)
            assert (hidden is None) == (student.state_size == 0)
            if hidden is not None:
                np.testing.assert_allclose(hidden, expected[t][1][i], atol=1e-5)


def test_onnx_gives_the_same_with_its_state_passed_on(
    contract: Contract, student: Student, data
) -> None:
    sequence = data[0][:, :2]
    meta, tensors = student.export()
    model = to_onnx(contract, meta, tensors)
    session = onnxruntime.InferenceSession(model)
    expected, _ = student.deployed()(
        sequence, student.initial_state(2), torch.zeros(TICKS, 2, dtype=torch.bool)
    )
    for i in range(2):
        state = np.zeros((1, student.state_size), np.float32)
        for t in range(TICKS):
            feed = {"observation": sequence[t, i][None].numpy()}
            if student.state_size:
                feed["state"] = state
            action, *after = session.run(None, feed)
            np.testing.assert_allclose(action[0], expected.mode()[t, i].numpy(), atol=1e-5)
            state = after[0] if after else state
    assert session.get_modelmeta().custom_metadata_map["contract_hash"] == contract.hash()


def test_the_c_header_gives_the_same_after_every_reset(
    contract: Contract, student: Student, data, tmp_path: Path
) -> None:
    sequence, resets = data
    library = compiled(contract, student, tmp_path)
    expected, _ = student.deployed()(sequence, student.initial_state(N), resets)
    for i in range(N):
        library.reset()
        for t in range(TICKS):
            if resets[t, i]:
                library.reset()
            action = step_in_c(library, contract, sequence[t, i].numpy())
            np.testing.assert_allclose(action, expected.mode()[t, i].numpy(), atol=1e-5)
    if student.config.quantise == "int8":
        assert b"static const int8_t retort_layers_0_weight" in (tmp_path / "policy.h").read_bytes()
        assert b"static const float retort_normaliser_std" in (tmp_path / "policy.h").read_bytes()


def compiled(contract: Contract, student: Student, folder: Path) -> ctypes.CDLL:
    """Its C header behind two functions, ``reset()`` and ``step(observation, action)``."""
    meta, tensors = student.export()
    (folder / "policy.h").write_bytes(to_c(contract, meta, tensors))
    (folder / "policy.c").write_text(
        '#include "policy.h"\n'
        "static retort_state state;\n"
        "void reset(void) { retort_reset(&state); }\n"
        "void step(const float *o, float *a) { retort_policy(&state, o, a); }\n"
    )
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    command += [str(folder / "policy.c"), "-o", str(folder / "policy.so"), "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "policy.so"))


def step_in_c(library: ctypes.CDLL, contract: Contract, observation: np.ndarray) -> np.ndarray:
    pointer = ctypes.POINTER(ctypes.c_float)
    action = np.zeros(contract.action_size, np.float32)
    row = np.ascontiguousarray(observation, dtype=np.float32)
    library.step(row.ctypes.data_as(pointer), action.ctypes.data_as(pointer))
    return action


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_what_is_not_a_number_comes_out_as_none_on_every_computer(
    config: StudentConfig, activation: str, contract: Contract, data, tmp_path: Path
) -> None:
    student = make(dataclasses.replace(config, activation=activation), contract)  # type: ignore[arg-type]
    meta, tensors = student.export()
    policy = load_policy(contract, meta, {name: t.numpy() for name, t in tensors.items()})
    session = onnxruntime.InferenceSession(to_onnx(contract, meta, tensors))
    library = compiled(contract, student, tmp_path)
    for column in student.interface.columns(student.architecture):
        seen = data[0][0, 0].clone()
        seen[column] = torch.nan
        row = seen[None, None]
        said, _ = student(row, student.initial_state(1), torch.ones(1, 1, dtype=torch.bool))
        feed = {"observation": row[0].numpy()}
        if student.state_size:
            feed["state"] = student.initial_state(1).numpy()
        library.reset()
        answers = {
            "torch": said.mode()[0, 0].numpy(),
            "numpy": policy.step(seen.numpy(), policy.initial_state())[0],
            "onnx": session.run(None, feed)[0][0],  # type: ignore[index]
            "c": step_in_c(library, contract, seen.numpy()),
        }
        for name, action in answers.items():
            assert np.isnan(action).all(), (name, column)


def golden_of(contract: Contract, student: Student):
    random = np.random.default_rng(1)
    shape, joints = (2, 25), len(contract.joints)
    states = RobotState(
        joint_position=random.normal(size=(*shape, joints)),
        joint_velocity=random.normal(size=(*shape, joints)),
        joint_effort=np.zeros((*shape, joints)),
        orientation=np.broadcast_to([1.0, 0.0, 0.0, 0.0], (*shape, 4)),
        angular_velocity=random.normal(size=(*shape, 3)),
        linear_acceleration=np.zeros((*shape, 3)),
        joint_valid=random.random((*shape, joints)) > 0.1,
        imu_valid=random.random(shape) > 0.1,
    )
    commands = random.uniform(-0.5, 0.5, (*shape, len(contract.command)))

    def decide(observation: np.ndarray, hidden: torch.Tensor | None):
        first = hidden is None
        hidden = student.initial_state(1) if hidden is None else hidden
        row = torch.from_numpy(np.asarray(observation, np.float32))[None, None]
        said, hidden = student(row, hidden, torch.tensor([[first]]))
        return said.mode()[0, 0].numpy(), hidden

    return record_golden(contract, decide, states, commands)


def test_a_bundle_carries_it_and_notices_a_changed_weight(
    contract: Contract, student: Student, tmp_path: Path
) -> None:
    golden = golden_of(contract, student.deployed())
    assert golden.hidden.shape == (2, 25, student.state_size)
    meta, tensors = student.export()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    save(tmp_path / "b", contract, meta, arrays, golden)
    bundle = load_bundle(tmp_path / "b")
    assert bundle.policy.parameters == student.parameter_count()
    stored = safetensors.numpy.load((tmp_path / "b" / "policy.safetensors").read_bytes())
    kinds = {name: array.dtype for name, array in stored.items()}
    assert kinds["normaliser.mean"] == kinds["normaliser.std"] == np.float32
    int8 = {name for name, kind in kinds.items() if kind == np.int8}
    matrices = {name for name in kinds if name.endswith(".weight")}
    assert int8 == (matrices if student.config.quantise == "int8" else set())
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["policy"] == meta
    for name in matrices:
        changed = {**arrays, name: arrays[name].copy()}
        changed[name].flat[:] = -changed[name].ravel()
        with pytest.raises(BundleError, match="differs by"):
            save(tmp_path / "c", contract, meta, changed, golden)


def test_it_is_the_same_twice(contract: Contract, student: Student, data) -> None:
    again = make(student.config, contract)
    for (name, a), (_, b) in zip(
        student.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name
    sequence, resets = data
    first = student(sequence, states_like(student), resets)[0].mode()
    assert torch.equal(first, again(sequence, states_like(student), resets)[0].mode())


@pytest.mark.parametrize("kind", KINDS)
def test_int8_changes_actions_by_little_and_the_normaliser_not_at_all(
    kind: str, contract: Contract, data
) -> None:
    sequence, resets = data
    config = dataclasses.replace(CONFIGS[kind], quantise="int8")
    student = make(config, contract)
    deployed = student.deployed()
    exact, _ = student(sequence, student.initial_state(N), resets)
    rough, _ = deployed(sequence, student.initial_state(N), resets)
    error = (exact.mode() - rough.mode()).square().mean().sqrt()
    assert 0 < error < 0.02 * exact.mode().std()
    meta, tensors = student.export()
    plain = make(dataclasses.replace(config, quantise="none"), contract).export()[1]
    for name in ("normaliser.mean", "normaliser.std"):
        assert torch.equal(tensors[name], plain[name])
    assert meta["weights"] == "int8"


@pytest.mark.parametrize("kind", KINDS)
def test_what_int8_has_seen_it_says_more_closely(kind: str, contract: Contract) -> None:
    config = dataclasses.replace(CONFIGS[kind], quantise="int8")
    student, unseen = (make(config, contract) for _ in range(2))
    assert student.moments is not None
    student.prepare_rounding()
    unseen.prepare_rounding()
    generator = torch.Generator().manual_seed(7)
    mixing = torch.randn(6, contract.observation_size, generator=generator)

    def batch() -> torch.Tensor:
        """Of what moves in six ways only, as bodies do."""
        moves, noise = torch.randn(40, 50, 6, generator=generator), mixing.new_empty(40, 50, 1)
        return 1.0 + moves @ mixing + 0.1 * noise.normal_(generator=generator)

    never = torch.zeros(40, 50, dtype=torch.bool)
    for _ in range(5):
        student.observe(batch(), student.initial_state(50), never)
    names = [name for name, parameter in student.named_parameters() if parameter.ndim == 2]
    assert all(student.moments.of(name) is not None for name in names)
    sequence = batch()

    def error(of: Student) -> torch.Tensor:
        said = [each(sequence, each.initial_state(50), never)[0] for each in (of, of.deployed())]
        return (said[0].mode() - said[1].mode()).square().mean()

    assert error(student) < 0.7 * error(unseen)


def test_int8_is_exported_as_it_was_first_rounded(contract: Contract, tmp_path: Path) -> None:
    student = make(CONFIGS["mlp, int8"], contract)
    first, again = student.export()[1], student.deployed().export()[1]
    for name in first:
        assert torch.equal(first[name], again[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_go_from_three_hundred_to_a_hundred_thousand(kind: str) -> None:
    interface = Interface.plain(24, 4)

    def count(width: int) -> int:
        shape = {
            "mlp": {"hidden": (width, width)},
            "gru": {"hidden": (width,), "recurrent": width},
            "tcn": {"hidden": (), "channels": (width, width)},
        }[kind]
        return make_student(StudentConfig(kind=kind, **shape), interface).parameter_count()  # type: ignore[arg-type]

    assert count(3) < 300
    assert count(330) > 100_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_of_choices_is_a_categorical_and_one_of_actions_a_gaussian(kind: str) -> None:
    config = StudentConfig(kind=kind)  # type: ignore[arg-type]
    never = torch.zeros(2, 3, dtype=torch.bool)
    for discrete, family in ((True, Categorical), (False, Gaussian)):
        student = make_student(config, Interface.plain(5, 4, discrete=discrete))
        said, _ = student(torch.randn(2, 3, 5), student.initial_state(3), never)
        assert isinstance(said, family)
        assert said.batch_shape == (2, 3)
