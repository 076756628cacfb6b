"""Settings of PPO for Gymnasium's tasks, found on seeds from 100 up; results use seeds below.

``fast`` reaches a good return in the fewest seconds, ``efficient`` the best in a million steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from .ppo import PPOConfig

Kind = Literal["fast", "efficient"]

_CONTINUOUS: dict[Kind, dict[str, Any]] = {
    "fast": {
        "num_envs": 128,
        "ticks": 32,
        "epochs": 5,
        "minibatches": 8,
        "learning_rate": 2e-3,
        "gamma": 0.98,
        "lam": 0.92,
        "activation": "relu",
    },
    "efficient": {
        "num_envs": 32,
        "ticks": 64,
        "epochs": 10,
        "minibatches": 8,
        "learning_rate": 1e-3,
        "gamma": 0.99,
        "lam": 0.95,
        "activation": "tanh",
    },
}
_CHANGES: dict[tuple[str, Kind], dict[str, Any]] = {}
_DISCRETE: dict[str, Any] = {
    "num_envs": 8,
    "ticks": 64,
    "epochs": 10,
    "minibatches": 4,
    "learning_rate": 3e-3,
    "gamma": 0.98,
    "lam": 0.9,
    "activation": "tanh",
}


def gymnasium_ppo(
    task: str, kind: Kind = "efficient", *, steps: int = 1_000_000, **changes: Any
) -> PPOConfig:
    """Settings for one of Gymnasium's MuJoCo tasks; a fall costs what its task says and no more.

    Args:
        task: by name, as ``HalfCheetah``.
        kind: what they are good at.
        steps: environment steps in all, over which the learning rate falls.
        changes: other fields of ``PPOConfig``.
    """
    settings = {**_CONTINUOUS[kind], **_CHANGES.get((task, kind), {}), "steps": steps}
    return _settings({**settings, **changes})


def discrete_ppo(*, steps: int = 100_000, **changes: Any) -> PPOConfig:
    """Settings for small tasks of discrete actions, such as CartPole."""
    return _settings({**_DISCRETE, "steps": steps, **changes})


def _settings(fields: dict[str, Any]) -> PPOConfig:
    base = PPOConfig(
        hidden=(64, 64),
        critic_hidden=(64, 64),
        learning_rate_schedule="linear",
        entropy=0.0,
        fall_penalty=0.0,
        final_fall_penalty=0.0,
    )
    return dataclasses.replace(base, **fields)
