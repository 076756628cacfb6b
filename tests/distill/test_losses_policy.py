"""Distributions and the losses between them against Monte Carlo, quadrature and enumeration."""

import math

import pytest
import torch
from retort.distill.distributions import (
    Categorical,
    DistributionError,
    Gaussian,
    TanhGaussian,
)
from retort.distill.losses.policy import (
    corrected_loss,
    corrected_reward,
    mean_regression,
    negative_entropy,
    policy_kl,
    proximal,
    sampled_cross_entropy,
    within_limit,
)
from retort.distill.losses.shapes import ShapeError
from torch import distributions as reference

SHAPE = (3, 4)
DRAWS = 100_000


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def tensors(rng, *sizes):
    return [torch.randn(*SHAPE, size, generator=rng, dtype=torch.float64) for size in sizes]


def gaussian(rng, family=Gaussian, **options):
    mean, log_std = tensors(rng, 2, 2)
    return family(mean, (0.5 * log_std).exp(), **options)


def library(d):
    """The same distribution of ``torch.distributions``."""
    if isinstance(d, Categorical):
        return reference.Categorical(logits=d.logits)
    base = reference.Normal(d.mean, d.std)
    if isinstance(d, TanhGaussian):
        squash = [
            reference.TanhTransform(cache_size=1),
            reference.AffineTransform(d.shift, d.scale),
        ]
        base = reference.TransformedDistribution(base, squash)
    return reference.Independent(base, 1)


def families(rng):
    return [
        gaussian(rng),
        gaussian(rng, TanhGaussian),
        gaussian(rng, TanhGaussian, scale=0.4, shift=0.1),
        Categorical(*tensors(rng, 5)),
    ]


def assert_is_mean(draws, expected):
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() < 5 * error + 1e-9).all()


@pytest.mark.parametrize("i", range(4))
def test_log_prob_equals_the_librarys(rng, i):
    d = families(rng)[i]
    action = d.sample(rng)
    torch.testing.assert_close(d.log_prob(action), library(d).log_prob(action))


@pytest.mark.parametrize("i", range(4))
def test_entropy_is_the_mean_of_minus_log_prob(rng, i):
    d = families(rng)[i]
    torch.manual_seed(0)
    draws = library(d).sample((DRAWS,))
    assert_is_mean(-library(d).log_prob(draws), d.entropy())


@pytest.mark.parametrize("i", range(4))
def test_samples_have_the_distribution(rng, i):
    d = families(rng)[i].select((0, 0))
    draws = torch.stack([d.sample(rng) for _ in range(4000)])
    torch.manual_seed(0)
    theirs = library(d).sample((4000,))
    if isinstance(d, Categorical):
        counts = torch.bincount(draws, minlength=5) / 4000
        assert (counts - d.log_probs.exp()).abs().max() < 0.04
    else:  # two-sample Kolmogorov-Smirnov, far beyond its 0.1 % point
        grid = theirs.sort(0).values
        share = torch.stack([(draws <= level).double().mean(0) for level in grid[::50]])
        rank = (torch.arange(0, 4000, 50) + 1).double()[:, None] / 4000
        assert (share - rank).abs().max() < 0.05


