"""Gymnasium's tasks, ours and theirs, as the tests here drive them."""

import gymnasium
import mujoco
import numpy as np
from retort.sim.gymnasium_tasks import Difficulty, GymnasiumTaskEnv, StudentView, Switch

# What Gymnasium must be told for its environment to be what ours is by default.
WITHOUT_CONTACT_FORCES = {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}
TOLERANCE = 1e-9


def gymnasiums(name, **keywords):
    """Gymnasium's environment, contact forces off unless asked for."""
    if name in ("Ant", "Humanoid"):
        keywords = {**WITHOUT_CONTACT_FORCES, **keywords}
    return gymnasium.make(f"{name}-v5", **keywords)


def restart(env, qpos, qvel):
    """Gymnasium's environment at the start of an episode in a given state."""
    env.reset()
    inner = env.unwrapped
    mujoco.mj_resetData(inner.model, inner.data)
    inner.set_state(qpos, qvel)
    return inner._get_obs()


def random_actions(env, seed):
    rng = np.random.default_rng(seed)
    low, high = env.single_action_space.low, env.single_action_space.high
    return rng.uniform(low, high, env.action_space.shape).astype(np.float32)


def hard(name="Hopper", **keywords):
    """Everything that can differ and change, switched on."""
    settings = {
        "num_envs": 12,
        "max_episode_steps": 40,
        "difficulty": Difficulty(),
        "level": 1.0,
        "switches": (
            Switch(quantity="payload", time=(0.02, 0.1), value=(0.1, 0.3)),
            Switch(quantity="motor_strength", time=(0.05, 0.1), value=(0.5, 0.8)),
        ),
        "student": StudentView(mask=("velocities",), noise=0.1, last_action=True),
    }
    return GymnasiumTaskEnv(name, **{**settings, **keywords})


def trace(env, ticks):
    seen = []
    for tick in range(ticks):
        observation, reward, terminated, truncated, info = env.step(random_actions(env, tick))
        seen += [observation, info["teacher"], reward, terminated, truncated, env.levels.copy()]
    return seen


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
