"""The NumPy runtime against the plain formula, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from retort.controller import PolicyError, load_policy
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
        ({"architecture": "cnn", "activation": "elu"}, "architecture is 'cnn'; there are mlp"),
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