@pytest.mark.parametrize("i", range(4))
def test_samples_follow_their_generator_and_selection_keeps_rows(rng, i):
    d = families(rng)[i]
    first, again = (d.sample(torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, again)
    ids = torch.tensor([2, 0])
    some = d.select((slice(None), ids))
    assert some.batch_shape == (3, 2)
    torch.testing.assert_close(some.log_prob(first[:, ids]), d.log_prob(first)[:, ids])


def test_mode_is_what_a_deterministic_policy_does(rng):
    g, tanh, shifted, choice = families(rng)
    torch.testing.assert_close(g.mode(), g.mean)
    torch.testing.assert_close(tanh.mode(), tanh.mean.tanh())
    torch.testing.assert_close(shifted.mode(), 0.1 + 0.4 * shifted.mean.tanh())
    torch.testing.assert_close(choice.mode(), choice.logits.argmax(-1))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("family", ["gaussian", "tanh", "categorical"])
def test_policy_kl_equals_monte_carlo(rng, direction, family):
    make = {
        "gaussian": lambda: gaussian(rng),
        "tanh": lambda: gaussian(rng, TanhGaussian, scale=2.0),
        "categorical": lambda: Categorical(*tensors(rng, 5)),
    }[family]
    teacher, student = make(), make()
    p, q = (teacher, student) if direction == "forward" else (student, teacher)
    torch.manual_seed(0)
    draws = library(p).sample((DRAWS,))
    got = policy_kl(teacher, student, direction)
    assert got.shape == SHAPE
    assert_is_mean(library(p).log_prob(draws) - library(q).log_prob(draws), got)


@pytest.mark.parametrize("make", [gaussian, lambda rng: Categorical(*tensors(rng, 5))])
def test_cross_entropy_is_entropy_plus_kl(rng, make):
    p, q = make(rng), make(rng)
    torch.testing.assert_close(p.cross_entropy(q), p.entropy() + p.kl(q))
    assert (p.kl(q) > 0).all()
    assert p.kl(p).abs().max() < 1e-12


def test_tempered_kl_keeps_the_size_of_its_gradient(rng):
    """For a high temperature t^2 KL tends to the squared difference of centred logits / 2n."""
    teacher, student = (Categorical(*tensors(rng, 5)) for _ in range(2))
    got = policy_kl(teacher, student, temperature=1000.0)
    difference = teacher.logits - student.logits
    difference = difference - difference.mean(-1, keepdim=True)
    torch.testing.assert_close(got, difference.square().sum(-1) / 10, rtol=1e-2, atol=0)
    soft = [torch.softmax(d.logits / 2.0, -1) for d in (teacher, student)]
    by_hand = 4.0 * (soft[0] * (soft[0] / soft[1]).log()).sum(-1)
    torch.testing.assert_close(policy_kl(teacher, student, temperature=2.0), by_hand)


def test_choices_that_are_ruled_out_give_finite_losses_and_gradients():
    logits = torch.tensor([[0.0, 1.0, -math.inf]], requires_grad=True)
    other = Categorical(torch.tensor([[1.0, 0.0, -math.inf]]))
    for loss in (
        Categorical(logits).kl(other),
        other.kl(Categorical(logits)),
        Categorical(logits).entropy(),
    ):
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()
    assert all(Categorical(logits).sample().item() != 2 for _ in range(50))


@pytest.mark.parametrize(("std", "error"), [(0.1, 5e-7), (1.0, 5e-7), (3.0, 5e-7), (7.4, 2e-3)])
def test_squashed_moments_and_entropy_equal_a_fine_integral(std, error):
    """Up to the widest that SAC allows; errors are in units of the range's half width."""
    d = TanhGaussian(torch.tensor([0.7]).double(), torch.tensor([std]).double(), 2.0, 0.5)
    u = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    density = torch.exp(-0.5 * ((u - 0.7) / std) ** 2)
    density /= density.sum()
    action = 0.5 + 2.0 * torch.tanh(u)
    mean = (density * action).sum()
    deviation = (density * (action - mean) ** 2).sum().sqrt()
    matched = d.after_squashing()
    torch.testing.assert_close(matched.mean[0], mean, rtol=0, atol=2 * error)
    torch.testing.assert_close(matched.std[0], deviation, rtol=0, atol=2 * error)
    slope = math.log(2.0) - 2 * torch.log(torch.cosh(u))
    expected = reference.Normal(0.7, std).entropy() + (density * slope).sum()
    assert abs(d.entropy() - expected) < max(error, 1e-5)


def test_kl_of_matched_moments_has_the_gradient_of_the_cross_entropy(rng):
    teacher = gaussian(rng, TanhGaussian)
    mean, log_std = (x.requires_grad_() for x in tensors(rng, 2, 2))

    def gradient(loss):
        return torch.autograd.grad(loss.sum(), (mean, log_std), retain_graph=True)

    student = Gaussian(mean, log_std.exp())
    ours = gradient(teacher.after_squashing().kl(student))
    torch.testing.assert_close(ours, gradient(teacher.cross_entropy(student)))
    sampled = gradient(sampled_cross_entropy(teacher, student, rng, samples=6000))
    for exact, estimate in zip(ours, sampled, strict=True):
        assert ((exact - estimate).abs() / (1.0 + exact.abs())).max() < 0.25


def test_sampled_cross_entropy_has_the_mean_and_gradient_of_the_exact_one(rng):
    teacher = gaussian(rng)
    mean, log_std = (x.requires_grad_() for x in tensors(rng, 2, 2))
    student = Gaussian(mean, (0.3 * log_std).exp())
    for p, q in ((teacher, student), (student, teacher)):
        draws = torch.stack([sampled_cross_entropy(p, q, rng, 40) for _ in range(100)])
        assert_is_mean(draws.detach(), p.cross_entropy(q).detach())
        got = torch.autograd.grad(draws.mean(0).sum(), (mean, log_std), retain_graph=True)
        exact = torch.autograd.grad(p.cross_entropy(q).sum(), (mean, log_std), retain_graph=True)
        for a, b in zip(got, exact, strict=True):
            assert ((a - b).abs() / (1.0 + b.abs())).max() < 0.1


def test_a_squashed_teacher_and_a_gaussian_student_have_finite_losses_both_ways(rng):
    teacher, student = gaussian(rng, TanhGaussian), gaussian(rng)
    for direction in ("forward", "reverse"):
        assert torch.isfinite(corrected_loss(teacher, student, direction, rng)).all()
    with pytest.raises(DistributionError, match="TanhGaussian and Gaussian; use the term 'cross_e"):
        policy_kl(teacher, student)
    outside = torch.full((*SHAPE, 2), 3.0, dtype=torch.float64)
    torch.testing.assert_close(teacher.log_prob(outside), teacher.log_prob(outside * 2))


def test_choices_and_numbers_are_not_compared_and_no_other_term_is_advised(rng):
    chooses, acts = Categorical(torch.zeros(*SHAPE, 2)), gaussian(rng)
    for compare in (chooses.kl, chooses.cross_entropy):
        with pytest.raises(DistributionError, match="take a teacher of the student's own kind"):
            compare(acts)
    with pytest.raises(DistributionError, match="Gaussian and Categorical, of which one chooses"):
        acts.kl(chooses)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_action_beyond_a_squashed_range_counts_as_one_at_its_edge(dtype):
    mean = torch.tensor([[0.3, -0.2]], dtype=dtype, requires_grad=True)
    squashed = TanhGaussian(mean, torch.full_like(mean, 0.8), scale=2.0, shift=0.5)
    edge = torch.tensor([[2.5, -1.5]], dtype=dtype)
    beyond = torch.tensor([[90.0, -90.0]], dtype=dtype, requires_grad=True)
    at_edge, outside = squashed.log_prob(edge), squashed.log_prob(beyond)
    torch.testing.assert_close(outside, at_edge)
    inside = squashed.log_prob(torch.tensor([[2.4, -1.4]], dtype=dtype))
    assert torch.isfinite(outside).all()
    assert (outside < inside).all()
    of_mean, of_action = torch.autograd.grad(outside.sum(), (mean, beyond))
    assert torch.isfinite(of_mean).all()
    assert (of_action == 0).all()
    # All of a student's mass beyond the edge: the cross-entropy is that of the edge.
    student = Gaussian(edge * 40, torch.full_like(edge, 1e-3))
    got = sampled_cross_entropy(student, squashed, torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, -at_edge)


def test_mean_regression_by_hand():
    teacher, student = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.5, 3.0]])
    assert mean_regression(teacher, student).item() == pytest.approx((0.25 + 9.0) / 2)
    huber = mean_regression(teacher, student, "huber", delta=1.0).item()
    assert huber == pytest.approx((0.125 + 2.5) / 2)


