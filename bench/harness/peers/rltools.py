"""PPO of RLtools through its Python package, on Gymnasium's environments, evaluated as ours is.

The package compiles RLtools (C++) for the task and the settings when it is first asked, off the
clock, and steps environments one after the other through Python. Its switch for normalised
observations reaches nothing (the template sets it where the loop does not look), so they are
normalised outside, by statistics that all environments share. Settings: RLtools' zoo for Ant-v4,
and ours as far as they exist there.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

import gymnasium
import numpy as np
import torch
from retort.distill.ppo_settings import gymnasium_ppo
from torch import Tensor

from ..runs import Log, Made
from ..training import KEYWORDS, Stopwatch, Task, final_returns, make_env
from .cleanrl_envpool import RunningMoments

LIBRARY, PACKAGE = "RLtools", "rltools"
SETTINGS = ("rltools", "rltools-fast")


def settings(task: str, arm: str, steps: int) -> dict[str, Any]:
    """Keyword arguments of ``rltools.PPO`` for a task and one of ``SETTINGS``."""
    if arm == "rltools":
        return {
            "ACTOR_HIDDEN_DIM": 256,
            "CRITIC_HIDDEN_DIM": 256,
            "N_ENVIRONMENTS": 64,
            "ON_POLICY_RUNNER_STEPS_PER_ENV": 64,
            "BATCH_SIZE": 2048,
            "N_EPOCHS": 4,
            "INITIAL_ACTION_STD": 0.5,
            "ACTION_ENTROPY_COEFFICIENT": 0.0,
            "NORMALIZE_ADVANTAGE": False,
            "ADAPTIVE_LEARNING_RATE": True,
            "ADAPTIVE_LEARNING_RATE_POLICY_KL_THRESHOLD": 0.008,
        }
    ours = gymnasium_ppo(task, "fast", steps=steps)
    [width] = set(ours.hidden) | set(ours.critic_hidden)
    return {
        "ACTOR_HIDDEN_DIM": width,
        "ACTOR_NUM_LAYERS": len(ours.hidden) + 1,
        "ACTOR_ACTIVATION_FUNCTION": ours.activation.upper(),
        "CRITIC_HIDDEN_DIM": width,
        "CRITIC_NUM_LAYERS": len(ours.critic_hidden) + 1,
        "CRITIC_ACTIVATION_FUNCTION": ours.activation.upper(),
        "N_ENVIRONMENTS": ours.num_envs,
        "ON_POLICY_RUNNER_STEPS_PER_ENV": ours.ticks,
        "BATCH_SIZE": ours.num_envs * ours.ticks // ours.minibatches,
        "N_EPOCHS": ours.epochs,
        "INITIAL_ACTION_STD": ours.initial_std,
        "ACTION_ENTROPY_COEFFICIENT": ours.entropy,
        "EPSILON_CLIP": ours.clip,
        "GAMMA": ours.gamma,
        "LAMBDA": ours.lam,
        "OPTIMIZER_ALPHA": ours.learning_rate,
    }


def learn(task: Task, arm: str, log: Log) -> Made:
    """Train it until its budget or the target is reached, and evaluate it."""
    import rltools

    keywords = settings(task.name, arm, task.steps)
    rows = keywords["N_ENVIRONMENTS"] * keywords["ON_POLICY_RUNNER_STEPS_PER_ENV"]
    numbers = itertools.count(1000 * task.seed)

    def make() -> gymnasium.Env[Any, Any]:
        env = gymnasium.make(f"{task.name}-v5", **KEYWORDS.get(task.name, {}))
        return _Normalised(env, statistics, next(numbers))

    shown = make_env(task.name, 1)
    inputs, outputs = shown.groups["teacher"], int(shown.single_action_space.shape[0])
    statistics = RunningMoments((inputs,))
    with contextlib.redirect_stdout(io.StringIO()):
        module = rltools.PPO(
            make,
            interface_name=f"{task.name}_{arm}".replace("-", "_"),
            enable_evaluation=False,
            enable_blas=False,  # it refuses MKL in a process with PyTorch
            TOTAL_STEP_LIMIT=task.steps,
            **keywords,
        )
    curve = task.curve(lambda *seen: act(*seen), log)
    watch = Stopwatch(curve, task.limit)
    state = module.State(task.seed)

    def act(groups: dict[str, Tensor], memory: Tensor, reset: Tensor) -> tuple[Any, Any, Tensor]:
        observations = _normalised(statistics, groups["teacher"].numpy())
        actions = np.stack([state.action(observation) for observation in observations])
        return torch.from_numpy(actions), None, memory

    done = 0
    for _ in range(max(1, task.steps // rows)):
        state.step()
        done += rows
        if watch.at(done):
            break
    figures = watch.figures(done)
    width, hidden = keywords["ACTOR_HIDDEN_DIM"], keywords.get("ACTOR_NUM_LAYERS", 3) - 1
    widths = (inputs, *[width] * hidden, outputs)
    figures["parameters"] = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    return Made(keywords, curve.points, final_returns(task.name, act), figures)


class _Normalised(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Clipped actions and normalised observations; the space of actions stays as it is."""

    def __init__(self, env: gymnasium.Env[Any, Any], seen: RunningMoments, seed: int) -> None:
        super().__init__(env)
        self.seen = seen
        self.seed: int | None = seed  # of the first episode

    def reset(self, **keywords: Any) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(seed=self.seed)
        self.seed = None
        return self._observe(observation), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        observation, *rest = self.env.step(np.clip(action, -1.0, 1.0))
        return self._observe(observation), *rest

    def _observe(self, observation: np.ndarray) -> np.ndarray:
        self.seen.update(observation[None])
        return _normalised(self.seen, observation)


def _normalised(seen: RunningMoments, observation: np.ndarray) -> np.ndarray:
    scaled = (observation - seen.mean) / np.sqrt(seen.variance + 1e-8)
    return np.clip(scaled, -10.0, 10.0).astype(np.float32)
