"""Robustness, attacks and smoothness against closed forms, corners and a known value function."""

import itertools

import pytest
import torch
from gymnasium.spaces import Box
from retort.distill.bounds import Bounds
from retort.distill.distributions import Categorical, Gaussian
from retort.distill.evaluation.attacks import (
    Transitions,
    critic_attack,
    fit_sarsa,
    in_effect,
    mad_attack,
    push_attack,
    random_attack,
    sarsa_attack,
)
from retort.distill.losses.robust import robust_kl, robust_label_kl, worst_perturbation
from retort.distill.losses.shapes import ShapeError
from retort.distill.losses.smoothness import spatial_smoothness, temporal_smoothness
from torch import nn

EPSILON = 0.1


@pytest.fixture
def rng():
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


def linear_policy(weight, std=0.5):
    def policy(observation):
        mean = observation @ weight.T
        return Gaussian(mean, torch.full_like(mean, std))

    return policy


@pytest.mark.parametrize("method", ["sgld", "pgd"])
def test_robust_kl_of_a_linear_policy_is_its_closed_form(rng, method):
    """One action: the worst corner is epsilon sign(w), and the KL (epsilon |w|_1 / std)^2 / 2."""
    weight = torch.tensor([[1.0, -2.0, 0.5]])
    observation = torch.randn(4, 5, 3, generator=rng)
    got = robust_kl(linear_policy(weight), observation, EPSILON, rng, method=method)
    expected = (EPSILON * 3.5 / 0.5) ** 2 / 2
    torch.testing.assert_close(got, torch.full((4, 5), expected))


@pytest.mark.parametrize("method", ["sgld", "pgd"])
@pytest.mark.parametrize("offset", [0.0, 0.7, -0.7])
def test_robust_label_kl_of_a_linear_policy_is_its_closed_form(rng, method, offset):
    """The label is ``offset`` off and the corner adds to it: ((|offset| + e |w|_1) / std)^2 / 2."""
    weight = torch.tensor([[1.0, -2.0, 0.5]])
    observation = torch.randn(4, 5, 3, generator=rng)
    policy = linear_policy(weight)
    label = Gaussian(policy(observation).mean + offset, policy(observation).std)
    got = robust_label_kl(label, policy, observation, EPSILON, rng, method=method)
    expected = ((abs(offset) + EPSILON * 3.5) / 0.5) ** 2 / 2
    torch.testing.assert_close(got, torch.full((4, 5), expected))


@pytest.mark.parametrize("method", ["sgld", "pgd"])
def test_the_perturbation_found_is_almost_as_bad_as_the_worst_corner(rng, method):
    weight = torch.randn(3, 5, generator=rng)
    policy, observation = linear_policy(weight), torch.randn(64, 5, generator=rng)
    corners = EPSILON * torch.tensor(list(itertools.product([-1.0, 1.0], repeat=5)))
    clean = policy(observation)
    worst = torch.stack([clean.kl(policy(observation + c)) for c in corners]).amax(0)
    got = robust_kl(policy, observation, EPSILON, rng, method=method)
    assert (got <= worst * 1.0001).all()
    noise = random_attack(EPSILON, rng)(observation)
    assert got.mean() > 0.8 * worst.mean() > 1.5 * clean.kl(policy(noise)).mean()


def test_robust_kl_works_for_categorical_policies_and_inside_no_grad(rng):
    weight = torch.randn(4, 3, generator=rng)
    observation = torch.randn(6, 3, generator=rng)
    policy = lambda o: Categorical(o @ weight.T)  # noqa: E731
    with torch.no_grad():
        got = robust_kl(policy, observation, EPSILON, rng)
    assert got.shape == (6,)
    assert (got > 0).all()