@pytest.mark.parametrize("limit", [0.4, 1.0])
def test_within_a_limit_the_nearest_of_all_means_that_act_alike_is_taken(rng, limit):
    teacher, student = (torch.randn(400, generator=rng) * 1.5 for _ in range(2))
    every = torch.linspace(-8.0, 8.0, 16_001)  # among them the limits, to a thousandth
    alike = (every.clamp(-limit, limit) - teacher[:, None].clamp(-limit, limit)).abs() < 6e-4
    distance = torch.where(alike, (every - student[:, None]).abs(), torch.inf)
    nearest = every[distance.argmin(1)]
    found = within_limit(teacher, student.requires_grad_(), limit)
    torch.testing.assert_close(found, nearest, atol=1.1e-3, rtol=0)
    assert not found.requires_grad
    beyond = teacher.abs() > limit
    assert 50 < beyond.sum() < 380
    assert torch.equal(found[~beyond], teacher[~beyond])


def test_descending_negative_entropy_widens_the_policy():
    log_std = torch.zeros(1, 2, requires_grad=True)
    negative_entropy(Gaussian(torch.zeros(1, 2), log_std.exp())).sum().backward()
    torch.testing.assert_close(log_std.grad, -torch.ones(1, 2))


def test_proximal_follows_the_ratio_down_to_its_clip():
    ratio = torch.tensor([0.5, 0.79, 0.9, 1.5], requires_grad=True)
    kl = torch.tensor([2.0, 2.0, 2.0, 3.0], requires_grad=True)
    loss = proximal(kl, ratio, clip=0.2)
    torch.testing.assert_close(loss, torch.tensor([1.6, 1.6, 1.8, 4.5]))
    loss.sum().backward()
    torch.testing.assert_close(ratio.grad, torch.tensor([0.0, 0.0, 2.0, 3.0]))
    torch.testing.assert_close(kl.grad, torch.tensor([0.8, 0.8, 0.9, 1.5]))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_corrected_loss_and_reward_together_are_the_gradient_of_the_discounted_loss(direction):
    """Exact enumeration of a small Markov decision process against automatic differentiation.

    J(theta) = E sum_t gamma^t l(s_t) is solved for as a linear system. Its gradient must equal the
    sum over states of (discounted visits) x (gradient of l - gradient of log pi x return of the
    pseudo-reward). Without the correction it does not.
    """
    rng = torch.Generator().manual_seed(1)
    states, choices, gamma = 4, 3, 0.9
    move = torch.rand(states, choices, states, generator=rng, dtype=torch.float64)
    move[:, :, 0] = 0.3  # some way out: what is missing to 1 is termination
    move = move / (move.sum(-1, keepdim=True) + 0.2)
    teacher = Categorical(torch.randn(states, choices, generator=rng, dtype=torch.float64))
    theta = torch.randn(states, choices, generator=rng, dtype=torch.float64, requires_grad=True)
    start = torch.full((states,), 0.25, dtype=torch.float64)
    student = Categorical(theta)
    loss = corrected_loss(teacher, student, direction)
    chain = torch.einsum("sa,sat->st", student.log_probs.exp(), move)
    identity = torch.eye(states, dtype=torch.float64)
    objective = start @ torch.linalg.solve(identity - gamma * chain, loss)
    (expected,) = torch.autograd.grad(objective, theta, retain_graph=True)

    with torch.no_grad():
        visits = torch.linalg.solve((identity - gamma * chain).T, start)
        # The pseudo-reward of each transition (s, a, s') through the function under test: one
        # "environment" per (s, a, s'), and one per (s, a) that terminates.
        after = loss.expand(states, choices, states).reshape(1, -1)
        calm = torch.zeros_like(after, dtype=torch.bool)
        reward = corrected_reward(
            torch.zeros_like(after), after[0], after * torch.nan, calm, calm, gamma
        ).reshape(states, choices, states)
        ended = corrected_reward(
            torch.zeros_like(after), after[0], after * torch.nan, ~calm, calm, gamma
        )
        assert (ended == 0).all()
        immediate = (move * reward).sum(-1)
        value = torch.linalg.solve(
            identity - gamma * chain, (student.log_probs.exp() * immediate).sum(-1)
        )
        q = immediate + gamma * move @ value
    policy_gradient_loss = -(student.log_probs * student.log_probs.exp().detach() * q).sum(-1)
    (got,) = torch.autograd.grad((visits * (loss + policy_gradient_loss)).sum(), theta)
    torch.testing.assert_close(got, expected)
    (naive,) = torch.autograd.grad(
        (visits * corrected_loss(teacher, Categorical(theta), direction)).sum(), theta
    )
    assert (naive - expected).abs().max() > 1e-2


