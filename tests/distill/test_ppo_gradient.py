"""The gradient of PPO's loss by hand is autograd's."""

import gymnasium
import numpy as np
import pytest
import torch
from retort.distill.networks import Critic, make_actor
from retort.distill.ppo import PPO, Pull, surrogate
from retort.distill.ppo_gradient import Rows, is_written_out, ppo_gradient
from retort.distill.ppo_settings import gymnasium_ppo
from retort.distill.sources.rollout import RolloutSource
from retort.sim.gymnasium_tasks import GymnasiumTaskEnv

ROWS, SIZE, ACTIONS, CLIP, WEIGHT, ENTROPY = 96, 7, 3, 0.2, 0.7, 0.05
BOX = gymnasium.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)


def networks(activation, actions=BOX):
    torch.manual_seed(3)
    actor = make_actor(SIZE, actions, (16, 8), activation, initial_std=0.6)
    return actor, Critic(SIZE, (12,), activation)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("drift", [0.0, 0.5])
def test_it_is_autograds_with_and_without_clipped_rows(activation, drift):
    actor, critic = networks(activation)
    with torch.no_grad():
        actor.network[-1].weight.mul_(50.0)
    seen, valued = torch.randn(2, ROWS, SIZE)
    action = actor.respond(seen).sample(torch.Generator().manual_seed(1))
    old = actor.respond(seen).log_prob(action).detach() + drift * torch.randn(ROWS)
    advantage, target = torch.randn(2, ROWS)
    parameters = [*actor.parameters(), *critic.parameters()]

    ratio = torch.exp(actor.respond(seen).log_prob(action) - old)
    assert bool(((ratio - 1).abs() > CLIP).any()) == (drift > 0.0)
    policy_loss = -surrogate(ratio, advantage, CLIP).mean()
    value_loss = (critic.network(valued).squeeze(-1) - target).square().mean()
    entropy = actor.respond(seen).entropy().mean()
    loss = policy_loss + WEIGHT * value_loss - ENTROPY * entropy
    expected = torch.autograd.grad(loss, parameters)

    rows = Rows(seen, valued, action, old, advantage, target)
    losses, gradients = ppo_gradient(actor, critic, rows, CLIP, WEIGHT, ENTROPY)
    torch.testing.assert_close(losses, torch.stack([policy_loss, value_loss]).detach())
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)


def test_other_policies_and_layers_are_left_to_autograd():
    assert is_written_out(*networks("tanh"))
    assert not is_written_out(*networks("elu"))
    assert not is_written_out(*networks("tanh", gymnasium.spaces.Discrete(2)))


def test_an_update_goes_where_autograd_would_take_it():
    env = GymnasiumTaskEnv("Hopper", 8, dtype="float32", actions="clipped")
    config = gymnasium_ppo("Hopper", "fast", steps=10_000, num_envs=8, ticks=16)
    by_hand, by_autograd = PPO(config, env, 3), PPO(config, env, 3)
    source = RolloutSource(env, config.ticks)
    source.start(3)
    batch = source.collect(by_hand.act)
    by_autograd.load_state_dict(by_hand.state_dict())
    with torch.no_grad():
        pull = by_hand.actor(batch.observations["teacher"])
    figures = by_hand.update(batch)
    expected = by_autograd.update(
        batch, Pull(pull, 0.0, [*by_autograd.actor.parameters()])
    )  # a term of no weight: autograd
    assert figures == pytest.approx(expected, rel=1e-3, abs=1e-5)
    for ours, theirs in zip(by_hand.parameters, by_autograd.parameters, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_pull_moves_what_it_is_to_move_and_nothing_else():
    env = GymnasiumTaskEnv("Hopper", 8, dtype="float32", actions="clipped")
    # One step, of which clipping would make one part depend on another.
    changes = {"num_envs": 8, "ticks": 16, "epochs": 1, "minibatches": 1, "max_gradient_norm": 1e9}
    config = gymnasium_ppo("Hopper", "fast", steps=10_000, **changes)
    free, pulled = PPO(config, env, 3), PPO(config, env, 3)
    source = RolloutSource(env, config.ticks)
    source.start(3)
    batch = source.collect(free.act)
    pulled.load_state_dict(free.state_dict())
    surer = PPO(config, env, 4).actor
    with torch.no_grad():
        surer.log_std -= 1.0
        towards = surer(batch.observations["teacher"])
    *own, last_weight, last_bias = pulled.actor.parameters()
    free.update(batch)
    pulled.update(batch, Pull(towards, 10.0, own))
    moved = [
        not torch.allclose(one, other, rtol=1e-3, atol=1e-5)
        for one, other in zip(free.actor.parameters(), pulled.actor.parameters(), strict=True)
    ]
    assert moved == [True] * len(own) + [False, False]
    assert {last_weight, last_bias} == {*pulled.actor.network[-1].parameters()}
