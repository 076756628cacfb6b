"""PPO on tasks of Gymnasium's: discrete actions, scales of values, schedules, named settings."""

import dataclasses

import numpy as np
import pytest
import torch
from retort.distill.batch import Batch, no_episodes
from retort.distill.checkpoint import CheckpointError, load_optimiser_state, optimiser_state
from retort.distill.evaluation import actor_of, run_episodes
from retort.distill.ppo import PPO, PPOConfig, train
from retort.distill.ppo_settings import discrete_ppo, gymnasium_ppo
from retort.distill.return_scale import ReturnScale
from retort.distill.sources.rollout import RolloutSource
from retort.sim.gymnasium_tasks import TASKS, GymnasiumTaskEnv
from retort.sim.wrapped import WrappedEnv


def test_cartpole_is_solved_by_discrete_actions():
    config = discrete_ppo(steps=32_000)
    env = WrappedEnv("CartPole-v1", config.num_envs)
    ppo = PPO(config, env, seed=0)
    source = RolloutSource(env, config.ticks)
    source.start(0)
    rows = list(train(ppo, source))
    held_out = WrappedEnv("CartPole-v1", 20, autoreset=False)
    outcome = run_episodes(held_out, actor_of(ppo.actor), seed=1_000_003)
    assert outcome.returns.mean() >= 475  # what Gymnasium calls solved
    assert rows[-1]["learning_rate"] < 0.05 * rows[0]["learning_rate"]


def hopper(config, seed=0):
    env = GymnasiumTaskEnv("Hopper", config.num_envs, dtype="float32", actions="clipped", threads=1)
    ppo = PPO(config, env, seed)
    source = RolloutSource(env, config.ticks)
    source.start(seed)
    return ppo, source


SMALL = gymnasium_ppo("Hopper", steps=16 * 32 * 8, num_envs=16, ticks=32, epochs=4)


def test_a_continuous_task_is_learnt():
    config = dataclasses.replace(SMALL, steps=16 * 32 * 40)
    ppo, source = hopper(config)
    rewards = [row["episode_return"] for row in train(ppo, source) if row["episode_return"]]
    assert np.mean(rewards[-5:]) > 2.0 * np.mean(rewards[:5])


def chain(reward, reset):
    """A batch of which only rewards and resets matter."""
    ticks, n = reward.shape
    nothing = torch.zeros(ticks, n)
    return Batch(
        observations={},
        action=nothing,
        log_prob=nothing,
        driver=torch.zeros(n),
        reward=reward,
        terminated=nothing > 0,
        truncated=nothing > 0,
        reset=reset,
        final_index=torch.zeros(0, 2, dtype=torch.int64),
        final_observations={},
        last_observations={},
        initial_state=torch.zeros(n, 0),
        level=torch.zeros(ticks, n, 0),
        task=torch.zeros(ticks, n, dtype=torch.int64),
        episodes=no_episodes(),
    )


def test_the_scale_of_returns_against_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(ticks, 5, generator=generator) + 0.3 for ticks in (7, 20, 33)]
    resets = [torch.rand(part.shape, generator=generator) < 0.1 for part in parts]
    scale = ReturnScale(0.9)
    for part, reset in zip(parts, resets, strict=True):
        scale.update(chain(part, reset))
    reward, reset = torch.cat(parts).double().numpy(), torch.cat(resets).numpy()
    returns = np.zeros_like(reward)
    for i in range(5):
        running = 0.0
        for t in range(len(reward)):
            running = reward[t, i] + (0.0 if reset[t, i] else 0.9 * running)
            returns[t, i] = running
    np.testing.assert_allclose(scale.std, returns.std(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["return", "horizon"])
def test_values_of_a_critic_are_given_in_the_units_of_teachers(kind):
    ppo, source = hopper(dataclasses.replace(SMALL, reward_scale=kind))
    observation = source.collect(ppo.act).observations["teacher"]
    list(train(ppo, source))
    unit = (1.0 - SMALL.gamma) * ppo.return_scale.std if kind == "return" else 1.0
    assert kind == "horizon" or unit != pytest.approx(1.0, rel=0.1)
    expected = unit * ppo.critic(observation)
    torch.testing.assert_close(ppo.critic_of_returns()(observation), expected)


def test_a_resumed_run_is_the_same_to_the_bit():
    whole, source = hopper(SMALL)
    list(train(whole, source))
    begun, source = hopper(SMALL)
    for row in train(begun, source):
        if row["steps"] >= 4 * 512:
            break
    saved = begun.state_dict(), source.state_dict()
    resumed, source = hopper(SMALL, seed=1)
    resumed.load_state_dict(saved[0])
    source.load_state_dict(saved[1])
    list(train(resumed, source, steps_done=row["steps"]))
    for one, other in zip(whole.actor.parameters(), resumed.actor.parameters(), strict=True):
        assert torch.equal(one, other)
    assert whole.return_scale.std == resumed.return_scale.std


def test_an_optimiser_of_other_parameters_is_refused():
    ppo, _ = hopper(SMALL)
    parameters = list(ppo.actor.parameters())
    by_tensor = torch.optim.Adam(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    by_tensor.step()
    with pytest.raises(CheckpointError, match="--fresh"):
        load_optimiser_state(ppo.optimiser, optimiser_state(by_tensor))


@pytest.mark.parametrize("kind", ["fast", "efficient"])
@pytest.mark.parametrize("task", list(TASKS))
def test_every_task_has_both_settings_and_no_penalty_of_its_own(task, kind):
    config = gymnasium_ppo(task, kind, steps=123, hidden=(7,))
    assert isinstance(config, PPOConfig)
    assert (config.steps, config.hidden) == (123, (7,))
    assert config.fall_penalty == config.final_fall_penalty == 0.0
