"""PPO and distillation of rsl_rl on our vectorised environments, evaluated as ours are.

Settings of PPO: rsl_rl's own example (``config/example_config.yaml`` of its repository, which
names no number of environments: as many as ours); those Isaac Lab publishes for its Ant; and ours
as far as they exist there. Of distillation: those Isaac Lab publishes, and ours as far.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from retort.distill.ppo_settings import gymnasium_ppo
from retort.distill.teachers import ActorTeacher
from retort.sim.gymnasium_tasks import GymnasiumTaskEnv
from torch import Tensor, nn

from ..distilling import ARMS, distil_config
from ..runs import Log, Made
from ..training import Curve, Stopwatch, Task, final_returns, make_env

LIBRARY, PACKAGE = "rsl_rl on our environments", "rsl_rl"
SETTINGS = ("rsl_rl", "rsl_rl-isaaclab", "rsl_rl-fast")
DISTILLATION = ("rsl_rl-isaaclab", "rsl_rl-ours")
_ENVS = 64  # where the published settings leave it to the machine


def settings(task: str, arm: str, steps: int) -> tuple[int, dict[str, Any]]:
    """Number of environments and the configuration of ``OnPolicyRunner``."""
    if arm == "rsl_rl":
        return _ENVS, _configuration(24, (256, 256, 256), "elu", entropy_coef=0.01)
    if arm == "rsl_rl-isaaclab":
        return _ENVS, _configuration(32, (400, 200, 100), "elu", learning_rate=5e-4)
    ours = gymnasium_ppo(task, "fast", steps=steps)
    return ours.num_envs, _configuration(
        ours.ticks,
        ours.hidden,
        ours.activation,
        initial_std=ours.initial_std,
        normalise=True,
        num_learning_epochs=ours.epochs,
        num_mini_batches=ours.minibatches,
        learning_rate=ours.learning_rate,
        schedule="fixed",
        clip_param=ours.clip,
        use_clipped_value_loss=False,
        gamma=ours.gamma,
        lam=ours.lam,
        value_loss_coef=ours.value_weight,
        entropy_coef=ours.entropy,
        max_grad_norm=ours.max_gradient_norm,
        normalize_advantage_per_mini_batch=True,
    )


def _configuration(
    ticks: int,
    hidden: tuple[int, ...],
    activation: str,
    *,
    initial_std: float = 1.0,
    normalise: bool = False,
    **algorithm: Any,
) -> dict[str, Any]:
    network = {
        "class_name": "MLPModel",
        "hidden_dims": list(hidden),
        "activation": activation,
        "obs_normalization": normalise,
    }
    gaussian = {"class_name": "GaussianDistribution", "init_std": initial_std}
    return {
        "num_steps_per_env": ticks,
        "obs_groups": {"actor": ["teacher"], "critic": ["teacher"]},
        "actor": {**network, "distribution_cfg": gaussian},
        "critic": network,
        "algorithm": {
            "class_name": "PPO",
            "num_learning_epochs": 5,
            "num_mini_batches": 4,
            "learning_rate": 1e-3,
            "schedule": "adaptive",
            "desired_kl": 0.01,
            "entropy_coef": 0.0,
            "gamma": 0.99,
            "lam": 0.95,
            **algorithm,
        },
    }


def learn(task: Task, arm: str, log: Log) -> Made:
    """Train by PPO until the budget or the target is reached, and evaluate."""
    from rsl_rl.runners import OnPolicyRunner

    num_envs, config = settings(task.name, arm, task.steps)
    curve = task.curve(lambda *seen: act(*seen), log)
    watch = Stopwatch(curve, task.limit)
    torch.manual_seed(task.seed)
    env = VecEnv(make_env(task.name, num_envs), task.seed)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its networks
        runner = OnPolicyRunner(env, _copy(config))
    policy = runner.alg.get_policy()
    act = _actor(policy, "teacher")
    figures = _follow(runner, watch, task.steps)
    return _made({"n_envs": num_envs, **config}, task.name, policy, figures, curve, act)


def distil(task: Task, arm: str, teacher: ActorTeacher, hidden: tuple[int, ...], log: Log) -> Made:
    """Distil ``teacher`` by rsl_rl's ``Distillation``, and evaluate.

    The student acts and regresses on the teacher's mean in its own states, tick by tick in order,
    as a student with memory would; like ours it begins behind the teacher's normaliser.
    """
    from rsl_rl.runners import DistillationRunner

    ours = distil_config(ARMS["dagger"], task.name, task.steps)
    # Isaac Lab's student of ANYmal-D: 120 ticks, two passes, gradients over 15 ticks.
    ticks, epochs, length = 120, 2, 15
    if arm == "rsl_rl-ours":
        ticks, epochs, length = ours.ticks, ours.epochs, ours.ticks // ours.minibatches
    network = {
        "class_name": "MLPModel",
        "hidden_dims": list(hidden),
        "activation": "tanh",
        "obs_normalization": True,
    }
    config = {
        "num_steps_per_env": ticks,
        "obs_groups": {"student": ["student"], "teacher": ["teacher"]},
        "student": {
            **network,
            "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 0.1},
        },
        "teacher": network,
        "algorithm": {
            "class_name": "Distillation",
            "num_learning_epochs": epochs,
            "gradient_length": length,
            "learning_rate": 1e-3,
        },
    }
    curve = task.curve(lambda *seen: act(*seen), log)
    watch = Stopwatch(curve)
    torch.manual_seed(task.seed)
    env = VecEnv(make_env(task.name, ours.num_envs), task.seed)
    with contextlib.redirect_stdout(io.StringIO()):
        runner = DistillationRunner(env, _copy(config))
    runner.alg.teacher, runner.alg.teacher_loaded = _Taught(teacher), True
    student = runner.alg.get_policy()
    known, seen = student.obs_normalizer, teacher.actor.normaliser
    known._mean[:], known._std[:] = seen.mean, seen.std - known.eps
    known.until = 0  # it stays as it is
    act = _actor(student, "student")
    figures = _follow(runner, watch, task.steps)
    figures["teacher_queries"] = figures["steps"]
    return _made({"n_envs": ours.num_envs, **config}, task.name, student, figures, curve, act)


class VecEnv:
    """Our environments with the verbs that ``rsl_rl.env.VecEnv`` asks for.

    Args:
        env: with autoreset.
        seed: of its episodes; the first ones begin at random times.
    """

    def __init__(self, env: GymnasiumTaskEnv, seed: int) -> None:
        from tensordict import TensorDict

        self._tensors, self._env = TensorDict, env
        self.num_envs, self.num_actions = env.num_envs, int(env.single_action_space.shape[0])
        self.max_episode_length, self.device = env.episode_ticks, "cpu"
        self.cfg: dict[str, Any] = {}
        self._info = env.reset(seed=seed, options={"stagger": True})[1]

    @property
    def episode_length_buf(self) -> Tensor:
        """(num_envs,) ticks of the running episodes."""
        return torch.from_numpy(self._env.elapsed)

    def get_observations(self) -> Any:
        """A ``TensorDict`` of the groups ``student`` and ``teacher``, (num_envs, size) each."""
        groups = {group: torch.from_numpy(self._info[group]) for group in self._env.groups}
        return self._tensors(groups, batch_size=[self.num_envs])

    def step(self, actions: Tensor) -> tuple[Any, Tensor, Tensor, dict[str, Tensor]]:
        """Observations, rewards (num_envs,), dones (num_envs,) and which of them are time-outs."""
        _, reward, terminated, truncated, self._info = self._env.step(actions.numpy())
        extras = {"time_outs": torch.from_numpy(truncated & ~terminated)}
        done = torch.from_numpy(terminated | truncated)
        return self.get_observations(), torch.from_numpy(reward).float(), done, extras


class _Taught(nn.Module):
    """A teacher of ours where rsl_rl keeps its own."""

    def __init__(self, teacher: ActorTeacher) -> None:
        super().__init__()
        self.actor = teacher.actor

    def forward(self, observations: Any) -> Tensor:
        return self.actor(observations["teacher"]).mode()

    def reset(self, *_: Any, **__: Any) -> None:
        """It remembers nothing."""

    def get_hidden_state(self) -> None:
        """It has none."""


class _Reached(Exception):
    """The target is reached; the runner knows no other end before its last iteration."""


def _follow(runner: Any, watch: Stopwatch, steps: int) -> dict[str, float]:
    """Let a runner learn, with an evaluation where it would log."""
    rows = runner.cfg["num_steps_per_env"] * runner.env.num_envs
    done = 0

    def log(**_: Any) -> None:
        nonlocal done
        done += rows
        runner.alg.eval_mode()
        if watch.at(done):
            raise _Reached
        runner.alg.train_mode()

    runner.logger.log = log
    with contextlib.suppress(_Reached):
        runner.learn(max(1, steps // rows))
    runner.alg.eval_mode()
    return watch.figures(done)


def _actor(model: Any, group: str) -> Any:
    """A model acting by its mean."""

    @torch.no_grad()
    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> tuple[Any, Any, Tensor]:
        return model({group: groups[group]}), None, state

    return act


def _made(
    shown: dict[str, Any],
    task: str,
    model: Any,
    figures: dict[str, float],
    curve: Curve,
    act: Any,
) -> Made:
    figures["parameters"] = sum(p.numel() for p in model.mlp.parameters())
    return Made(shown, curve.points, final_returns(task, act), figures)


def _copy(config: dict[str, Any]) -> dict[str, Any]:
    """rsl_rl takes entries out of what it is given."""
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in config.items()}
