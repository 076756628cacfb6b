"""Short measurements for all, and an environment that can be reckoned by hand."""

import functools

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from retort.distill.networks import GaussianActor
from retort.distill.stages import verbs


@pytest.fixture(scope="session", autouse=True)
def few_measured():
    """What a curriculum is scaled by needs no 128 episodes of each level here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verbs, "_measured", functools.partial(verbs._measured, episodes=16))
        yield


class Tracking:
    """Say what you see, and lose what you are off by.

    Observation of two uniform numbers; reward ``10 - |action - first|``, minus the difficulty.

    ``groups`` see the same. Actions have no effect on what follows.
    """

    STD = 2.0  # of each observation

    def __init__(self, num_envs, episode_ticks=20, *, autoreset=False, axes=()):
        self.num_envs, self.episode_ticks, self.autoreset = num_envs, episode_ticks, autoreset
        self.axes = axes
        self.level_source = lambda ids, rng: np.zeros((len(ids), len(axes)))
        self.levels = np.zeros((num_envs, len(axes)))
        self.elapsed = np.zeros(num_envs, dtype=np.int64)
        self.score = np.zeros(num_envs)
        self.period, self.resumable = 0.02, False
        self.groups = {"student": 2, "teacher": 2}
        self.single_action_space = Box(-np.inf, np.inf, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.elapsed[:] = 0
        self.score[:] = 0.0
        self.levels = self.level_source(np.arange(self.num_envs), self.rng)
        return self._see(), self.info

    def step(self, actions):
        reward = 10.0 - np.abs(actions[:, 0] - self.seen[:, 0]) - 4.0 * self.levels.sum(axis=1)
        self.score += reward
        self.elapsed += 1
        over = self.elapsed >= self.episode_ticks
        final = self._see()
        if self.autoreset and over.any():
            self.info |= {"_final_obs": over, "final_student": final, "final_teacher": final}
            self.info["episode_score"] = self.score / self.episode_ticks
            self.elapsed[over] = 0
            self.score[over] = 0.0
        return final, reward, np.zeros(self.num_envs, dtype=bool), over, self.info

    def _see(self):
        spread = self.STD * 3.0**0.5
        self.seen = self.rng.uniform(-spread, spread, (self.num_envs, 2)).astype(np.float32)
        self.info = {"student": self.seen, "teacher": self.seen}
        return self.seen


def _tracker(offset=0.0):
    """The policy that says the first number it sees, plus ``offset``."""
    actor = GaussianActor(2, 1, (), initial_std=0.5)
    with torch.no_grad():
        actor.normaliser.variance.fill_(Tracking.STD**2 - 1e-5)
        actor.normaliser.count.fill_(1.0)
        actor.network[0].weight.copy_(torch.tensor([[Tracking.STD, 0.0]]))
        actor.network[0].bias.fill_(offset)
    return actor.requires_grad_(False)


@pytest.fixture(scope="session")
def tracking():
    """The environment's class."""
    return Tracking


@pytest.fixture(scope="session")
def tracker():
    """What makes its policies."""
    return _tracker
