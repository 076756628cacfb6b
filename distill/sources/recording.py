"""Recorded episodes in memory, and teachers' words as plain arrays and back.

Critics are functions and cannot be recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...hardware.errors import RetortError
from ..distributions import Categorical, Distribution, Gaussian, TanhGaussian
from ..teachers import TeacherOutput, ValuesOf

_FAMILIES: dict[str, type[Distribution]] = {
    "gaussian": Gaussian,
    "tanh_gaussian": TanhGaussian,
    "categorical": Categorical,
}
_OPTIONAL = ("value", "q", "latent")


class DatasetError(RetortError):
    """A data set cannot be written or read, or does not fit."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """``T`` ticks of one episode."""

    observations: dict[str, Tensor]  # group: (T + 1, size), the final one included
    action: Tensor  # (T, actions), or (T,) of choices
    log_prob: Tensor  # (T,) of ``action`` under whoever acted; under the label if unknown
    reward: Tensor  # (T,)
    terminated: Tensor  # (T,) bool
    truncated: Tensor  # (T,) bool
    level: Tensor  # (T, axes) difficulty
    task: Tensor  # (T,) int64
    labels: tuple[TeacherOutput, ...]  # (T, ...) of each teacher
    values_of: tuple[ValuesOf | None, ...] = ()  # what their values count; none known where empty

    def __len__(self) -> int:
        return len(self.reward)


def label_kind(said: TeacherOutput) -> dict[str, Any]:
    """What must be known of a label beside its arrays: family, and of a squashed one its range and
    least deviation.

    Raises:
        DatasetError: a distribution of another family.
    """
    distribution = said.distribution
    family = next((name for name, kind in _FAMILIES.items() if type(distribution) is kind), None)
    if family is None:
        raise DatasetError(
            f"a teacher says {type(distribution).__name__}, which data sets have no columns for; "
            f"let it say one of {', '.join(kind.__name__ for kind in _FAMILIES.values())}"
        )
    kind: dict[str, Any] = {"family": family}
    if isinstance(distribution, TanhGaussian):
        kind["least_std"] = distribution.least_std
        size = distribution.mean.shape[-1]
        for name in ("scale", "shift"):
            value = torch.as_tensor(getattr(distribution, name), dtype=torch.float32)
            kind[name] = value.expand(*value.shape[:-1], size).reshape(-1, size)[0].tolist()
    return kind


def label_arrays(said: TeacherOutput, keep_features: bool) -> dict[str, Any]:
    """The tensors of a label by name, (..., ) each, inner layers if ``keep_features``."""
    distribution = said.distribution
    names = ("logits",) if isinstance(distribution, Categorical) else ("mean", "std")
    arrays: dict[str, Any] = {name: getattr(distribution, name) for name in names}
    arrays |= {name: getattr(said, name) for name in _OPTIONAL if getattr(said, name) is not None}
    if keep_features and said.features:
        arrays["features"] = dict(said.features)
    return arrays


def label(arrays: dict[str, Any], kind: dict[str, Any]) -> TeacherOutput:
    """What a teacher said, from its arrays (T, ...)."""
    if kind["family"] == "categorical":
        distribution: Distribution = Categorical(arrays["logits"])
    elif kind["family"] == "gaussian":
        distribution = Gaussian(arrays["mean"], arrays["std"])
    else:
        mean = arrays["mean"]
        scale, shift = (torch.tensor(kind[name]).expand_as(mean) for name in ("scale", "shift"))
        least = kind.get("least_std", 1e-6)  # older sets do not say
        distribution = TanhGaussian(mean, arrays["std"], scale, shift, least)
    said = {name: arrays.get(name) for name in _OPTIONAL}
    return TeacherOutput(distribution, **said, features=arrays.get("features", {}))


def imitated(action: Tensor, choices: int, noise_std: float) -> TeacherOutput:
    """Whoever took ``action`` as a teacher."""
    if choices:
        taken = torch.nn.functional.one_hot(action, choices).bool()
        return TeacherOutput(Categorical(torch.zeros(taken.shape).masked_fill(~taken, -torch.inf)))
    return TeacherOutput(Gaussian(action, torch.full_like(action, noise_std)))


def joined(said: Sequence[TeacherOutput]) -> TeacherOutput:
    """What one teacher said of several episodes, one after the other."""
    first = said[0]
    kind = type(first.distribution)

    def join(values: Sequence[Any]) -> Any:
        return torch.cat(list(values)) if isinstance(values[0], Tensor) else values[0]

    assert dataclasses.is_dataclass(kind)
    fields = [field.name for field in dataclasses.fields(kind)]
    return TeacherOutput(
        kind(*(join([getattr(each.distribution, name) for each in said]) for name in fields)),
        value=join([each.value for each in said]),
        q=join([each.q for each in said]),
        latent=join([each.latent for each in said]),
        features={k: join([each.features[k] for each in said]) for k in first.features},
    )
