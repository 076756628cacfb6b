"""PPO told in one file, in the manner of CleanRL, on EnvPool's MuJoCo tasks, evaluated as ours is.

Written from the algorithm's description (Schulman et al. 2017; Huang et al. 2022, "The 37
implementation details of PPO"). Settings: those CleanRL publishes for continuous actions; those of
EnvPool's paper (Weng et al. 2022) for its MuJoCo tasks; and ours as far as they exist there.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import torch
from retort.distill.ppo_settings import gymnasium_ppo
from torch import Tensor, nn

from ..runs import Log, Made
from ..training import Stopwatch, Task, final_returns

LIBRARY, PACKAGE = "CleanRL-style PPO on EnvPool", "envpool"
SETTINGS = ("cleanrl", "cleanrl-envpool", "cleanrl-fast")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of PPO; the defaults are CleanRL's for continuous actions."""

    num_envs: int = 1
    num_steps: int = 2048
    learning_rate: float = 3e-4  # falls linearly to zero
    gamma: float = 0.99
    gae_lambda: float = 0.95
    minibatches: int = 32
    epochs: int = 10
    clip: float = 0.2
    clip_value: bool = True
    value_weight: float = 0.5
    max_gradient_norm: float = 0.5
    entropy: float = 0.0
    activation: str = "tanh"
    initial_std: float = 1.0


def settings(task: str, arm: str, steps: int) -> Settings:
    """For a task and one of ``SETTINGS``."""
    if arm == "cleanrl":
        return Settings()
    if arm == "cleanrl-envpool":
        return Settings(
            num_envs=64,
            num_steps=64,
            learning_rate=0.00295,
            minibatches=4,
            epochs=2,
            value_weight=1.3,
            max_gradient_norm=3.5,
        )
    ours = gymnasium_ppo(task, "fast", steps=steps)
    return Settings(
        num_envs=ours.num_envs,
        num_steps=ours.ticks,
        learning_rate=ours.learning_rate,
        gamma=ours.gamma,
        gae_lambda=ours.lam,
        minibatches=ours.minibatches,
        epochs=ours.epochs,
        clip=ours.clip,
        clip_value=False,
        value_weight=2.0 * ours.value_weight,  # it stands before half the squared error
        max_gradient_norm=ours.max_gradient_norm,
        entropy=ours.entropy,
        activation=ours.activation,
        initial_std=ours.initial_std,
    )


class Agent(nn.Module):
    """Actor and critic of 64-64 with orthogonal weights, and a deviation of its own."""

    def __init__(self, inputs: int, actions: int, activation: str, initial_std: float) -> None:
        super().__init__()
        function = {"tanh": nn.Tanh, "relu": nn.ReLU}[activation]

        def network(outputs: int, gain: float) -> nn.Sequential:
            layers = [nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, outputs)]
            for layer, scale in zip(layers, (2**0.5, 2**0.5, gain), strict=True):
                nn.init.orthogonal_(layer.weight, scale)
                nn.init.zeros_(layer.bias)
            return nn.Sequential(layers[0], function(), layers[1], function(), layers[2])

        self.critic, self.actor = network(1, 1.0), network(actions, 0.01)
        self.log_std = nn.Parameter(torch.full((1, actions), float(np.log(initial_std))))

    def value(self, observation: Tensor) -> Tensor:
        return self.critic(observation).squeeze(-1)

    def policy(self, observation: Tensor) -> torch.distributions.Normal:
        mean = self.actor(observation)
        return torch.distributions.Normal(mean, self.log_std.expand_as(mean).exp())


class RunningMoments:
    """Mean and variance of all rows so far (Chan et al. 1979)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean, self.variance, self.count = np.zeros(shape), np.ones(shape), 1e-4

    def update(self, rows: np.ndarray) -> None:
        total = self.count + len(rows)
        share, delta = len(rows) / total, rows.mean(0) - self.mean
        spread = (rows.var(0) - self.variance) * share + delta**2 * share * (1 - share)
        self.mean, self.variance = self.mean + delta * share, self.variance + spread
        self.count = total


class NormalisedEnvPool:
    """EnvPool with what Gymnasium's wrappers do: clipped actions, normalised and clipped
    observations and rewards.

    The step after an episode's last is the next one's first observation, its action is ignored.
    """

    def __init__(self, task: str, num_envs: int, seed: int, gamma: float) -> None:
        import envpool

        threads = min(num_envs, os.cpu_count() or 1)
        self.env = envpool.make_gymnasium(
            f"{task}-v5", num_envs=num_envs, num_threads=threads, seed=seed
        )
        self.inputs = int(self.env.observation_space.shape[0])
        self.actions = int(self.env.action_space.shape[0])
        self.gamma, self.seen = gamma, RunningMoments((self.inputs,))
        self.returns, self.spread = np.zeros(num_envs), RunningMoments(())

    def reset(self) -> Tensor:
        observation, _ = self.env.reset()
        return self._observe(observation)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Observation, reward and whether the episode is over, of each environment."""
        low, high = self.env.action_space.low, self.env.action_space.high
        clipped = np.clip(action.numpy().astype(np.float64), low, high)
        observation, reward, terminated, truncated, _ = self.env.step(clipped)
        done = terminated | truncated
        self.returns = self.returns * self.gamma + reward
        self.spread.update(self.returns)
        self.returns[done] = 0.0
        scaled = np.clip(reward / np.sqrt(self.spread.variance + 1e-8), -10.0, 10.0)
        return (
            self._observe(observation),
            torch.from_numpy(scaled.astype(np.float32)),
            torch.from_numpy(done.astype(np.float32)),
        )

    def _observe(self, observation: np.ndarray) -> Tensor:
        self.seen.update(observation)
        return self.normalise(observation)

    def normalise(self, observation: np.ndarray) -> Tensor:
        scaled = (observation - self.seen.mean) / np.sqrt(self.seen.variance + 1e-8)
        return torch.from_numpy(np.clip(scaled, -10.0, 10.0).astype(np.float32))


