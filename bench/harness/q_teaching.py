"""Teachers of action values: DQN of Stable-Baselines3, kept as the weights of its Q-network alone.

A file of that library holds pickles and the replay buffer's settings; what is kept here is read by
nobody who does not build the network first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import torch
from retort.distill.checkpoint import load_checkpoint, save_checkpoint
from retort.distill.sources.rollout import Actor
from retort.distill.teachers.foreign import Sb3Teacher
from torch import Tensor

from .peers.stable_baselines3 import watched_by
from .runs import Log, Made, Place, Run
from .training import Curve, Stopwatch, final_returns, registered

if TYPE_CHECKING:
    from stable_baselines3 import DQN  # pyright: ignore[reportMissingImports]

HIDDEN = (256, 256)
# Held-out episodes; scores of Breakout differ from episode to episode as much as they are high.
EPISODES = {"CartPole": 50, "LunarLander": 200, "Breakout": 300}
STEPS = {"CartPole": 50_000, "LunarLander": 150_000, "Breakout": 500_000}
PACKAGES = {"CartPole": "stable_baselines3", "LunarLander": "Box2D", "Breakout": "minatar"}
_POINTS = 10  # on a curve
_LEAST_RATE = 0.02  # share of the learning rate that is left at the end

# rl-baselines3-zoo, hyperparams/dqn.yml, for the first two. For the third, Young and Tian 2019
# (MinAtar): replay of 100 000, its start at 5 000, targets every 1 000 frames, exploration over the
# first 100 000; eight environments with two gradient steps of 64 to eight frames instead of one of
# 32 to each, and a perceptron instead of a convolution, so that a core learns it in minutes.
SETTINGS: dict[str, dict[str, Any]] = {
    "CartPole": {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
    },
    "LunarLander": {
        "learning_rate": 6.3e-4,
        "batch_size": 128,
        "buffer_size": 50_000,
        "learning_starts": 0,
        "gamma": 0.99,
        "target_update_interval": 250,
        "train_freq": 4,
        "gradient_steps": -1,
        "exploration_fraction": 0.12,
        "exploration_final_eps": 0.1,
    },
    "Breakout": {
        "learning_rate": 5e-4,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 5_000,
        "gamma": 0.99,
        "target_update_interval": 1_000,
        "train_freq": 1,
        "gradient_steps": 2,
        "exploration_fraction": 0.1,
        "exploration_final_eps": 0.02,
    },
}
_NUM_ENVS = {"Breakout": 8}


def q_teacher_run(table: str, task: str, seed: int) -> Run:
    """The run that leaves the teacher of a task and seed."""
    return Run(
        table=table,
        task=task,
        arm="teacher",
        seed=seed,
        budget=STEPS[task],
        execute=_teach,
        keeps=True,
        package=PACKAGES[task],
    )


def load_q_teacher(place: Place, run: Run) -> Sb3Teacher:
    """The teacher that ``run`` left."""
    model = _model(run.task, run.seed, buffer_size=1)
    model.q_net.load_state_dict(load_checkpoint(place.checkpoint(run))["q"])
    return Sb3Teacher(model)


def best_choice(teacher: Sb3Teacher) -> Actor:
    """The teacher acting by its largest Q-value."""

    @torch.no_grad()
    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> tuple[Any, Any, Tensor]:
        q = teacher.describe(groups["teacher"]).q
        assert q is not None
        return q.argmax(-1), None, state

    return act


def _model(task: str, seed: int, **changes: Any) -> DQN:
    from stable_baselines3 import DQN  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
        DummyVecEnv,
    )

    name = registered(task)
    env = DummyVecEnv([lambda: gymnasium.make(name)] * _NUM_ENVS.get(task, 1))
    settings = {**SETTINGS[task], **changes}
    rate = settings["learning_rate"]
    settings["learning_rate"] = lambda left: rate * max(left, _LEAST_RATE)
    policy = {"net_arch": list(HIDDEN)}
    with torch.random.fork_rng():  # the library seeds torch
        return DQN("MlpPolicy", env, seed=seed, device="cpu", policy_kwargs=policy, **settings)


def _teach(run: Run, place: Place, log: Log) -> Made:
    steps = place.steps(run.budget)
    model = _model(run.task, run.seed)
    actor = _Watched(model)
    curve = _BestKept(run.task, actor, max(1, steps // _POINTS), log)
    watch = Stopwatch(curve)
    model.learn(steps, callback=watched_by(watch))
    figures = watch.figures(model.num_timesteps)
    figures["parameters"] = sum(p.numel() for p in model.q_net.parameters())
    watch.at(model.num_timesteps)
    save_checkpoint(place.checkpoint(run), {"q": curve.weights})
    teacher = load_q_teacher(place, run)
    final = final_returns(run.task, best_choice(teacher), episodes=EPISODES[run.task])
    settings = {**SETTINGS[run.task], "net_arch": HIDDEN, "n_envs": _NUM_ENVS.get(run.task, 1)}
    return Made(settings, watch.curve.points, final, figures)


class _BestKept(Curve):
    """A curve that keeps the Q-network of its best point, since DQN comes and goes."""

    actor: _Watched

    def __init__(self, task: str, actor: _Watched, every: int, log: Log) -> None:
        super().__init__(task, actor, every, log)
        self.best, self.weights = float("-inf"), {}

    def measure(self) -> float:
        value = super().measure()
        if value > self.best:
            now = self.actor.model.q_net.state_dict()
            self.best, self.weights = value, {n: v.clone() for n, v in now.items()}
        return value


class _Watched:
    """A model that goes on learning, acting by its largest Q-value."""

    def __init__(self, model: DQN) -> None:
        self.model = model

    def __call__(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Any, Tensor]:
        shape = self.model.observation_space.shape or ()
        action, _ = self.model.predict(
            groups["teacher"].numpy().reshape(-1, *shape), deterministic=True
        )
        return torch.from_numpy(action), None, state
