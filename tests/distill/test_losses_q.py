"""Losses on action values and state values against formulas by hand."""

import pytest
import torch
from retort.distill.losses.q import (
    gap_temperature,
    q_kl_sharpened,
    q_kl_tempered,
    q_mse,
    q_nll,
    q_of_action,
)
from retort.distill.losses.shapes import ShapeError
from retort.distill.losses.value import value_target


@pytest.fixture
def q():
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double().unbind(0)


def softmax(x):
    return x.exp() / x.exp().sum(-1, keepdim=True)


def test_temperature_is_in_units_of_the_gap_between_the_best_two():
    q = torch.tensor([[1.0, 4.0, 2.0], [0.0, -1.0, -4.0]])
    assert gap_temperature(q, 2.0).item() == pytest.approx(2.0 * 1.5)
    assert gap_temperature(10 * q, 2.0).item() == pytest.approx(20.0 * 1.5)
    assert gap_temperature(torch.ones(4, 2), 1.0).item() > 0


def test_sharpened_kl_tempers_only_the_teacher(q):
    teacher, logits = q
    p = softmax(teacher / 0.5)
    expected = (p * (p / softmax(logits)).log()).sum(-1)
    torch.testing.assert_close(q_kl_sharpened(teacher, logits, 0.5), expected)
    # The minimum is at logits that are the tempered values.
    assert q_kl_sharpened(teacher, teacher / 0.5 + 3.0, 0.5).abs().max() < 1e-12


def test_sharpened_kl_at_an_atari_temperature_is_finite_in_single_precision():
    teacher = torch.tensor([[10.0, 9.5, -3.0]])
    logits = torch.zeros(1, 3, requires_grad=True)
    loss = q_kl_sharpened(teacher, logits, 0.01)
    loss.sum().backward()
    assert loss.item() == pytest.approx(torch.tensor(3.0).log().item())
    assert torch.isfinite(logits.grad).all()


def test_gradient_of_the_tempered_kl_is_the_difference_of_probabilities(q):
    teacher, student = q
    student = student.clone().requires_grad_()
    loss = q_kl_tempered(teacher, student, 0.1)
    p = softmax(teacher / 0.1)
    expected = 0.1 * (p * (p / softmax(student / 0.1)).log()).sum(-1)
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    torch.testing.assert_close(student.grad, (softmax(student / 0.1) - p).detach())


def test_mse_and_nll_by_hand():
    teacher, student = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 0.0]])
    assert q_mse(teacher, student).item() == pytest.approx((1.0 + 9.0) / 2)
    expected = -torch.log(torch.exp(torch.tensor(0.0)) / (1 + torch.exp(torch.tensor(2.0))))
    assert q_nll(teacher, student).item() == pytest.approx(expected.item())


def test_descending_on_the_critics_finds_their_common_optimum():
    """Two critics with peaks at -1 and 1: the least of both is greatest at 0."""

    def critics(action):
        return -torch.stack([(action + 1).square().sum(-1), (action - 1).square().sum(-1)])

    action = torch.full((4, 1), 0.8, requires_grad=True)
    optimiser = torch.optim.SGD([action], lr=0.05)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 200)
        optimiser.zero_grad()
        q_of_action(critics, action, normalise=False).sum().backward()
        optimiser.step()
    assert action.abs().max() < 0.02
    torch.testing.assert_close(
        q_of_action(critics, torch.zeros(4, 1), normalise=False), torch.ones(4)
    )


def test_normalised_critic_loss_does_not_depend_on_the_scale_of_reward():
    action = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    small, large = (
        torch.autograd.grad(q_of_action(lambda a, s=s: s * a.prod(-1)[None], action).sum(), action)
        for s in (1.0, 1000.0)
    )
    torch.testing.assert_close(small, large)


def test_value_target_moves_from_teacher_to_return():
    returns = torch.tensor([3.0, 3.0])
    teacher = torch.tensor([0.0, 5.0], requires_grad=True)
    for eta, target in ((1.0, teacher), (0.0, returns), (0.25, 0.75 * returns + 0.25 * teacher)):
        got = value_target(returns, teacher, eta)
        torch.testing.assert_close(got, target.detach())
        assert not got.requires_grad


def test_mistaken_shapes_are_refused():
    with pytest.raises(ShapeError, match="teacher_value"):
        value_target(torch.zeros(3, 4), torch.zeros(4), 0.5)
    with pytest.raises(ShapeError, match="q_student"):
        q_mse(torch.zeros(3, 4), torch.zeros(4))
    with pytest.raises(ShapeError, match="values"):
        q_of_action(lambda a: a.sum(-1), torch.zeros(3, 4, 2))
