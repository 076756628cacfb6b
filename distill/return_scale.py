"""The scale of what an environment returns, so that a critic has values near one to learn."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from .batch import Batch


class ReturnScale:
    """Running deviation of the discounted return, ``R_t = r_t + gamma R_{t-1}`` within episodes."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self._returns = np.zeros(0)  # (num_envs,) of the running episodes
        self._count, self._mean, self._variance = 0, 0.0, 1.0

    @property
    def std(self) -> float:
        """Never zero."""
        return math.sqrt(self._variance) + 1e-8

    def value_unit(self, reward_scale: Literal["horizon", "return"]) -> float:
        """What a critic of rewards so scaled is multiplied by to be (1 - gamma) times returns."""
        return 1.0 if reward_scale == "horizon" else (1.0 - self.gamma) * self.std

    def update(self, batch: Batch) -> None:
        """Merge the returns of a batch that follows on the last one."""
        reward, begins = batch.reward.double().numpy(), batch.reset.numpy()
        if len(self._returns) != batch.num_envs:
            self._returns = np.zeros(batch.num_envs)
        returns = np.empty_like(reward)
        for t in range(len(reward)):
            self._returns = np.where(begins[t], 0.0, self.gamma * self._returns) + reward[t]
            returns[t] = self._returns
        total = self._count + returns.size
        share, delta = returns.size / total, float(returns.mean()) - self._mean
        spread = (float(returns.var()) - self._variance) * share + delta**2 * share * (1 - share)
        self._count, self._mean = total, self._mean + delta * share
        self._variance += spread

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit."""
        statistics = [self._count, self._mean, self._variance]
        return {"returns": self._returns, "statistics": statistics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``; nothing where a checkpoint has none."""
        if state:
            self._returns = np.asarray(state["returns"]).copy()
            self._count, self._mean, self._variance = state["statistics"]
