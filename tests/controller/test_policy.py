"""The NumPy runtime against the plain formula, and what it refuses."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from retort.controller import Contract, PolicyError, load_policy
from retort.controller.program import flatten
from retort.hardware.robot import Robot

from .conftest import META, make_contract, make_tensors

ACTIVATIONS = {
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_step_is_the_formula(robot: Robot, activation: str) -> None:
    contract = make_contract(robot)
    tensors = make_tensors(contract)
    policy = load_policy(contract, {**META, "activation": activation}, tensors)
    random = np.random.default_rng(3)
    for observation in random.normal(0, 2, (20, contract.observation_size)).astype(np.float32):
        x = (observation - tensors["normaliser.mean"]) / tensors["normaliser.std"]
        x = np.clip(x, -contract.normaliser_clip, contract.normaliser_clip)
        x = ACTIVATIONS[activation](tensors["layers.0.weight"] @ x + tensors["layers.0.bias"])
        expected = tensors["layers.1.weight"] @ x + tensors["layers.1.bias"]
        action, _ = policy.step(observation, policy.initial_state())
        np.testing.assert_allclose(action, expected, atol=1e-5)
        assert action.dtype == np.float32


def test_the_output_is_not_squashed(robot: Robot) -> None:
    contract = make_contract(robot)
    tensors = make_tensors(contract)
    tensors["layers.1.bias"] += 7.0
    action, _ = load_policy(contract, META, tensors).step(
        np.zeros(contract.observation_size, np.float32), None
    )
    assert np.all(action > 2.0)


def test_an_action_is_not_changed_by_later_steps(robot: Robot) -> None:
    contract = make_contract(robot)
    policy = load_policy(contract, META, make_tensors(contract))
    first, _ = policy.step(np.zeros(contract.observation_size, np.float32), None)
    kept = first.copy()
    policy.step(np.ones(contract.observation_size, np.float32), None)
    np.testing.assert_array_equal(first, kept)


def gru_tensors(contract: Contract, units: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    size = contract.frame_size
    shapes = {
        "memory.input.weight": (3 * units, size),
        "memory.input.bias": (3 * units,),
        "memory.hidden.weight": (3 * units, units),
        "memory.hidden.bias": (3 * units,),
        "layers.0.weight": (contract.action_size, units),
        "layers.0.bias": (contract.action_size,),
    }
    return {
        "normaliser.mean": random.normal(0, 0.1, size).astype(np.float32),
        "normaliser.std": random.uniform(0.5, 2, size).astype(np.float32),
        **{name: random.normal(0, 0.5, s).astype(np.float32) for name, s in shapes.items()},
    }


def tcn_tensors(contract: Contract) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    size, widths = contract.frame_size, (4, 3)
    shapes = {
        "convolutions.0.weight": (widths[0], 3 * size),
        "convolutions.0.bias": (widths[0],),
        "convolutions.1.weight": (widths[1], 3 * widths[0]),
        "convolutions.1.bias": (widths[1],),
        "layers.0.weight": (contract.action_size, widths[1]),
        "layers.0.bias": (contract.action_size,),
    }
    return {
        "normaliser.mean": np.zeros(size, np.float32),
        "normaliser.std": np.ones(size, np.float32),
        **{name: random.normal(0, 0.5, s).astype(np.float32) for name, s in shapes.items()},
    }


def frames_of(contract: Contract, observations: np.ndarray) -> np.ndarray:
    """The newest frame of each observation, its layout being frame-major."""
    assert contract.layout == "frame-major"
    return observations[:, -contract.frame_size :]


def test_a_gru_is_the_formula_tick_by_tick(robot: Robot) -> None:
    contract = make_contract(robot)
    tensors = gru_tensors(contract)
    policy = load_policy(contract, {"architecture": "gru", "activation": "elu"}, tensors)
    observations = np.random.default_rng(3).normal(0, 2, (20, contract.observation_size))
    hidden, h = policy.initial_state(), np.zeros(5)
    assert hidden is not None
    np.testing.assert_array_equal(hidden, 0.0)
    for observation, frame in zip(observations, frames_of(contract, observations), strict=True):
        x = (frame - tensors["normaliser.mean"]) / tensors["normaliser.std"]
        a = tensors["memory.input.weight"] @ x + tensors["memory.input.bias"]
        b = tensors["memory.hidden.weight"] @ h + tensors["memory.hidden.bias"]
        reset, update = (1 / (1 + np.exp(-(a[i : i + 5] + b[i : i + 5]))) for i in (0, 5))
        new = np.tanh(a[10:] + reset * b[10:])
        h = (1 - update) * new + update * h
        action, hidden = policy.step(observation.astype(np.float32), hidden)
        np.testing.assert_allclose(hidden, h, atol=1e-5)
        expected = tensors["layers.0.weight"] @ h + tensors["layers.0.bias"]
        np.testing.assert_allclose(action, expected, atol=1e-5)


def test_a_convolution_sees_its_ticks_and_zeros_before_the_first(robot: Robot) -> None:
    contract = make_contract(robot)
    tensors = tcn_tensors(contract)
    policy = load_policy(contract, {"architecture": "tcn", "activation": "relu"}, tensors)
    observations = np.random.default_rng(3).normal(0, 2, (20, contract.observation_size))
    line = frames_of(contract, observations)
    for i, dilation in enumerate((1, 2)):
        padded = np.concatenate([np.zeros((2 * dilation, line.shape[1])), line])
        rows = [padded[lag * dilation : lag * dilation + 20] for lag in range(3)]
        taps = np.concatenate(rows, axis=1)
        weight, bias = (tensors[f"convolutions.{i}.{part}"] for part in ("weight", "bias"))
        line = np.maximum(taps @ weight.T + bias, 0)
    expected = line @ tensors["layers.0.weight"].T + tensors["layers.0.bias"]
    hidden = policy.initial_state()
    for t, observation in enumerate(observations):
        action, hidden = policy.step(observation.astype(np.float32), hidden)
        np.testing.assert_allclose(action, expected[t], atol=1e-4)


def test_the_newest_frame_is_found_in_either_layout(robot: Robot) -> None:
    frame_major = make_contract(robot)
    term_major = make_contract(robot, layout="term-major")
    tensors, meta = gru_tensors(frame_major), {"architecture": "gru", "activation": "elu"}
    first, second = (load_policy(c, meta, tensors) for c in (frame_major, term_major))
    history = np.random.default_rng(5).normal(size=(3, frame_major.frame_size)).astype(np.float32)
    one, _ = first.step(flatten(frame_major, history), first.initial_state())
    other, _ = second.step(flatten(term_major, history), second.initial_state())
    np.testing.assert_array_equal(one, other)


def test_a_fresh_state_knows_nothing_of_the_steps_before(robot: Robot) -> None:
    contract = make_contract(robot)
    policy = load_policy(
        contract, {"architecture": "gru", "activation": "elu"}, gru_tensors(contract)
    )
    observation = np.ones(contract.observation_size, np.float32)
    first, hidden = policy.step(observation, policy.initial_state())
    second, _ = policy.step(observation, hidden)
    again, _ = policy.step(observation, policy.initial_state())
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["mlp", "gru", "tcn"])
def test_a_step_allocates_no_array_but_its_action(robot: Robot, kind: str) -> None:
    contract = make_contract(robot)
    tensors = {
        "mlp": make_tensors(contract, hidden=400),
        "gru": gru_tensors(contract, units=400),
        "tcn": tcn_tensors(contract),
    }[kind]
    policy = load_policy(contract, {"architecture": kind, "activation": "elu"}, tensors)
    observation = np.zeros(contract.observation_size, np.float32)
    _, hidden = policy.step(observation, policy.initial_state())
    tracemalloc.start()
    try:
        policy.step(observation, hidden)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        policy.step(observation, hidden)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 1000  # views and the action; a layer of 400 would take 1,600


def test_int8_weights_are_multiplied_by_the_scale_of_their_group(robot: Robot) -> None:
    contract = make_contract(robot)
    tensors = make_tensors(contract)
    random = np.random.default_rng(4)
    size = contract.observation_size
    whole = random.integers(-127, 128, (8, size)).astype(np.int8)
    scale = random.uniform(0.001, 0.01, (8, -(-size // 10))).astype(np.float32)
    exact = np.stack([[w * s[j // 10] for j, w in enumerate(row)] for row, s in zip(whole, scale)])  # noqa: B905
    packed = {**tensors, "layers.0.weight": whole, "layers.0.weight.scale": scale}
    policy = load_policy(contract, {**META, "group": 10}, packed)
    expected = load_policy(contract, META, {**tensors, "layers.0.weight": exact})
    observation = random.normal(size=size).astype(np.float32)
    got, _ = policy.step(observation, None)
    np.testing.assert_allclose(got, expected.step(observation, None)[0], atol=1e-5)
    assert policy.parameters == expected.parameters
    for meta, left_out in ((META, ""), ({**META, "group": 10}, "layers.0.weight.scale")):
        rest = {name: value for name, value in packed.items() if name != left_out}
        with pytest.raises(PolicyError, match=r"group is None|lacks the tensor .*scale"):
            load_policy(contract, meta, rest)


def test_parameters_count_what_was_learned(robot: Robot) -> None:
    contract = make_contract(robot)
    policy = load_policy(contract, META, make_tensors(contract, hidden=8))
    assert policy.parameters == (contract.observation_size + 1) * 8 + (8 + 1) * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"normaliser.mean": None}, "lacks the tensor normaliser.mean"),
        ({"normaliser.mean": np.zeros(3, np.float32)}, r"shape \(3,\); the contract needs"),
        ({"normaliser.std": 0.0}, "not positive"),
        ({"layers.0.weight": None, "layers.1.weight": None}, "no tensor layers.0.weight"),
        ({"layers.1.bias": np.zeros(5, np.float32)}, "layers.1.bias has shape"),
        ({"layers.1.weight": np.zeros((2, 9), np.float32)}, "layers.1.weight has shape"),
        ({"layers.0.bias": np.nan}, "not finite"),
        ({"extra": np.zeros(2, np.float32)}, r"does not have: \['extra'\]"),
        ({"layers.1.weight": None, "layers.1.bias": None}, "gives 8 actions, the contract has 2"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    robot: Robot, change: dict[str, object], words: str
) -> None:
    contract = make_contract(robot)
    tensors = make_tensors(contract)
    for name, value in change.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = np.full_like(tensors[name], value) if np.isscalar(value) else value  # type: ignore[assignment]
    with pytest.raises(PolicyError, match=words):
        load_policy(contract, META, tensors)


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (
            {"architecture": "cnn", "activation": "elu"},
            "architecture is 'cnn'; there are mlp, gru, tcn",
        ),
        ({"architecture": "mlp", "activation": "gelu"}, "'gelu'; there are elu, tanh, relu"),
        ({}, "architecture is None"),
    ],
)
def test_unknown_kinds_are_refused_with_those_there_are(
    robot: Robot, meta: dict[str, str], words: str
) -> None:
    contract = make_contract(robot)
    with pytest.raises(PolicyError, match=words):
        load_policy(contract, meta, make_tensors(contract))
