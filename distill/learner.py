"""What training needs of whatever learns: PPO, a distiller."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from .batch import Batch


class Learner(Protocol):
    """A policy that acts where batches are made, and learns from them.

    How it is told of a batch is its own: a teacher's words are more than a reward.
    """

    def act(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Its sampled action at one tick, as a source asks for it.

        Args:
            groups: observations by group, (N, size) each.
            state: (N, hidden) of a policy that remembers.
            reset: (N,) bool: the tick is the first of an episode.

        Returns:
            Actions (N, actions), or (N,) of choices, log-probabilities (N,), and its new state.
        """
        ...

    def measure(self, batch: Batch) -> None:
        """Merge a batch into the statistics that observations are normalised by."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        ...
