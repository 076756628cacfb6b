"""Stable-Baselines3 on a task, as the README says."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("id", ["retort.sim:retort/Balancer-v0", "retort.sim:retort/Hopper-v5"])
def test_its_own_vectors_of_single_environments_are_learnt_on(id: str) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_util import make_vec_env

    vector = make_vec_env(id, n_envs=2, seed=0)
    learner = sb3.PPO("MlpPolicy", vector, n_steps=8, batch_size=16, n_epochs=1, device="cpu")
    before = learner.policy.action_net.weight.detach().numpy().copy()
    learner.learn(32)
    after = learner.policy.action_net.weight.detach().numpy()
    assert np.isfinite(after).all()
    assert (before != after).any()
