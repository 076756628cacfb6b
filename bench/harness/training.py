"""Training on Gymnasium's tasks with an evaluation every so often, off the clock."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import torch
from retort.distill.checkpoint import load_checkpoint, save_checkpoint
from retort.distill.evaluation import actor_of, random_actor, run_episodes
from retort.distill.networks import Critic, make_actor
from retort.distill.ppo import PPO, PPOConfig, train
from retort.distill.sources.rollout import Actor, RolloutSource
from retort.sim.gymnasium_tasks import StudentView
from retort.sim.interface import LearningEnv
from retort.sim.named import GymnasiumConfig, make_named_env
from retort.sim.several import SeveralEnv

from .results import Point
from .runs import Log

# ``mujoco.batch`` computes no contact forces: they are out of observation and cost, for everybody.
KEYWORDS: dict[str, dict[str, Any]] = {
    "Ant": {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0},
    "Humanoid": {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0},
}
# Environments of other names than their task's, as Gymnasium knows them.
REGISTERED = {
    "CartPole": "CartPole-v1",
    "LunarLander": "LunarLander-v3",
    "Breakout": "MinAtar/Breakout-v1",
}
# Other tasks on a body of Gymnasium's.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "HalfCheetah-back": ("HalfCheetah", {"forward_reward_weight": -1.0}),
}
# Several tasks side by side.
SEVERAL = {"HalfCheetah-both": ("HalfCheetah", "HalfCheetah-back")}
CURVE_EPISODES, FINAL_EPISODES = 20, 50
CURVE_SEED, FINAL_SEED = 2_000_003, 1_000_003  # no run trains on them
EVERYTHING = StudentView()


def make_env(
    task: str, num_envs: int, *, autoreset: bool = True, view: StudentView = EVERYTHING
) -> LearningEnv:
    """Environments of a task, as every learner of ours gets them; students see its ``view``.

    Of several tasks there are equally many; only Gymnasium's MuJoCo tasks have views.
    """
    if task in SEVERAL:
        names = SEVERAL[task]
        each = max(1, num_envs // len(names))
        return SeveralEnv([make_env(name, each, autoreset=autoreset) for name in names])
    if task in REGISTERED:
        name, keywords = registered(task), {}
    else:
        name, keywords = VARIANTS.get(task, (task, KEYWORDS.get(task, {})))
    config = GymnasiumConfig(keywords=keywords, view=view)
    return make_named_env(name, num_envs, config, autoreset=autoreset)


def registered(task: str) -> str:
    """The name under which Gymnasium makes a task of ``REGISTERED``."""
    name = REGISTERED[task]
    if name.startswith("MinAtar/") and name not in gymnasium.registry:
        from minatar.gym import register_envs  # pyright: ignore[reportMissingImports]

        register_envs()
    return name


def curve_return(task: str, actor: Actor, view: StudentView = EVERYTHING) -> float:
    """Mean return of a point on a curve."""
    env = make_env(task, CURVE_EPISODES, autoreset=False, view=view)
    return float(run_episodes(env, actor, CURVE_SEED).returns.mean())


def final_returns(
    task: str, actor: Actor, view: StudentView = EVERYTHING, *, episodes: int | None = None
) -> list[float]:
    """Returns of the held-out episodes, by the parameters that training ended with.

    There are ``FINAL_EPISODES`` if nothing else is said, of each where there are several tasks.
    """
    count = episodes or FINAL_EPISODES * len(SEVERAL.get(task, (task,)))
    env = make_env(task, count, autoreset=False, view=view)
    return np.round(run_episodes(env, actor, FINAL_SEED).returns, 2).tolist()


def random_returns(task: str, seed: int) -> list[float]:
    """Returns of uniform random actions in the held-out episodes."""
    return final_returns(task, random_actor(make_env(task, 1), torch.Generator().manual_seed(seed)))


class Curve:
    """Evaluates an actor whenever another ``every`` steps are done.

    Args:
        task: on which.
        actor: acts by the present parameters.
        every: environment steps.
        log: told of every point.
        target: return at which, once reached by two successive points, it is ``reached``.
        view: what a student sees.
    """

    def __init__(
        self,
        task: str,
        actor: Actor,
        every: int,
        log: Log,
        target: float = float("inf"),
        view: StudentView = EVERYTHING,
    ) -> None:
        self.task, self.actor, self.every, self.log, self.target = task, actor, every, log, target
        self.view = view
        self.points: list[Point] = []

    def at(self, steps: int, seconds: float) -> None:
        """Perhaps evaluate, ``seconds`` of learning having brought the run to ``steps``."""
        if steps // self.every > (self.points[-1].steps if self.points else 0) // self.every:
            value = self.measure()
            self.points.append(Point(steps, round(seconds, 2), round(value, 1)))
            self.log(f"{steps:9d} steps {seconds:7.1f} s   return {value:8.1f}")

    def measure(self) -> float:
        """Mean return of a point."""
        return curve_return(self.task, self.actor, self.view)

    @property
    def reached(self) -> bool:
        """The last two points are at or above the target."""
        last = self.points[-2:]
        return len(last) == 2 and all(point.mean_return >= self.target for point in last)


def follow(
    iterations: Iterator[dict[str, Any]], curve: Curve, seconds: float = 0.0
) -> dict[str, float]:
    """Let a learner learn until its budget or the curve's target is reached; its last figures.

    ``cpu_seconds`` are those of all threads without evaluation, hardly more beside other work.

    Args:
        iterations: ``train`` or ``distil``.
        curve: evaluated between iterations.
        seconds: already spent before the first iteration.
    """
    figures: dict[str, Any] = {}
    began, aside = time.process_time(), 0.0
    for figures in iterations:
        stopped = time.process_time()
        curve.at(figures["steps"], seconds + figures["seconds"])
        aside += time.process_time() - stopped
        if curve.reached:
            break
    return {
        "steps": figures["steps"],
        "seconds": round(seconds + figures["seconds"], 2),
        "cpu_seconds": round(time.process_time() - began - aside, 2),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What another library is given to learn, and when it may stop."""

    name: str
    seed: int
    steps: int  # of the environment, at most
    every: int  # steps between two points of the curve
    target: float = float("inf")  # return at which, reached by two successive points, it ends
    limit: float = float("inf")  # CPU seconds after which it is given up

    def curve(self, actor: Actor, log: Log) -> Curve:
        """Where its evaluations go."""
        return Curve(self.name, actor, self.every, log, self.target)