def learn(task: Task, arm: str, log: Log) -> Made:
    """Train it until its budget or the target is reached, and evaluate it."""
    config = settings(task.name, arm, task.steps)
    curve = task.curve(lambda *seen: act(*seen), log)
    watch = Stopwatch(curve, task.limit)
    torch.manual_seed(task.seed)
    env = NormalisedEnvPool(task.name, config.num_envs, task.seed, config.gamma)
    agent = Agent(env.inputs, env.actions, config.activation, config.initial_std)

    @torch.no_grad()
    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> tuple[Any, Any, Tensor]:
        return agent.actor(env.normalise(groups["teacher"].numpy())), None, state

    done_steps = _train(config, env, agent, task.steps, watch)
    figures = watch.figures(done_steps)
    figures["parameters"] = sum(p.numel() for p in agent.actor.parameters())
    shown = dataclasses.asdict(config)
    return Made(shown, curve.points, final_returns(task.name, act), figures)


def _train(
    config: Settings, env: NormalisedEnvPool, agent: Agent, steps: int, watch: Stopwatch
) -> int:
    """The algorithm; gives the environment steps it took."""
    optimiser = torch.optim.Adam(agent.parameters(), lr=config.learning_rate, eps=1e-5)
    shape = (config.num_steps, config.num_envs)
    observations = torch.zeros(*shape, env.inputs)
    actions = torch.zeros(*shape, env.actions)
    log_probs, rewards, dones, values = (torch.zeros(shape) for _ in range(4))
    rows = config.num_steps * config.num_envs
    iterations = max(1, steps // rows)
    observation, done = env.reset(), torch.zeros(config.num_envs)
    for iteration in range(iterations):
        optimiser.param_groups[0]["lr"] = (1.0 - iteration / iterations) * config.learning_rate
        for t in range(config.num_steps):
            observations[t], dones[t] = observation, done
            with torch.no_grad():
                policy = agent.policy(observation)
                action = policy.sample()
                values[t] = agent.value(observation)
            actions[t], log_probs[t] = action, policy.log_prob(action).sum(-1)
            observation, rewards[t], done = env.step(action)
        with torch.no_grad():
            following, ended, advantage = agent.value(observation), done, torch.zeros(shape[1])
            advantages = torch.zeros(shape)
            for t in reversed(range(config.num_steps)):
                delta = rewards[t] + config.gamma * following * (1 - ended) - values[t]
                advantage = delta + config.gamma * config.gae_lambda * (1 - ended) * advantage
                advantages[t], following, ended = advantage, values[t], dones[t]
        columns = [x.flatten(0, 1) for x in (observations, actions, log_probs, advantages, values)]
        for _ in range(config.epochs):
            for ids in torch.randperm(rows).chunk(config.minibatches):
                loss = _loss(config, agent, *(column[ids] for column in columns))
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), config.max_gradient_norm)
                optimiser.step()
        if watch.at((iteration + 1) * rows):
            break
    return (iteration + 1) * rows


def _loss(
    config: Settings,
    agent: Agent,
    observation: Tensor,
    action: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    old_value: Tensor,
) -> Tensor:
    """Clipped policy loss and value loss, less the entropy by its weight."""
    target = advantage + old_value
    policy = agent.policy(observation)
    ratio = (policy.log_prob(action).sum(-1) - old_log_prob).exp()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    limited = ratio.clamp(1 - config.clip, 1 + config.clip)
    policy_loss = torch.max(-advantage * ratio, -advantage * limited).mean()
    value = agent.value(observation)
    error = (value - target).square()
    if config.clip_value:
        near = old_value + (value - old_value).clamp(-config.clip, config.clip)
        error = torch.max(error, (near - target).square())
    entropy = policy.entropy().sum(-1).mean()
    return policy_loss + config.value_weight * 0.5 * error.mean() - config.entropy * entropy
