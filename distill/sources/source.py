"""What distillation needs of whatever yields batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from ..batch import Batch

# observations by group, hidden state, resets -> action (N, actions), log-probability (N,), state
Actor = Callable[[dict[str, Tensor], Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class Source(Protocol):
    """Yields batches, each of which goes on where the last one ended."""

    @property
    def tasks(self) -> Tensor | None:
        """(N,) int64, which of several tasks each environment sets; None where nobody acts."""
        ...

    def share_with_teacher(self, share: float) -> None:
        """From now on the teacher drives ``share`` of the environments."""
        ...

    def collect(self, student: Actor, teacher: Actor | None = None) -> Batch:
        """The next batch, in which those two act if anybody does."""
        ...

    def figures(self, batch: Batch, steps: int) -> dict[str, Any]:
        """What progress says of a batch, with which ``steps`` have been learnt from."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit, or as far as a simulator can: arrays, tensors and
        JSON data."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        ...
