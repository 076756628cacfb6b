"""A perceptron over the window of history in the observation; its state is empty."""

from __future__ import annotations

from torch import Tensor

from .config import Interface, StudentConfig
from .student import Run, Student, dense


class MlpStudent(Student):
    """Dense layers; what it knows of the past is what the observation holds of it."""

    def __init__(self, config: StudentConfig, interface: Interface) -> None:
        super().__init__(config, interface)
        self.layers = dense((self.inputs, *config.hidden, interface.outputs), head=True)

    def _run(self, x: Tensor, state: Tensor, resets: Tensor, *, keep: bool) -> Run:
        features: dict[str, Tensor] = {}
        x = self._dense(self.layers[:-1], x, features)
        return self.layers[-1](x), state, features
