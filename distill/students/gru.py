"""A gated recurrent student, trained by backpropagation through the ticks of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ...controller.architecture import ARCHITECTURES
from .config import Interface, StudentConfig
from .student import Run, Student, dense

_WIDTH = 16
_NAMES = {
    "memory.weight_ih_l0": "memory.input.weight",
    "memory.bias_ih_l0": "memory.input.bias",
    "memory.weight_hh_l0": "memory.hidden.weight",
    "memory.bias_hh_l0": "memory.hidden.bias",
}


class GruStudent(Student):
    """Dense layers, gated recurrent units (Cho et al. 2014), a linear head; state: the units.

    Gradients go back to the first tick of the batch and no further.
    """

    architecture = ARCHITECTURES["gru"]

    def __init__(self, config: StudentConfig, interface: Interface) -> None:
        super().__init__(config, interface)
        sizes = (self.inputs, *config.hidden)
        self.state_size = config.recurrent or _WIDTH
        self.encoder = dense(sizes)
        self.memory = nn.GRU(sizes[-1], self.state_size)
        for name, parameter in self.memory.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                for gate in parameter.data.chunk(3):
                    nn.init.orthogonal_(gate)
        self.layers = dense((self.state_size, interface.outputs), head=True)

    def _run(self, x: Tensor, state: Tensor, resets: Tensor, *, keep: bool) -> Run:
        features: dict[str, Tensor] = {}
        x = self._dense(self.encoder, x, features)
        state = state * ~resets[0, :, None]
        if bool(resets[1:].any()):
            units = self._segments(x, state, resets)
        else:
            units, _ = self.memory(x, state[None])
        if keep:
            before = torch.cat([state[None], units[:-1] * ~resets[1:, :, None]])
            features = {"memory": before, **features, "gru": units}
        return self.layers[-1](units), units[-1], features

    def _other_matrix_inputs(self, x: Tensor, features: dict[str, Tensor]) -> dict[str, Tensor]:
        encoded = features[f"layer{len(self.encoder) - 1}"] if len(self.encoder) else x
        return {
            "memory.weight_ih_l0": encoded.flatten(0, 1),
            "memory.weight_hh_l0": features["memory"].flatten(0, 1),
        }

    def _segments(self, x: Tensor, state: Tensor, resets: Tensor) -> Tensor:
        """Units at every tick, (T, N, units); between two resets stands a sequence of its own.

        All of them run side by side as one packed sequence, longest first, which costs a third of
        masking the state at every tick.
        """
        ticks, n = resets.shape
        begins = resets.t().clone()
        begins[:, 0] = True
        start = begins.reshape(-1).nonzero()[:, 0]  # in the order environment, tick
        length = torch.diff(start, append=torch.tensor([n * ticks]))
        order = torch.argsort(length, descending=True, stable=True)
        start, length = start[order], length[order]
        running = (length > torch.arange(int(length[0]))[:, None]).sum(1)
        index = torch.cat([start[:count] + i for i, count in enumerate(running.tolist())])
        carried = (start % ticks == 0)[:, None]
        initial = state[start // ticks] * carried
        rows = x.transpose(0, 1).reshape(n * ticks, -1)[index]
        packed, _ = self.memory(PackedSequence(rows, running), initial[None])
        back = torch.empty_like(index)
        back[index] = torch.arange(len(index))
        return packed.data[back].view(n, ticks, -1).transpose(0, 1)

    def _exported(self, name: str) -> str:
        return _NAMES.get(name, name)
