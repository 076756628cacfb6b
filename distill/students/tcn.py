"""A student of causal dilated convolutions over time (van den Oord et al. 2016)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ...controller.architecture import ARCHITECTURES
from ..networks import linear
from ..whitening import Whitening
from .config import Interface, StudentConfig
from .student import Run, Student, dense

CHANNELS, _KERNEL = (16, 16), 3


class TcnStudent(Student):
    """Convolutions whose dilation doubles from layer to layer, then dense layers.

    Its state is the past inputs that each convolution still needs, oldest first, layer after layer;
    before an episode they are zero. A sequence at once gives what single ticks give.
    """

    architecture = ARCHITECTURES["tcn"]

    def __init__(self, config: StudentConfig, interface: Interface) -> None:
        super().__init__(config, interface)
        channels, taps = config.channels or CHANNELS, config.kernel or _KERNEL
        self.taps = taps
        self.convolutions, self.sizes = nn.ModuleList(), []
        size = self.inputs
        for i, width in enumerate(channels):
            self.convolutions.append(linear(taps * size, width))
            self.sizes.append((size, (taps - 1) * 2**i))  # inputs, ticks remembered
            size = width
        self.state_size = sum(inputs * ticks for inputs, ticks in self.sizes)
        self.layers = dense((size, *config.hidden, interface.outputs), head=True)
        if config.whiten:
            self.whitening = Whitening(taps * self.inputs)

    def _run(self, x: Tensor, state: Tensor, resets: Tensor, *, keep: bool) -> Run:
        features: dict[str, Tensor] = {}
        age = _age(resets) if bool(resets.any()) else None
        parts = state.split([inputs * ticks for inputs, ticks in self.sizes], dim=1)
        after, before = [], []
        for i, convolution in enumerate(self.convolutions):
            inputs, past = self.sizes[i]
            buffer = parts[i].reshape(-1, past, inputs).transpose(0, 1)
            timeline = torch.cat([buffer, x])
            lags = range(past, -1, -(2**i))
            taps = torch.cat([_back(timeline, len(x), lag, age) for lag in lags], dim=-1)
            if keep:
                window = [_back(timeline, len(x), lag, age) for lag in range(past, 0, -1)]
                before.append(torch.cat(window, dim=-1))
            rest = timeline[len(timeline) - past :]
            if age is not None:
                lag = torch.arange(past - 1, -1, -1)[:, None]
                rest = rest * (age[-1] >= lag)[..., None]
            after.append(rest.transpose(0, 1).reshape(len(state), -1))
            x = self._dense([convolution], self._whitened(taps) if i == 0 else taps, features)
        x = self._dense(self.layers[:-1], x, features)
        if keep:
            features = {"memory": torch.cat(before, dim=-1), **features}
        return self.layers[-1](x), torch.cat(after, dim=1), features

    def _first_layer(self) -> nn.Linear:
        return cast(nn.Linear, self.convolutions[0])

    def _first_inputs(self, x: Tensor, state: Tensor, resets: Tensor) -> Tensor:
        inputs, past = self.sizes[0]
        buffer = state[:, : inputs * past].reshape(-1, past, inputs).transpose(0, 1)
        timeline, age = torch.cat([buffer, x]), _age(resets)
        now = torch.arange(past, past + len(x))[:, None]
        when = [now - age.clamp(max=lag) for lag in range(past, -1, -1)]  # an episode's first, once
        taps = [timeline.gather(0, t[..., None].expand(-1, -1, inputs)) for t in when]
        return torch.cat(taps, dim=-1).flatten(0, 1)


def _age(resets: Tensor) -> Tensor:
    """Ticks since the last reset, (T, N); more than any lag where there was none."""
    ticks = torch.arange(len(resets))[:, None].expand(resets.shape)
    last = torch.where(resets, ticks, torch.full_like(ticks, -(1 << 40))).cummax(0).values
    return ticks - last


def _back(timeline: Tensor, ticks: int, lag: int, age: Tensor | None) -> Tensor:
    """What stood ``lag`` ticks before each of the last ``ticks``, zero if before a reset."""
    end = len(timeline) - lag
    values = timeline[end - ticks : end]
    return values if age is None or lag == 0 else values * (age >= lag)[..., None]
