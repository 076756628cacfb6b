"""PPO of Stable-Baselines3, on Gymnasium's own environments, evaluated as ours is.

Settings: rl-baselines3-zoo, ``hyperparams/ppo.yml`` (tuned for the v3 tasks), and ours as far as
they exist there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from retort.distill.ppo_settings import gymnasium_ppo
from torch import Tensor

from ..runs import Log, Made
from ..training import KEYWORDS, Stopwatch, Task, final_returns

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecNormalize

LIBRARY, PACKAGE = "Stable-Baselines3", "stable_baselines3"
SETTINGS = ("sb3-zoo", "sb3-fast")

_ZOO: dict[str, dict[str, Any]] = {
    "HalfCheetah": {
        "batch_size": 64,
        "n_steps": 512,
        "gamma": 0.98,
        "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762,
        "clip_range": 0.1,
        "n_epochs": 20,
        "gae_lambda": 0.92,
        "max_grad_norm": 0.8,
        "vf_coef": 0.58096,
    },
    "Hopper": {
        "batch_size": 32,
        "n_steps": 512,
        "gamma": 0.999,
        "learning_rate": 9.80828e-05,
        "ent_coef": 0.00229519,
        "clip_range": 0.2,
        "n_epochs": 5,
        "gae_lambda": 0.99,
        "max_grad_norm": 0.7,
        "vf_coef": 0.835671,
    },
}
_ZOO_POLICY = {
    "log_std_init": -2.0,
    "ortho_init": False,
    "activation_fn": torch.nn.ReLU,
    "net_arch": {"pi": [256, 256], "vf": [256, 256]},
}


def settings(task: str, arm: str, steps: int) -> tuple[int, dict[str, Any]]:
    """Number of environments and keyword arguments of ``PPO`` for a task."""
    if arm == "sb3-zoo":
        return 1, {**_ZOO[task], "policy_kwargs": dict(_ZOO_POLICY)}
    ours = gymnasium_ppo(task, "fast", steps=steps)
    functions = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "elu": torch.nn.ELU}
    first, last = ours.learning_rate, ours.final_learning_rate
    return ours.num_envs, {
        "n_steps": ours.ticks,
        "batch_size": ours.num_envs * ours.ticks // ours.minibatches,
        "n_epochs": ours.epochs,
        "gamma": ours.gamma,
        "gae_lambda": ours.lam,
        "clip_range": ours.clip,
        "ent_coef": ours.entropy,
        "vf_coef": ours.value_weight,
        "max_grad_norm": ours.max_gradient_norm,
        "learning_rate": lambda left: last + (first - last) * left,
        "policy_kwargs": {
            "log_std_init": float(np.log(ours.initial_std)),
            "activation_fn": functions[ours.activation],
            "net_arch": {"pi": list(ours.hidden), "vf": list(ours.critic_hidden)},
        },
    }


def learn(task: Task, arm: str, log: Log) -> Made:
    """Train it until its budget or the target is reached, and evaluate it."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    num_envs, keywords = settings(task.name, arm, task.steps)
    make = [lambda: gymnasium.make(f"{task.name}-v5", **KEYWORDS.get(task.name, {}))] * num_envs
    curve = task.curve(lambda *seen: actor(*seen), log)
    watch = Stopwatch(curve, task.limit)
    env = VecNormalize(DummyVecEnv(make), gamma=keywords["gamma"])
    model = PPO("MlpPolicy", env, seed=task.seed, device="cpu", **keywords)
    actor = _Actor(model, env)
    model.learn(task.steps, callback=watched_by(watch))
    figures = watch.figures(model.num_timesteps)
    watch.at(model.num_timesteps)
    layers = (model.policy.mlp_extractor.policy_net, model.policy.action_net)
    figures["parameters"] = sum(p.numel() for layer in layers for p in layer.parameters())
    env.close()
    shown = {k: v for k, v in keywords.items() if not callable(v)}
    shown["policy_kwargs"] = {k: str(v) for k, v in keywords["policy_kwargs"].items()}
    final = final_returns(task.name, actor)
    return Made({"n_envs": num_envs, **shown}, curve.points, final, figures)


def watched_by(watch: Stopwatch) -> Any:
    """A callback that evaluates between rollouts, with the clock of learning stopped."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Watch(BaseCallback):
        def _on_rollout_start(self) -> None:
            if self.num_timesteps:
                watch.at(self.num_timesteps)

        def _on_step(self) -> bool:
            return not watch.over

    return Watch()


class _Actor:
    """A model acting by its mean, behind its own normaliser."""

    def __init__(self, model: Any, env: VecNormalize) -> None:
        self.model, self.env = model, env

    def __call__(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Any, Tensor]:
        observation = self.env.normalize_obs(groups["teacher"].numpy())
        action, _ = self.model.predict(observation, deterministic=True)
        return torch.from_numpy(action), None, state
