"""A perceptron over the window of history in the observation; its state is empty."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from ...controller.architecture import ARCHITECTURES
from ..whitening import Whitening
from .config import Interface, StudentConfig
from .student import Run, Student, dense


class MlpStudent(Student):
    """Dense layers; what it knows of the past is what the observation holds of it."""

    architecture = ARCHITECTURES["mlp"]

    def __init__(self, config: StudentConfig, interface: Interface) -> None:
        super().__init__(config, interface)
        self.layers = dense((self.inputs, *config.hidden, interface.outputs), head=True)
        if config.whiten:
            self.whitening = Whitening(self.inputs)

    def _run(self, x: Tensor, state: Tensor, resets: Tensor, *, keep: bool) -> Run:
        features: dict[str, Tensor] = {}
        x = self._dense(self.layers[:-1], self._whitened(x), features)
        return self.layers[-1](x), state, features

    def _first_layer(self) -> nn.Linear:
        return cast(nn.Linear, self.layers[0])

    def _first_inputs(self, x: Tensor, state: Tensor, resets: Tensor) -> Tensor:
        return x.reshape(-1, self.inputs)
