"""Models of other libraries, small and untrained, and how a teacher is asked."""

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box

TICKS, ENVS = 3, 5
NEVER = torch.zeros(TICKS, ENVS, dtype=torch.bool)


class Space(gymnasium.Env):
    """Nothing but an action space that is not symmetric, and four observations."""

    observation_space = Box(-np.inf, np.inf, (4,), np.float32)

    def __init__(self, actions=None):
        default = Box(np.float32([-1, 0]), np.float32([3, 0.5]), dtype=np.float32)
        self.action_space = actions or default

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(size=4).astype(np.float32), {}

    def step(self, action):
        return self.np_random.normal(size=4).astype(np.float32), 3.0, False, False, {}


def ask(teacher, observation):
    output, state = teacher({"teacher": observation}, teacher.initial_state(ENVS), NEVER)
    assert state.shape == (ENVS, 0)
    assert output.distribution.batch_shape == (TICKS, ENVS)
    return output


def sequence(size=4, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(TICKS, ENVS, size, generator=generator)


def rows(tensor):
    return tensor.flatten(0, 1)


def sb3_model(sb3, name, env, **options):
    if name not in ("PPO", "A2C"):
        options = {"buffer_size": 10, **options}
    with torch.random.fork_rng():
        return getattr(sb3, name)(
            "MlpPolicy",
            env,
            seed=0,
            device="cpu",
            policy_kwargs={"net_arch": [16, 8]},
            **options,
        )


def excite(module):
    """Weights large enough for outputs to differ from observation to observation."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
