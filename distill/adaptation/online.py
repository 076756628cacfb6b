"""A policy that adapts while it acts: gradient steps on the last seconds of what it lived through.

Every ``every`` ticks each environment's robot is given parameters of its own: those of the start,
after ``MetaConfig.inner_steps`` by ``lived_loss`` on its last ``window`` ticks. It always sets
out from the start, so that nothing accumulates and an adaptation that was wrong is gone one window
later.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from .meta import MetaConfig, PredictiveStudent, adapt, lived_loss


class AdaptingActor:
    """An ``Actor`` for episodes that all begin at once, without a teacher and without a reward.

    Args:
        start: the module to adapt; it stays as it is. Its student has no state.
        config: inner steps and rate, as the start was found with.
        window: ticks of the data adapted on.
        every: ticks between two adaptations; the first is after ``window``.

    Raises:
        ValueError: a student with a state, whose past would have to be lived through again.
    """

    def __init__(
        self, start: PredictiveStudent, config: MetaConfig, *, window: int, every: int
    ) -> None:
        if start.student.state_size:
            raise ValueError(
                f"the student is a {start.student.config.kind!r} and remembers already; adapt one "
                "without state, as kind = 'mlp'"
            )
        self.start, self.config, self.window, self.every = start, config, window, every
        self._adapted: list[PredictiveStudent] = []
        self._seen: deque[Tensor] = deque(maxlen=window + 1)  # the last is not acted upon yet
        self._acted: deque[Tensor] = deque(maxlen=window)
        self._ticks = 0

    def __call__(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Any, Tensor]:
        """The mode of every robot's own policy, as ``evaluation.run_episodes`` asks for it."""
        seen = groups["student"]
        if bool(reset.all()):
            self._adapted, self._ticks = [], 0
            self._seen.clear()
            self._acted.clear()
        self._seen.append(seen)
        if self._ticks >= self.window and (self._ticks - self.window) % self.every == 0:
            self._adapt()
        self._ticks += 1
        with torch.no_grad():
            action = self._act(seen)
        self._acted.append(action)
        return action, None, state

    def _act(self, seen: Tensor) -> Tensor:
        if not self._adapted:
            return self._mode(self.start, seen)
        rows = [self._mode(own, row) for own, row in zip(self._adapted, seen[:, None], strict=True)]
        return torch.cat(rows)

    def _mode(self, module: PredictiveStudent, seen: Tensor) -> Tensor:
        student = module.student
        never = torch.zeros(1, len(seen), dtype=torch.bool)
        said, _ = student(seen[None], student.initial_state(len(seen)), never)
        return said.mode()[0]

    def _adapt(self) -> None:
        seen, acted = torch.stack(list(self._seen)), torch.stack(list(self._acted))
        config = self.config
        with torch.enable_grad():
            self._adapted = [
                adapt(
                    self.start,
                    lambda module, own=slice(i, i + 1): lived_loss(
                        module, seen[:, own], acted[:, own]
                    ),
                    steps=config.inner_steps,
                    rate=config.inner_rate,
                )
                for i in range(seen.shape[1])
            ]
