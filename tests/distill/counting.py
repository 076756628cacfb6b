"""The smallest teacher that remembers."""

import torch
from retort.distill.distributions import Gaussian
from retort.distill.teachers import TeacherOutput


class Counting:
    """Says which tick of the episode it is, from 1 on, and nothing else."""

    def __init__(self, actions=1):
        self.actions = actions

    def initial_state(self, n):
        return torch.zeros(n, 1)

    def __call__(self, observations, state, resets):
        counts = []
        for reset in resets:
            state = torch.where(reset[:, None], torch.zeros_like(state), state) + 1.0
            counts.append(state)
        mean = torch.stack(counts).expand(*resets.shape, self.actions)
        mean = mean + 0.0 * observations["teacher"].sum(-1, keepdim=True)
        return TeacherOutput(Gaussian(mean, torch.full_like(mean, 1e-3)), mean[..., 0]), state
