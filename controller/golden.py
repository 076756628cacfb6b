"""Golden vectors: recorded readings and what the trained policy made of them, replayed at load.

They are what notices that weights, normaliser or program are not those of the training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..hardware.state import RobotState
from . import program
from .contract import Contract
from .policy import Policy

TOLERANCE = 1e-4  # absolute; BLAS kernels and torch differ by about 1e-6

STATE_FIELDS = (
    "joint_position",
    "joint_velocity",
    "joint_effort",
    "orientation",
    "angular_velocity",
    "linear_acceleration",
    "joint_valid",
    "imu_valid",
)


@dataclasses.dataclass(frozen=True)
class Golden:
    """Sequences of readings and what follows from them; arrays (sequences, steps, size)."""

    joint_position: np.ndarray
    joint_velocity: np.ndarray
    joint_effort: np.ndarray
    orientation: np.ndarray
    angular_velocity: np.ndarray
    linear_acceleration: np.ndarray
    joint_valid: np.ndarray
    imu_valid: np.ndarray  # (sequences, steps)
    command: np.ndarray
    observation: np.ndarray  # from here on: expected
    action: np.ndarray
    target: np.ndarray
    hidden: np.ndarray  # what is remembered after the step; size 0 if nothing


# Observation (observation_size,) and hidden state (None at first) to action (joints,) and hidden
# state: None, or anything that NumPy makes (state_size,) or (1, state_size) of.
Decide = Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]


def record_golden(
    contract: Contract, decide: Decide, states: RobotState, commands: np.ndarray
) -> Golden:
    """Drive the program and the trained network through ``states`` and record what they give.

    Args:
        contract: of the policy.
        decide: the trained network itself, so that the export is checked against it.
        states: readings (sequences, steps, size).
        commands: (sequences, steps, commands).
    """
    fields = {name: np.asarray(getattr(states, name)) for name in STATE_FIELDS}
    commands = np.asarray(commands, dtype=np.float32)
    results = _drive(contract, decide, lambda: None, fields, commands, None)
    return Golden(**fields, command=commands, **results)


def check_shapes(contract: Contract, golden: Golden) -> str:
    """What is wrong with the arrays' shapes; "" if nothing is."""
    if golden.imu_valid.ndim != 2 or golden.imu_valid.size == 0:
        return "golden vectors are empty"
    n, joints = golden.imu_valid.shape, len(contract.joints)
    sizes = {
        "orientation": 4,
        "angular_velocity": 3,
        "linear_acceleration": 3,
        "command": len(contract.command),
        "observation": contract.observation_size,
    }
    sizes["hidden"] = golden.hidden.shape[-1] if golden.hidden.ndim else 0
    for field in dataclasses.fields(golden):
        expected = n if field.name == "imu_valid" else (*n, sizes.get(field.name, joints))
        got = getattr(golden, field.name).shape
        if getattr(golden, field.name).dtype.kind not in "bfiu":
            return f"golden {field.name} does not hold numbers"
        if got != expected:
            return f"golden {field.name} has shape {got}, the contract needs {expected}"
    return ""


def replay(contract: Contract, policy: Policy, golden: Golden) -> dict[str, float]:
    """Largest absolute difference of what is expected, by name; NaN counts as infinite.

    Each is judged alone: the recorded actions go into the next observation and the targets. Every
    sequence begins with a fresh hidden state, which then is the policy's own.
    """
    fields = {name: getattr(golden, name) for name in STATE_FIELDS}
    results = _drive(
        contract, policy.step, policy.initial_state, fields, golden.command, golden.action
    )
    return {name: _difference(got, getattr(golden, name)) for name, got in results.items()}


def _difference(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape:
        return float("inf")
    return float(np.max(np.nan_to_num(np.abs(got - expected), nan=np.inf), initial=0.0))


def _drive(
    contract: Contract,
    decide: Decide,
    initial: Callable[[], Any],
    fields: dict[str, np.ndarray],
    commands: np.ndarray,
    follow: np.ndarray | None,  # actions to go on with instead of those decided
) -> dict[str, np.ndarray]:
    sequences, steps = fields["imu_valid"].shape
    shape = (sequences, steps)
    observations = np.zeros((*shape, contract.observation_size), dtype=np.float32)
    actions = np.zeros((*shape, contract.action_size), dtype=np.float32)
    targets = np.zeros((*shape, contract.action_size), dtype=np.float32)
    remembered: list[np.ndarray] = []
    for i in range(sequences):
        memory, hidden = program.initial_memory(contract), initial()
        for t in range(steps):
            state = RobotState(**{name: values[i, t] for name, values in fields.items()})
            observation, memory = program.observe(contract, state, commands[i, t], memory)
            action, hidden = decide(observation, hidden)
            taken = np.asarray(action) if follow is None else follow[i, t]
            command, memory = program.act(contract, taken, memory)
            observations[i, t], actions[i, t] = observation, action
            targets[i, t] = command.target
            state_now = np.zeros(0) if hidden is None else np.asarray(hidden)
            remembered.append(state_now.astype(np.float32).reshape(-1))  # a copy
    width = len(remembered[0]) if remembered else 0
    hiddens = np.reshape(np.array(remembered, np.float32), (*shape, width))
    return {"observation": observations, "action": actions, "target": targets, "hidden": hiddens}
