"""Teachers trained by rsl_rl: perceptrons read from a checkpoint, without the library or pickle."""

from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ....hardware.checks import NOT_NEGATIVE, POSITIVE, Range, check
from ...distributions import Gaussian
from ...networks import activations
from ..teacher import TeacherOutput, ValuesOf
from .base import ForeignTeacher, ForeignTeacherError

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "selu": nn.SELU,
    "relu": nn.ReLU,
    "crelu": nn.CELU,  # what rsl_rl means by it
    "lrelu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
}


class _Network:
    """Empirical normaliser and perceptron out of a state dict."""

    def __init__(
        self,
        path: Path,
        layers: dict[str, Tensor],
        statistics: dict[str, Tensor],
        activation: type[nn.Module],
        epsilon: float,
    ) -> None:
        numbers = sorted({int(name.split(".")[0]) for name in layers})
        modules: list[nn.Module] = []
        sizes: list[int] = []
        for number in numbers:
            if modules:
                modules.append(activation())
            weight, bias = layers.get(f"{number}.weight"), layers.get(f"{number}.bias")
            if weight is None or bias is None or weight.ndim != 2:
                raise ForeignTeacherError(
                    f"{path}: layer {number} is not linear; only perceptrons can be read"
                )
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict({"weight": weight, "bias": bias})
            modules.append(linear)
            sizes += weight.shape[::-1]
        self.layers = nn.Sequential(*modules).requires_grad_(False)
        self.inputs, self.outputs = sizes[0], sizes[-1]
        self.mean = statistics.get("_mean", torch.zeros(self.inputs)).reshape(-1)
        self.divisor = torch.ones(self.inputs)
        if "_std" in statistics:
            self.divisor = statistics["_std"].reshape(-1) + epsilon

    def __call__(self, observation: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return activations(self.layers, (observation - self.mean) / self.divisor)


class RslRlTeacher(ForeignTeacher):
    """A Gaussian policy with the value of its critic, if that sees the same observations.

    Args:
        path: a checkpoint, ``model_<n>.pt``, of rsl_rl 2 to 5.
        activation, gamma, normaliser_epsilon: what it was trained with and does not say; the last
            is added to deviations of observations. The defaults are rsl_rl's.
        state_dependent_std: how the second half of the actor's outputs gives deviations, "scalar"
            or "log", where they depend on the state.
        std_floor: least deviation it may claim.
        group: the observations it knows; rsl_rl's groups of the actor in one.

    Raises:
        ForeignTeacherError: the file cannot be read without running code, is of another kind, or
            holds a recurrent or convolutional actor, or there is no such activation.
        RangeError: a number is not in its range.
    """

    def __init__(
        self,
        path: Path,
        *,
        activation: str = "elu",
        gamma: float = 0.99,
        normaliser_epsilon: float = 1e-2,
        state_dependent_std: Literal["scalar", "log"] | None = None,
        std_floor: float = 1e-3,
        group: str = "teacher",
    ) -> None:
        check("std_floor", std_floor, POSITIVE)
        check("gamma", gamma, Range(0.0, 1.0, open_high=True))
        check("normaliser_epsilon", normaliser_epsilon, NOT_NEGATIVE)
        if activation not in _ACTIVATIONS:
            raise ForeignTeacherError(
                f"the teacher's activation is {activation!r}; use one of {', '.join(_ACTIVATIONS)}"
            )
        if state_dependent_std not in (None, "scalar", "log"):
            raise ForeignTeacherError(
                f"the teacher's state_dependent_std is {state_dependent_std!r}; use 'scalar' or "
                "'log', or leave it out"
            )
        how = _ACTIVATIONS[activation], normaliser_epsilon
        parts = _parts(path, _read(path))
        self._actor = _Network(path, parts.actor, parts.actor_statistics, *how)
        self._critic = None
        if parts.critic:
            self._critic = _Network(path, parts.critic, parts.critic_statistics, *how)
        self._unit = 1.0 - gamma
        self.values_of = None if self._critic is None else ValuesOf(gamma)
        self._std, self._by_state = parts.std, state_dependent_std
        self.std_floor = std_floor
        outputs = self._actor.outputs // (1 if self._by_state is None else 2)
        if self._by_state is None and (self._std is None or self._std.shape != (outputs,)):
            raise ForeignTeacherError(
                f"{path}: the actor has {outputs} outputs and no deviation for each; if it was "
                "trained with deviations that depend on the state, set state_dependent_std to "
                "'scalar' or 'log'; other distributions cannot be read"
            )
        super().__init__(
            group=group,
            observation_size=self._actor.inputs,
            actions=None,
            outputs=outputs,
            discrete=False,
        )

    def describe(self, observation: Tensor) -> TeacherOutput:
        output, hidden = self._actor(observation)
        if self._by_state is None:
            assert self._std is not None
            mean, std = output, self._std.expand_as(output)
        else:
            mean, std = output.chunk(2, dim=-1)
            std = std.exp() if self._by_state == "log" else std
        value = None
        if self._critic is not None and self._critic.inputs == observation.shape[-1]:
            value = self._critic(observation)[0].squeeze(-1) * self._unit
        return TeacherOutput(Gaussian(mean, std.clamp(min=self.std_floor)), value, features=hidden)


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, without running code."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ForeignTeacherError(f"cannot read {path}: {error}; name one that is there") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:  # which advises to run it
        raise ForeignTeacherError(
            f"{path} does not hold tensors alone; give the model_<n>.pt that rsl_rl's runner "
            "saved, not an exported policy"
        ) from error
    if not isinstance(saved, dict):
        raise ForeignTeacherError(
            f"{path} holds a {type(saved).__name__}, expected rsl_rl's dict; give the model_<n>.pt "
            "that its runner saved"
        )
    return saved


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What is read of a checkpoint: layers by ``<number>.weight``, and statistics."""

    actor: dict[str, Tensor]
    actor_statistics: dict[str, Tensor]
    critic: dict[str, Tensor]
    critic_statistics: dict[str, Tensor]
    std: Tensor | None  # (actions,)


def _parts(path: Path, saved: dict[str, Any]) -> _Parts:
    if "actor_state_dict" in saved:  # 4 and later: one dict each
        model, critic = saved["actor_state_dict"], saved.get("critic_state_dict", {})
        parts = _Parts(
            _under(model, "mlp."),
            _under(model, "obs_normalizer."),
            _under(critic, "mlp."),
            _under(critic, "obs_normalizer."),
            _std(model, "distribution.std_param", "distribution.log_std_param"),
        )
    elif "model_state_dict" in saved:
        model = saved["model_state_dict"]
        # Up to 2 the statistics stood beside the model, then in it.
        parts = _Parts(
            _under(model, "actor."),
            saved.get("obs_norm_state_dict") or _under(model, "actor_obs_normalizer."),
            _under(model, "critic."),
            saved.get("privileged_obs_norm_state_dict")
            or saved.get("critic_obs_norm_state_dict")
            or _under(model, "critic_obs_normalizer."),
            _std(model, "std", "log_std"),
        )
    else:
        raise ForeignTeacherError(
            f"{path} has {', '.join(saved) or 'nothing'}, expected actor_state_dict or "
            "model_state_dict; give the model_<n>.pt that rsl_rl's runner saved"
        )
    remembers = [name for name in model if re.match(r"(rnn|memory_a|cnns?)\b", name)]
    if remembers:
        raise ForeignTeacherError(
            f"{path}: the actor has {remembers[0]}, expected a perceptron; export it as ONNX "
            "without a state, or train an MLP actor"
        )
    if not parts.actor:
        raise ForeignTeacherError(
            f"{path}: no layers of an actor among {', '.join(model)}; give a checkpoint of PPO"
        )
    return parts


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _std(state: dict[str, Tensor], plain: str, log: str) -> Tensor | None:
    if plain in state:
        return state[plain].float()
    return state[log].float().exp() if log in state else None
