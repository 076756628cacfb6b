"""Terms of the objective against independent computations."""

import pytest
import torch
from retort.distill.teacher import TeacherOutput
from retort.distill.terms import TERMS, Sample, TermConfig, TermError, make_term
from torch.distributions import Normal


def make_sample(**changes):
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    sample = {
        "student": Normal(randn(3, 4, 2), randn(3, 4, 2).exp()),
        "value": randn(3, 4),
        "teacher": TeacherOutput(Normal(randn(3, 4, 2), randn(3, 4, 2).exp()), randn(3, 4)),
        "action": randn(3, 4, 2),
        "ratio": randn(3, 4).mul(0.3).exp(),
        "advantage": randn(3, 4),
        "lambda_return": randn(3, 4),
        "own": torch.ones(3, 4),
        "fraction": 0.0,
    }
    return Sample(**{**sample, **changes})


@pytest.mark.parametrize("name", TERMS)
def test_every_term_gives_one_finite_loss_per_sample(name):
    loss = make_term(TermConfig(name=name)).loss(make_sample())
    assert loss.shape == (3, 4)
    assert torch.isfinite(loss).all()


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_policy_kl_equals_monte_carlo(direction):
    sample = make_sample()
    got = make_term(TermConfig(name="policy_kl", options={"direction": direction})).loss(sample)
    p, q = sample.teacher.distribution, sample.student
    if direction == "reverse":
        p, q = q, p
    torch.manual_seed(0)
    draws = p.sample((200_000,))
    estimate = (p.log_prob(draws) - q.log_prob(draws)).sum(-1)
    error = estimate.std(0) / 200_000**0.5
    assert ((estimate.mean(0) - got).abs() < 5 * error).all()


def test_policy_kl_is_zero_only_for_equal_distributions():
    sample = make_sample()
    sample.student = sample.teacher.distribution
    term = make_term(TermConfig(name="policy_kl"))
    assert term.loss(sample).abs().max() < 1e-6
    assert (term.loss(make_sample()) > 0).all()


def test_value_begins_at_the_teachers_value_and_ends_at_the_students_return():
    term = make_term(TermConfig(name="value", options={"until": 0.5}))
    start, middle, end = (make_sample(fraction=f) for f in (0.0, 0.25, 0.75))
    torch.testing.assert_close(term.loss(start), (start.value - start.teacher.value) ** 2)
    mixed = 0.5 * middle.lambda_return + 0.5 * middle.teacher.value
    torch.testing.assert_close(term.loss(middle), (middle.value - mixed) ** 2)
    torch.testing.assert_close(term.loss(end), (end.value - end.lambda_return) ** 2)


def test_reinforcement_has_no_gradient_outside_the_trust_region():
    ratio = torch.tensor([[0.5, 0.9, 1.1, 2.0]], requires_grad=True)
    advantage = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    sample = make_sample(ratio=ratio, advantage=advantage, own=torch.ones(1, 4))
    make_term(TermConfig(name="rl")).loss(sample).sum().backward()
    torch.testing.assert_close(ratio.grad, torch.tensor([[0.0, 1.0, -1.0, 0.0]]))


@pytest.mark.parametrize("name", ["rl", "value"])
def test_reward_terms_use_only_what_the_student_did(name):
    own = torch.zeros(3, 4)
    own[:, 1] = 1.0
    loss = make_term(TermConfig(name=name)).loss(make_sample(own=own))
    assert (loss[:, [0, 2, 3]] == 0).all()
    assert (loss[:, 1] != 0).all()


def test_schedules():
    linear = TermConfig(name="rl", weight=1.0, end=0.0, schedule="linear")
    assert [linear.at(f, 0.0) for f in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    progress = TermConfig(name="rl", weight=0.0, end=0.5, schedule="progress")
    assert [progress.at(0.0, s) for s in (-1.0, 0.0, 0.5, 1.0, 1.2)] == [0, 0, 0.25, 0.5, 0.5]
    assert TermConfig(name="rl", weight=2.0).at(0.7, 0.3) == 2.0


def test_unknown_names_and_options_say_what_there_is():
    with pytest.raises(TermError, match="policy_kl, value, rl"):
        make_term(TermConfig(name="policy"))
    with pytest.raises(TermError, match="temperature"):
        make_term(TermConfig(name="policy_kl", options={"temperature": 2.0}))
    with pytest.raises(TermError, match="forward"):
        make_term(TermConfig(name="policy_kl", options={"direction": "sideways"}))