def test_corrected_reward_looks_at_the_state_that_follows():
    loss = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    terminated = torch.tensor([[False, True], [False, False], [False, False]])
    truncated = torch.tensor([[False, False], [True, False], [False, False]])
    final = torch.full((3, 2), 50.0)
    got = corrected_reward(loss, torch.tensor([7.0, 8.0]), final, terminated, truncated)
    expected = torch.tensor([[-3.0, 0.0], [-50.0, -6.0], [-7.0, -8.0]])
    torch.testing.assert_close(got, expected)


def test_mistaken_shapes_are_refused_and_not_broadcast():
    g = Gaussian(torch.zeros(3, 4, 2), torch.ones(3, 4, 2))
    with pytest.raises(DistributionError, match="expand the deviation"):
        Gaussian(torch.zeros(3, 4, 2), torch.ones(2))
    with pytest.raises(DistributionError, match=r"\(4, 2\)"):
        g.log_prob(torch.zeros(4, 2))
    with pytest.raises(DistributionError, match="shape"):
        g.kl(Gaussian(torch.zeros(1, 4, 2), torch.ones(1, 4, 2)))
    with pytest.raises(ShapeError, match="ratio"):
        proximal(torch.zeros(3, 4), torch.zeros(4))
    with pytest.raises(DistributionError, match="temperature"):
        policy_kl(g, g, temperature=2.0)


def test_a_squashed_gaussian_of_uneven_range_can_be_selected_from():
    scale = torch.tensor([1.0, 2.0, 3.0])
    whole = TanhGaussian(torch.zeros(4, 5, 3), torch.ones(4, 5, 3), scale=scale)
    part = whole.select((slice(None), torch.tensor([0, 2])))
    torch.testing.assert_close(part.scale, scale.expand(4, 2, 3))
    torch.testing.assert_close(part.log_prob(part.mode()), whole.log_prob(whole.mode())[:, [0, 2]])


def test_epsilon_greedy_is_the_best_choice_but_for_a_share_of_any():
    logits = torch.tensor([[1.0, 3.0, 2.0, -5.0], [0.0, 0.0, 9.0, 0.0]])
    probability = Categorical(logits).epsilon_greedy(0.2).log_probs.exp()
    torch.testing.assert_close(
        probability, torch.tensor([[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.85, 0.05]])
    )
    greedy = Categorical(logits).epsilon_greedy(0.0)
    generator = torch.Generator().manual_seed(0)
    assert greedy.sample(generator).tolist() == [1, 2]
    assert greedy.log_prob(torch.tensor([1, 2])).tolist() == [0.0, 0.0]
