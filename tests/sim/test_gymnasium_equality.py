"""Gymnasium's tasks: equal to Gymnasium's own, whatever their keywords."""

import gymnasium
import numpy as np
import pytest
from retort.sim.gymnasium_tasks import TASKS

from .gymnasium_envs import (
    TOLERANCE,
    WITHOUT_CONTACT_FORCES,
    gymnasiums,
    random_actions,
    restart,
)

pytestmark = pytest.mark.usefixtures("quiet")


VARIANTS = [
    (
        "HalfCheetah",
        {
            "forward_reward_weight": 1.7,
            "ctrl_cost_weight": 0.3,
            "reset_noise_scale": 0.3,
            "exclude_current_positions_from_observation": False,
            "frame_skip": 3,
        },
    ),
    (
        "Hopper",
        {
            "forward_reward_weight": 0.5,
            "ctrl_cost_weight": 0.2,
            "healthy_reward": 3.0,
            "healthy_state_range": (-2.0, 1.5),
            "healthy_z_range": (1.1, 1.26),
            "healthy_angle_range": (-0.05, 0.1),
            "reset_noise_scale": 0.02,
            "exclude_current_positions_from_observation": False,
        },
    ),
    ("Hopper", {"terminate_when_unhealthy": False, "frame_skip": 2}),
    (
        "Walker2d",
        {
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.1,
            "healthy_reward": 0.5,
            "terminate_when_unhealthy": False,
            "healthy_z_range": (1.1, 1.3),
            "healthy_angle_range": (-0.1, 0.2),
            "exclude_current_positions_from_observation": False,
            "reset_noise_scale": 0.03,
        },
    ),
    (
        "Ant",
        {
            "include_cfrc_ext_in_observation": True,
            "contact_cost_weight": 5e-2,
            "contact_force_range": (-0.4, 0.7),
            "main_body": "front_left_leg",
            "healthy_z_range": (0.4, 0.9),
            "reset_noise_scale": 0.2,
            "exclude_current_positions_from_observation": False,
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.1,
            "healthy_reward": 0.3,
        },
    ),
    ("Ant", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 5e-4}),
    (
        "Humanoid",
        {
            "include_cfrc_ext_in_observation": True,
            "contact_cost_weight": 5e-5,
            "contact_cost_range": (0.0, 0.5),
            "exclude_current_positions_from_observation": False,
            "healthy_z_range": (1.2, 1.5),
            "terminate_when_unhealthy": False,
            "forward_reward_weight": 0.7,
            "ctrl_cost_weight": 0.4,
            "healthy_reward": 1.5,
            "reset_noise_scale": 0.05,
            "frame_skip": 3,
        },
    ),
    (
        "Humanoid",
        {
            **WITHOUT_CONTACT_FORCES,
            "include_cinert_in_observation": False,
            "include_cvel_in_observation": False,
            "include_qfrc_actuator_in_observation": False,
        },
    ),
    ("InvertedPendulum", {"reset_noise_scale": 0.1, "frame_skip": 4}),
    ("InvertedDoublePendulum", {"healthy_reward": 4.0, "reset_noise_scale": 0.02}),
    ("Reacher", {"reward_dist_weight": 3.0, "reward_control_weight": 0.2, "frame_skip": 4}),
    (
        "Swimmer",
        {
            "forward_reward_weight": 3.0,
            "ctrl_cost_weight": 0.2,
            "reset_noise_scale": 0.5,
            "exclude_current_positions_from_observation": False,
            "frame_skip": 2,
        },
    ),
]


@pytest.mark.parametrize("name", TASKS)
def test_a_thousand_steps_equal_gymnasiums_from_the_same_states(name):
    ours = gymnasium.make_vec(f"retort/{name}-v5", num_envs=2)
    theirs = [gymnasiums(name) for _ in range(2)]
    observation, _ = ours.reset(seed=11)
    simulations = ours.unwrapped.simulations
    for i, env in enumerate(theirs):
        start = restart(env, simulations.qpos[i], simulations.qvel[i])
        np.testing.assert_allclose(observation[i], start, rtol=0, atol=TOLERANCE)
    ended = 0
    for tick in range(1000):
        actions = random_actions(ours, tick)
        observation, reward, terminated, truncated, info = ours.step(actions)
        for i, env in enumerate(theirs):
            expected, their_reward, their_terminated, their_truncated, _ = env.step(actions[i])
            over = their_terminated or their_truncated
            seen = info["final_obs"][i] if over else observation[i]
            np.testing.assert_allclose(seen, expected, rtol=0, atol=TOLERANCE)
            assert abs(reward[i] - their_reward) <= TOLERANCE
            assert (terminated[i], truncated[i]) == (their_terminated, their_truncated)
            if over:
                start = restart(env, simulations.qpos[i], simulations.qvel[i])
                np.testing.assert_allclose(observation[i], start, rtol=0, atol=TOLERANCE)
                ended += 1
    assert ended >= 2


@pytest.mark.parametrize(("name", "keywords"), VARIANTS)
def test_the_same_keywords_and_seed_give_gymnasiums_episodes(name, keywords):
    ours = gymnasium.make(f"retort/{name}-v5", max_episode_steps=120, **keywords)
    theirs = gymnasiums(name, max_episode_steps=120, **keywords)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    observation, _ = ours.reset(seed=5)
    expected, _ = theirs.reset(seed=5)
    np.testing.assert_array_equal(observation, expected)
    ours.action_space.seed(1)
    for _ in range(1000):
        action = ours.action_space.sample()
        observation, reward, terminated, truncated, _ = ours.step(action)
        expected, their_reward, *over, _ = theirs.step(action)
        np.testing.assert_allclose(observation, expected, rtol=0, atol=TOLERANCE)
        assert abs(reward - their_reward) <= TOLERANCE
        assert [terminated, truncated] == over
        if terminated or truncated:
            np.testing.assert_array_equal(ours.reset()[0], theirs.reset()[0])


def test_a_picture_is_gymnasiums():
    theirs = gymnasiums("Hopper", render_mode="rgb_array", width=120, height=80)
    ours = gymnasium.make("retort/Hopper-v5", render_mode="rgb_array", width=120, height=80)
    for env in (ours, theirs):
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(5):
            env.step(env.action_space.sample())
    np.testing.assert_array_equal(ours.render(), theirs.render())
    for env in (ours, theirs):
        env.close()
