"""What every student is: a normaliser, layers with an explicit state, and a distribution."""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ...controller.architecture import Architecture
from ..distributions import Categorical, Distribution, Gaussian
from ..networks import ACTIVATIONS, Normaliser, linear
from ..whitening import Whitening
from .config import Interface, StudentConfig
from .quantisation import InputMoments, Rounded, quantise

Run = tuple[Tensor, Tensor, dict[str, Tensor]]


class Student(nn.Module):
    """A policy over the contract's observations; subclasses say how it remembers.

    The state of a student is what the robot's runtime keeps between ticks, number for number.
    ``architecture`` tells the runtime its layers, whose parameters have the names of their groups.
    """

    architecture: ClassVar[Architecture]
    state_size: int = 0

    def __init__(self, config: StudentConfig, interface: Interface) -> None:
        super().__init__()
        self.config, self.interface = config, interface
        self.whitening: Whitening | None = None
        self.moments: InputMoments | None = None  # of what is rounded, from the first batch on
        self.stored: dict[str, Rounded] | None = None  # its matrices, once it is rounded
        self.normaliser = Normaliser(interface.observation_size, interface.limit)
        columns = interface.columns(self.architecture)
        self._columns: slice | Tensor = torch.from_numpy(columns)
        if np.array_equal(columns, np.arange(columns[0], columns[-1] + 1)):
            self._columns = slice(int(columns[0]), int(columns[-1]) + 1)
        self.inputs = len(columns)
        self.activation = ACTIVATIONS[config.activation]()
        self.log_std = None
        if not interface.discrete:
            start = torch.full((interface.outputs,), math.log(config.initial_std))
            self.log_std = nn.Parameter(start)

    def initial_state(self, n: int) -> Tensor:
        """(n, state_size) zeros."""
        return torch.zeros(n, self.state_size)

    def forward(
        self, sequence: Tensor, state: Tensor, resets: Tensor
    ) -> tuple[Distribution, Tensor]:
        """Actions for a sequence.

        Args:
            sequence: (T, N, observation_size), not normalised.
            state: (N, state_size) before the first tick.
            resets: (T, N) bool: forget before this tick.

        Returns:
            A distribution of shape (T, N) and the state after the last tick.
        """
        x = self.normaliser(sequence)[..., self._columns]
        output, state, _ = self._run(x, state, resets, keep=False)
        return self.distribution(output), state

    def forward_features(
        self, sequence: Tensor, state: Tensor, resets: Tensor
    ) -> tuple[Distribution, Tensor, dict[str, Tensor]]:
        """As ``forward``, with the inner layers by name, (T, N, width) each.

        A student that remembers also gives ``memory``, the state that every tick begins with.
        """
        x = self.normaliser(sequence)[..., self._columns]
        output, state, features = self._run(x, state, resets, keep=True)
        return self.distribution(output), state, features

    def respond(self, normalised: Tensor, memory: Tensor | None) -> Distribution:
        """Answers to single normalised observations (..., size), the state before each given.

        Args:
            normalised: what ``normaliser`` would have made of an observation.
            memory: (..., state_size), or None for a student without state.
        """
        shape = normalised.shape[:-1]
        x = normalised[..., self._columns].reshape(1, -1, self.inputs)
        state = x.new_zeros(x.shape[1], 0) if memory is None else memory.reshape(x.shape[1], -1)
        never = torch.zeros(x.shape[:2], dtype=torch.bool)
        output, _, _ = self._run(x, state, never, keep=False)
        return self.distribution(output.reshape(*shape, -1))

    def distribution(self, output: Tensor) -> Distribution:
        """What the last layer's output, (..., outputs), stands for."""
        if self.log_std is None:
            return Categorical(output)
        return Gaussian(output, self.log_std.exp().expand_as(output))

    def observe(self, sequence: Tensor, state: Tensor, resets: Tensor) -> None:
        """Learn from what ``forward`` would get how to whiten it and how to round, if so wanted.

        Args:
            sequence: (T, N, observation_size), not normalised.
            state: (N, state_size) before the first tick.
            resets: (T, N) bool.
        """
        if self.whitening is None and self.moments is None:
            return
        x = self.normaliser(sequence)[..., self._columns]
        if self.whitening is not None:
            self.whitening.update(self._first_layer(), self._first_inputs(x, state, resets))
        if self.moments is not None:
            self.moments.update(self._matrix_inputs(x, state, resets))

    def parameter_count(self) -> int:
        """What is stored and multiplied on the robot, normaliser aside."""
        return sum(p.numel() for name, p in self.named_parameters() if name != "log_std")

    def export(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Description and tensors for the robot's runtime, ``controller.policy``."""
        meta: dict[str, Any] = {
            "architecture": self.architecture.meta,
            "activation": self.config.activation,
        }
        tensors = {
            "normaliser.mean": self.normaliser.mean[self._columns],
            "normaliser.std": self.normaliser.std[self._columns],
        }
        deployed = self.deployed()._multiplied_out()
        for name, parameter in deployed.named_parameters():
            if name != "log_std":
                tensors[self._exported(name)] = parameter
        tensors = {name: t.detach().float().contiguous().clone() for name, t in tensors.items()}
        if deployed.stored is not None:
            meta |= {"weights": "int8", "group": self.config.group}
            for name, stored in deployed.stored.items():
                exported = self._exported(name)
                tensors |= {exported: stored.whole, f"{exported}.scale": stored.scale}
        return meta, tensors

    def prepare_rounding(self) -> None:
        """From now on ``observe`` learns how to round the weights as they are to be stored."""
        self.moments = InputMoments({name: p.shape[1] for name, p in self._matrices()})

    @torch.no_grad()
    def deployed(self) -> Student:
        """The student as it will run: weights rounded if they leave training as int8."""
        if self.config.quantise == "none" or self.stored is not None:
            return self
        twin = copy.deepcopy(self._multiplied_out())
        twin.stored, parameters = {}, dict(twin.named_parameters())
        for name, weight in twin._matrices():
            bias = parameters[bias_name] if (bias_name := _bias_of(name)) in parameters else None
            moment = None if self.moments is None else self.moments.of(name)
            stored = quantise(weight, bias, self.config.group, moment)
            weight.copy_(stored.weight(self.config.group))
            if bias is not None and stored.bias is not None:
                bias.copy_(stored.bias)
            twin.stored[name] = stored
        return twin

    def _matrices(self) -> Iterator[tuple[str, Tensor]]:
        """What is rounded, by name."""
        return ((name, p) for name, p in self.named_parameters() if p.ndim == 2)

    @torch.no_grad()
    def _matrix_inputs(self, x: Tensor, state: Tensor, resets: Tensor) -> dict[str, Tensor]:
        """What every matrix of a linear layer is multiplied with, (samples, columns) by its name,
        before it is whitened.

        A matrix that is missing here is rounded to the nearest steps.
        """
        read: dict[str, Tensor] = {}
        student = self._multiplied_out()
        hooks = []
        for name, layer in student.named_modules():
            if isinstance(layer, nn.Linear):
                keep = functools.partial(_keep, read, f"{name}.weight")
                hooks.append(layer.register_forward_pre_hook(keep))
        _, _, features = student._run(x, state, resets, keep=True)
        for hook in hooks:
            hook.remove()
        return read | self._other_matrix_inputs(x, features)

    def _other_matrix_inputs(self, x: Tensor, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same of matrices that are no linear layer's.

        Args:
            x: (T, N, inputs), normalised.
            features: inner layers, as ``forward_features`` gives them.
        """
        return {}

    def _run(self, x: Tensor, state: Tensor, resets: Tensor, *, keep: bool) -> Run:
        """Normalised inputs (T, N, inputs) to outputs, state and, if ``keep``, inner layers."""
        raise NotImplementedError

    def _whitened(self, x: Tensor) -> Tensor:
        """What the first layer reads, in the coordinates that it is learnt in."""
        return x if self.whitening is None else self.whitening(x)

    def _multiplied_out(self) -> Student:
        """The same policy without whitening: its first layer reads what is there."""
        if self.whitening is None:
            return self
        twin = copy.deepcopy(self)
        with torch.no_grad():
            twin._first_layer().weight.copy_(self.whitening.merged(self._first_layer()))
        twin.whitening = None
        return twin

    def _first_layer(self) -> nn.Linear:
        """The layer that reads what is whitened."""
        raise NotImplementedError

    def _first_inputs(self, x: Tensor, state: Tensor, resets: Tensor) -> Tensor:
        """What it reads at every tick, (T * N, size), as if every episode had begun at rest."""
        raise NotImplementedError

    def _exported(self, name: str) -> str:
        """The runtime's name of a parameter."""
        return name

    def _dense(self, layers: Iterable[nn.Module], x: Tensor, features: dict[str, Tensor]) -> Tensor:
        """Dense or convolution layers, each followed by the activation."""
        for layer in layers:
            x = self.activation(layer(x))
            features[f"layer{len(features) - ('memory' in features)}"] = x
        return x


def dense(sizes: tuple[int, ...], *, head: bool = False) -> nn.ModuleList:
    """Layers from size to size; the last of a ``head`` begins close to zero."""
    pairs = list(itertools.pairwise(sizes))
    last = len(pairs) - 1
    return nn.ModuleList(
        linear(a, b, 0.01 if head and i == last else 2**0.5) for i, (a, b) in enumerate(pairs)
    )


def _keep(read: dict[str, Tensor], name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Put aside what a layer reads, as rows."""
    rows = inputs[0].flatten(0, -2)
    read[name] = torch.cat([read[name], rows]) if name in read else rows


def _bias_of(name: str) -> str:
    """The name of the bias beside a matrix; one of no parameter where it has none."""
    return name.replace("weight", "bias") if "weight" in name else ""
