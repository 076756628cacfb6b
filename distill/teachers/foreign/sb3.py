"""Teachers trained by Stable-Baselines3: PPO, A2C, SAC, TD3, DDPG and DQN.

The library is only needed to read its files; a teacher calls the networks inside the model.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from ....hardware.checks import POSITIVE, check
from ...bounds import Bounds
from ...distributions import Categorical, Distribution, Gaussian, TanhGaussian
from ...networks import activations
from ..teacher import BoundCritics, TeacherOutput, ValuesOf
from .base import ForeignTeacher, ForeignTeacherError

# What only this algorithm saves, in the order in which to ask.
_SIGNS = {
    "PPO": "clip_range",
    "A2C": "normalize_advantage",
    "SAC": "target_entropy",
    "TD3": "policy_delay",
    "DQN": "exploration_rate",
}


class Sb3Teacher(ForeignTeacher):
    """A Stable-Baselines3 model.

    PPO and A2C give their distribution and value, SAC a tanh-squashed Gaussian over the range of
    actions and its critics, TD3 and DDPG a Gaussian of stated deviation around their action, their
    critics and the value of that action, DQN its Q-values, ``softmax(Q / temperature)`` and the
    value of the best action. SAC gives no value, because its critics count entropy as reward.

    Values, Q-values and critics are in units of (1 - gamma) times the return; where rewards were
    normalised, they are scaled back by the statistics (clipping of rewards is not undone).

    Args:
        model: trained; it is frozen.
        statistics: its ``VecNormalize``, if it was trained with one.
        noise_std: stated deviation of TD3's and DDPG's actors, in units of their action; 0.1 when
            absent.
        temperature: of DQN's softmax, in the units of ``q``: about the gap between the two best
            actions (``losses.gap_temperature``); 0.01 when absent.
        std_floor: least deviation that PPO, A2C and SAC may claim, in units of their action; of
            actions that are squashed both before it and after it, there in units of half the range.
            When absent 0.05 of squashed ones, which would claim to be certain near its ends, else
            0.001.
        group: the observations it knows.

    Raises:
        ForeignTeacherError: another algorithm, observations that are not one flat array, or
            actions neither ``Box`` of one axis nor ``Discrete``, or an option that does nothing for
            this algorithm.
        RangeError: a deviation or temperature that is not above 0.
    """

    def __init__(
        self,
        model: Any,
        statistics: Any = None,
        *,
        noise_std: float | None = None,
        temperature: float | None = None,
        std_floor: float | None = None,
        group: str = "teacher",
    ) -> None:
        given = {"noise_std": noise_std, "temperature": temperature, "std_floor": std_floor}
        name = next((c.__name__ for c in type(model).__mro__ if c.__name__ in _SIGNS), None)
        if name is None:
            raise ForeignTeacherError(
                f"got a Stable-Baselines3 model of {type(model).__name__}; teachers can be "
                f"{', '.join(_SIGNS)} or DDPG"
            )
        observations, actions = model.observation_space, model.action_space
        _check_spaces(observations, actions)
        discrete = isinstance(actions, gymnasium.spaces.Discrete)
        takes = {"TD3": "noise_std", "DQN": "temperature"}.get(
            name, "" if discrete else "std_floor"
        )
        for option, value in given.items():
            if value is None:
                continue
            check(option, value, POSITIVE)
            if option != takes:
                of = f"{name} with choices" if discrete else name
                raise ForeignTeacherError(
                    f"{option} is {value} and does nothing for a model of {of}; leave it out"
                )
        super().__init__(
            group=group,
            observation_size=int(np.prod(observations.shape)),
            actions=actions,
            outputs=int(actions.n) if discrete else actions.shape[0],
            discrete=discrete,
        )
        self.model, self.policy = model, model.policy.to("cpu")
        self.policy.set_training_mode(False)
        self.policy.requires_grad_(False)
        self.noise_std = 0.1 if noise_std is None else noise_std
        self.temperature = 0.01 if temperature is None else temperature
        self.std_floor = std_floor or (0.05 if self.policy.squash_output else 1e-3)
        self._describe: Callable[[Tensor, Tensor], TeacherOutput] = {
            "PPO": self._actor_critic,
            "A2C": self._actor_critic,
            "SAC": self._sac,
            "TD3": self._td3,
            "DQN": self._dqn,
        }[name]
        self._mean, self._std, self._clip, reward_scale = _statistics(statistics)
        size = int(np.prod(model.observation_space.shape))
        if self._mean is not None and len(self._mean) != size:
            raise ForeignTeacherError(
                f"the statistics are of {len(self._mean)} numbers and the model sees {size}; give "
                "the file that VecNormalize.save wrote when this model was trained"
            )
        self._unit = (1.0 - model.gamma) * reward_scale
        self.values_of = None if name == "SAC" else ValuesOf(model.gamma)
        self._bounds = Bounds.of(actions)
        self._scale, self._shift = _range(self._bounds)

    def describe(self, observation: Tensor) -> TeacherOutput:
        return self._describe(observation, self._seen(observation))

    def _seen(self, observation: Tensor) -> Tensor:
        """What the networks' feature extractors take, of flat observations (..., size)."""
        rows = observation
        if self._mean is not None:
            scaled = (observation.double() - self._mean) / self._std  # as VecNormalize computes
            rows = scaled.clamp(-self._clip, self._clip).to(observation.dtype)
        return rows.reshape(-1, *self.model.observation_space.shape)

    def _actor_critic(self, observation: Tensor, seen: Tensor) -> TeacherOutput:
        policy = self.policy
        features = policy.pi_features_extractor(seen)
        latent, hidden = _hidden(policy.mlp_extractor.policy_net, features)
        said = policy._get_action_dist_from_latent(latent)
        value = policy.value_net(
            policy.mlp_extractor.forward_critic(policy.vf_features_extractor(seen))
        ).squeeze(-1)
        inner = said.distribution
        if self.discrete:
            distribution: Distribution = Categorical(inner.logits)
        elif getattr(said, "bijector", None) is not None:
            distribution = self._squashed(inner.loc, inner.scale)
        else:
            distribution = Gaussian(inner.loc, inner.scale.clamp(min=self.std_floor))
        return TeacherOutput(distribution, value * self._unit, features=hidden)

    def _sac(self, observation: Tensor, seen: Tensor) -> TeacherOutput:
        actor = self.policy.actor
        latent, hidden = _hidden(actor.latent_pi, actor.features_extractor(seen))
        mean = actor.mu(latent)
        if actor.use_sde:
            inner = actor.action_dist.proba_distribution(mean, actor.log_std, latent).distribution
            std = inner.scale
        else:
            std = actor.log_std(latent).clamp(-20.0, 2.0).exp()  # the library's own bounds
        return TeacherOutput(
            self._squashed(mean, std),
            critics=BoundCritics(self._critics, observation, self._bounds),
            features=hidden,
        )

    def _td3(self, observation: Tensor, seen: Tensor) -> TeacherOutput:
        actor = self.policy.actor
        squashed, hidden = _hidden(actor.mu, actor.features_extractor(seen))
        mean = self._shift + self._scale * squashed
        # The last activation squashes the action: it is no inner layer.
        hidden = {name: layer for name, layer in hidden.items() if layer is not squashed}
        return TeacherOutput(
            Gaussian(mean, torch.full_like(mean, self.noise_std)),
            self._critics(observation, mean).min(0).values,
            critics=BoundCritics(self._critics, observation, self._bounds),
            features=hidden,
        )

    def _dqn(self, observation: Tensor, seen: Tensor) -> TeacherOutput:
        network = self.policy.q_net
        q, hidden = _hidden(network.q_net, network.features_extractor(seen))
        q = q * self._unit
        return TeacherOutput(
            Categorical(q / self.temperature), q.max(-1).values, q=q, features=hidden
        )

    def _squashed(self, mean: Tensor, std: Tensor) -> TanhGaussian:
        """Of u's mean and deviation, over the range of actions."""
        std = std.clamp(min=self.std_floor)
        if self._scale.unique().numel() == self._shift.unique().numel() == 1:
            scale, shift = float(self._scale[0]), float(self._shift[0])
        else:
            scale, shift = self._scale.expand_as(mean), self._shift.expand_as(mean)
        return TanhGaussian(mean, std, scale, shift, self.std_floor)

    def _critics(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q(s, a) of every critic, (critics, ...)."""
        scaled = ((action - self._shift) / self._scale).reshape(-1, self.outputs)
        values = self.policy.critic(self._seen(observation), scaled)
        return torch.stack([q.view(action.shape[:-1]) for q in values]) * self._unit


def load_sb3(
    path: Path,
    *,
    algorithm: str | None = None,
    statistics: str | Path | None = None,
    **options: Any,
) -> Sb3Teacher:
    """The model of a Stable-Baselines3 zip file. Only load files you trust: both it and the
    statistics hold pickles, which can run any code.

    Args:
        path: what ``model.save`` wrote.
        algorithm: "PPO", "A2C", "SAC", "TD3", "DDPG" or "DQN"; found out when None.
        statistics: what ``VecNormalize.save`` wrote, if the model was trained with it.
        options: of ``Sb3Teacher``.

    Raises:
        ForeignTeacherError: the library is missing, or a file is not what it should be.
    """
    try:
        import stable_baselines3  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ForeignTeacherError(
            f"{path} needs Stable-Baselines3, which is not installed: pip install stable-baselines3"
        ) from error
    name = algorithm or _algorithm(path)
    if name not in (*_SIGNS, "DDPG"):
        raise ForeignTeacherError(
            f"the teacher's algorithm is {name!r}; use one of {', '.join(_SIGNS)} or DDPG"
        )
    try:
        with torch.random.fork_rng():  # loading seeds torch and draws weights
            model = getattr(stable_baselines3, name).load(path, device="cpu")
    except Exception as error:  # whatever unpickling somebody's classes raises
        raise ForeignTeacherError(
            f"cannot read {path} as a {name} model of Stable-Baselines3 "
            f"{stable_baselines3.__version__}: {error}; save it again with this version"
        ) from error
    return Sb3Teacher(model, None if statistics is None else _unpickled(statistics), **options)


def _unpickled(statistics: str | Path) -> Any:
    """What ``VecNormalize.save`` wrote."""
    try:
        with open(statistics, "rb") as file:
            return pickle.load(file)
    except Exception as error:  # whatever unpickling somebody's classes raises
        raise ForeignTeacherError(
            f"cannot read the statistics {statistics} ({error}); give the file that "
            "VecNormalize.save wrote"
        ) from error


def _algorithm(path: Path) -> str:
    """The algorithm a zip file was saved by, told by the settings that only it has."""
    try:
        with zipfile.ZipFile(path) as archive:
            saved = json.loads(archive.read("data"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ForeignTeacherError(
            f"{path} is not a model of Stable-Baselines3 ({error}); give the file that model.save "
            "wrote"
        ) from error
    for name, sign in _SIGNS.items():
        if sign in saved:
            return name
    raise ForeignTeacherError(
        f"{path} was saved by none of {', '.join(_SIGNS)}; say which with the option algorithm"
    )


def _check_spaces(observations: Any, actions: Any) -> None:
    box = gymnasium.spaces.Box
    if not isinstance(observations, box) or observations.dtype == np.uint8:
        raise ForeignTeacherError(
            f"the teacher observes {observations}, expected one Box that is not an image; train "
            "it with gymnasium.wrappers.FlattenObservation around the environment"
        )
    flat = isinstance(actions, box) and len(actions.shape) == 1
    if not flat and not isinstance(actions, gymnasium.spaces.Discrete):
        raise ForeignTeacherError(
            f"the teacher's actions are {actions}, expected a Box of one axis or Discrete"
        )


def _range(bounds: Bounds | None) -> tuple[Tensor, Tensor]:
    """Half width and middle of the range of actions, (actions,) each; 1 and 0 if unbounded."""
    if bounds is None or not all(bool(each.isfinite().all()) for each in bounds):
        return torch.ones(1), torch.zeros(1)
    low, high = bounds
    return (high - low) / 2.0, (high + low) / 2.0


def _statistics(normaliser: Any) -> tuple[Tensor | None, Tensor, float, float]:
    """Mean (None: none), deviation and limit of observations, and the scale of rewards."""
    if normaliser is None:
        return None, torch.ones(()), 0.0, 1.0
    if not hasattr(normaliser, "ret_rms"):
        raise ForeignTeacherError(
            f"got statistics of {type(normaliser).__name__}, expected VecNormalize; give the file "
            "that VecNormalize.save wrote"
        )
    epsilon = normaliser.epsilon
    scale = float(np.sqrt(normaliser.ret_rms.var + epsilon)) if normaliser.norm_reward else 1.0
    if not normaliser.norm_obs:
        return None, torch.ones(()), 0.0, scale
    if isinstance(normaliser.obs_rms, dict):
        raise ForeignTeacherError(
            "VecNormalize has statistics of several observations, expected one array; train with "
            "gymnasium.wrappers.FlattenObservation around the environment"
        )
    mean, variance = (
        torch.from_numpy(np.asarray(x, dtype=np.float64).reshape(-1))
        for x in (normaliser.obs_rms.mean, normaliser.obs_rms.var)
    )
    return mean, (variance + epsilon).sqrt(), float(normaliser.clip_obs), scale


def _hidden(network: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """What a network gives, and its inner layers where it is a plain perceptron."""
    if isinstance(network, nn.Sequential):
        return activations(network, x)
    return network(x), {}