def test_training_on_robust_kl_flattens_the_policy_and_its_search_leaves_no_gradient(rng):
    network = nn.Linear(3, 1)
    observation = torch.randn(32, 3, generator=rng)

    def policy(o):
        mean = network(o)
        return Gaussian(mean, torch.ones_like(mean))

    worst_perturbation(lambda o: policy(o).mean.sum(-1), observation, EPSILON, rng)
    assert network.weight.grad is None
    loss = robust_kl(policy, observation, EPSILON, rng)
    (gradient,) = torch.autograd.grad(loss.mean(), network.weight)
    # d/dw of (epsilon |w|_1)^2 / 2
    expected = EPSILON**2 * network.weight.abs().sum() * network.weight.sign()
    torch.testing.assert_close(gradient, expected.detach())


def test_a_search_that_started_at_zero_would_never_leave_it(rng):
    policy, observation = linear_policy(torch.ones(1, 3)), torch.zeros(2, 3)
    delta = torch.zeros(2, 3, requires_grad=True)
    kl = policy(observation).kl(policy(observation + delta)).sum()
    assert (torch.autograd.grad(kl, delta)[0] == 0).all()
    assert (robust_kl(policy, observation, EPSILON, rng) > 0).all()


@pytest.fixture
def arena(rng):
    """A policy with two actions, a value and an action value whose worst corners are known."""
    policy = linear_policy(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    value = lambda o: -o[..., 2] - 3.0 * o[..., 0]  # noqa: E731
    q = lambda o, a: a[..., 1] - o.square().sum(-1)  # noqa: E731
    return policy, value, q, torch.randn(16, 3, generator=rng)


def test_every_attack_stays_in_its_box_and_follows_its_generator(arena):
    policy, value, q, observation = arena
    makers = [
        random_attack,
        lambda e, g: mad_attack(policy, e, g),
        lambda e, g: critic_attack(value, e, g),
        lambda e, g: sarsa_attack(policy, q, e, g),
        lambda e, g: sarsa_attack(policy, q, e, g, mad_share=0.5),
    ]
    for make in makers:
        first, again = (
            make(EPSILON, torch.Generator().manual_seed(5))(observation) for _ in range(2)
        )
        torch.testing.assert_close(first, again, rtol=0, atol=0)
        assert (first - observation).abs().max() <= EPSILON * 1.0001
        assert (first - observation).abs().max() > 0.5 * EPSILON
        assert not first.requires_grad


def test_each_attack_reaches_what_it_aims_at(arena, rng):
    policy, value, q, observation = arena
    clean = policy(observation)
    mad = policy(mad_attack(policy, EPSILON, rng)(observation))
    torch.testing.assert_close(
        clean.kl(mad), torch.full((16,), 2 * (0.2**2 + 0.1**2)), rtol=1e-3, atol=0
    )
    seen = critic_attack(value, EPSILON, rng)(observation)
    torch.testing.assert_close(value(seen), value(observation) - 4 * EPSILON)
    acted = policy(sarsa_attack(policy, q, EPSILON, rng)(observation)).mode()
    torch.testing.assert_close(acted[:, 1], clean.mode()[:, 1] - EPSILON)
    both = policy(sarsa_attack(policy, q, EPSILON, rng, mad_share=0.5)(observation)).mode()
    assert (both[:, 1] - clean.mode()[:, 1]).mean() < -0.9 * EPSILON
    assert (both[:, 0] - clean.mode()[:, 0]).abs().mean() > 0.9 * 2 * EPSILON


def test_a_push_moves_every_action_its_own_way(rng):
    policy = linear_policy(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    observation = torch.randn(4, 3, generator=rng)
    direction = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    seen = push_attack(policy, direction, EPSILON, rng)(observation)
    moved = policy(seen).mean - policy(observation).mean
    torch.testing.assert_close(moved, EPSILON * direction * torch.tensor([2.0, 1.0]))


def test_an_attack_spends_nothing_on_what_the_environment_cuts_off(rng):
    """The first action is far beyond its bounds whatever is seen: all of the box goes to the
    second, though the first would change twice as much."""
    weight = torch.tensor([[2.0, -2.0], [1.0, 1.0]])
    shift = torch.tensor([5.0, 0.0])
    bounds = Bounds.of(Box(-1.0, 1.0, (2,)))

    def policy(o):
        mean = o @ weight.T + shift
        return Gaussian(mean, torch.ones_like(mean))

    observation = 0.2 * torch.randn(16, 2, generator=rng)
    changes = []
    for attacked in (policy, in_effect(policy, bounds)):
        seen = mad_attack(attacked, EPSILON, rng)(observation)
        changes.append((policy(seen).mean - policy(observation).mean)[:, 1].abs())
    torch.testing.assert_close(changes[1], torch.full((16,), 2 * EPSILON))
    assert changes[0].median() < 1e-5  # most of the time nothing is left for it


def test_sarsa_learns_the_action_value_of_the_policy(rng):
    """o' = o / 2 + a, a = -o / 4 + noise, r = o + a: Q is linear and known exactly.

    With V(o) = v o: v = 3/4 + gamma v / 4, and Q(o, a) = o + a + gamma v (o / 2 + a).
    """
    gamma, n = 0.9, 4096
    observation = 2.0 * torch.rand(n, 1, generator=rng) - 1.0
    action = -observation / 4 + 0.5 * torch.randn(n, 1, generator=rng)
    after = observation / 2 + action
    rows = Transitions(
        observation=observation,
        action=action,
        reward=(observation + action)[:, 0],
        next_observation=after,
        next_action=-after / 4,
        terminated=torch.zeros(n, dtype=torch.bool),
    )
    q = fit_sarsa(rows, gamma, rng, hidden=(32,), updates=600, learning_rate=5e-3, smoothness=0.0)
    v = 0.75 / (1 - gamma / 4)
    expected = (observation + action + gamma * v * after)[:, 0]
    error = (q(observation, action) - expected).square().mean().sqrt()
    assert error < 0.1 * expected.std()
    assert not any(p.requires_grad for p in q.parameters())


def test_sarsa_does_not_look_beyond_a_termination_and_smooths_the_action(rng):
    n = 512
    action = torch.rand(n, 1, generator=rng) - 0.5
    rows = Transitions(
        observation=torch.zeros(n, 1),
        action=action,
        reward=(6.0 * action[:, 0]).sin(),
        next_observation=torch.full((n, 1), 1e6),
        next_action=action,
        terminated=torch.ones(n, dtype=torch.bool),
    )
    slopes = []
    for smoothness in (0.0, 3.0):
        g = torch.Generator().manual_seed(1)
        q = fit_sarsa(
            rows, 0.9, g, hidden=(32,), updates=300, learning_rate=1e-2, smoothness=smoothness
        )
        near = q(rows.observation, action + 0.05)
        slopes.append(float((near - q(rows.observation, action)).abs().mean()))
        assert q(rows.observation, action).abs().max() < 2.0
    assert slopes[1] < 0.7 * slopes[0]


def test_temporal_smoothness_stops_at_the_end_of_an_episode():
    mean = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[3.0, 4.0]], [[0.0, 4.0]]])
    reset = torch.tensor([[True], [False], [False], [False]])
    assert temporal_smoothness(mean, reset)[:, 0].tolist() == [5.0, 0.0, 3.0, 0.0]
    reset[1] = True
    assert temporal_smoothness(mean, reset)[:, 0].tolist() == [0.0, 0.0, 3.0, 0.0]
    mean.requires_grad_()
    temporal_smoothness(mean, reset).sum().backward()
    assert torch.isfinite(mean.grad).all()  # two equal actions included
    with pytest.raises(ShapeError, match="reset"):
        temporal_smoothness(mean, reset[:, 0])


def test_spatial_smoothness_of_a_linear_policy_is_the_mean_of_its_noise(rng):
    """One action: E |w . noise| = deviation |w|_2 sqrt(2 / pi)."""
    weight = torch.tensor([[3.0, -4.0]])
    observation = torch.randn(100, 200, 2, generator=rng)
    got = spatial_smoothness(lambda o: o @ weight.T, observation, 0.1, rng)
    assert got.shape == (100, 200)
    assert got.mean().item() == pytest.approx(0.5 * (2 / torch.pi) ** 0.5, rel=0.02)