class Stopwatch:
    """Wall and CPU seconds since it was made, with evaluation off the clock.

    For learners that are not iterators of ours; theirs calls ``at`` between two updates.

    Args:
        curve: evaluated there.
        limit: CPU seconds of learning after which it is given up; those hardly depend on what
            else the machine does.
    """

    def __init__(self, curve: Curve, limit: float = float("inf")) -> None:
        self.curve, self.limit = curve, limit
        self._began, self._cpu_began = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Of learning."""
        return time.perf_counter() - self._began

    @property
    def cpu_seconds(self) -> float:
        """Of learning, of all threads."""
        return time.process_time() - self._cpu_began

    @property
    def over(self) -> bool:
        """The curve's target is reached, or the limit."""
        return self.curve.reached or self.cpu_seconds > self.limit

    def at(self, steps: int) -> bool:
        """Perhaps evaluate, after ``steps``; whether it is over."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.curve.at(steps, wall - self._began)
        self._began += time.perf_counter() - wall
        self._cpu_began += time.process_time() - cpu
        return self.over

    def figures(self, steps: int) -> dict[str, float]:
        """What ``follow`` says of a learner of ours."""
        return {
            "steps": steps,
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
        }


def learn_ppo(
    task: str,
    config: PPOConfig,
    seed: int,
    log: Log,
    *,
    every: int,
    target: float = float("inf"),
) -> tuple[PPO, Curve, dict[str, float]]:
    """Train by PPO on a task as it stands."""
    env = make_env(task, config.num_envs)
    return learn_ppo_in(env, config, seed, lambda actor: Curve(task, actor, every, log, target))


def learn_ppo_in(
    env: LearningEnv, config: PPOConfig, seed: int, make_curve: Callable[[Actor], Curve]
) -> tuple[PPO, Curve, dict[str, float]]:
    """Train by PPO in ``env``, whose difficulty, if it has any, rises as PPO's settings say."""
    began = time.perf_counter()
    ppo = PPO(config, env, seed)
    if env.axes:
        env.level_source = ppo.draw_levels
    source = RolloutSource(env, config.ticks)
    source.start(seed)
    curve = make_curve(actor_of(ppo.actor))
    figures = follow(train(ppo, source), curve, time.perf_counter() - began)
    return ppo, curve, {**figures, "parameters": ppo.actor.parameter_count()}


def save_policy(path: Any, ppo: PPO) -> None:
    """Actor and critic, for those that learn from them."""
    critic = ppo.critic_of_returns()
    save_checkpoint(path, {"actor": ppo.actor.state_dict(), "critic": critic.state_dict()})


def load_policy(path: Any, task: str, config: PPOConfig) -> tuple[Any, Critic]:
    """The inverse of ``save_policy``."""
    return load_policy_for(path, make_env(task, 1), config)


def load_policy_for(path: Any, env: LearningEnv, config: PPOConfig) -> tuple[Any, Critic]:
    """``load_policy`` for any environment of the task."""
    size = env.groups["teacher"]
    actor = make_actor(size, env.single_action_space, config.hidden, config.activation)
    critic = Critic(size, config.critic_hidden, config.activation)
    saved = load_checkpoint(path)
    actor.load_state_dict(saved["actor"])
    critic.load_state_dict(saved["critic"])
    return actor, critic


def seeded(seed: int, make: Callable[[], Any]) -> Any:
    """What ``make`` gives with torch's own stream at ``seed``, which is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()
