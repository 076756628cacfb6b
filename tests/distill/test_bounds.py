"""The range of actions: what takes effect, and which way a gradient leads beyond it."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from retort.distill.bounds import Bounds
from retort.distill.losses import q_of_action
from retort.distill.teachers import BoundCritics

UNIT = Bounds.of(Box(-1.0, 1.0, (1,)))


def test_actions_are_cut_between_their_bounds_and_a_little_is_left_beyond():
    bounds = Bounds.of(Box(np.array([-1.0, -np.inf]), np.array([2.0, np.inf]), dtype=np.float64))
    action = torch.tensor([[5.0, 5.0], [-3.0, -3.0], [0.5, 0.5]])
    torch.testing.assert_close(
        bounds.cut(action), torch.tensor([[2.0, 5.0], [-1.0, -3.0], [0.5, 0.5]])
    )
    torch.testing.assert_close(bounds.cut(action, 0.01)[:, 0], torch.tensor([2.03, -1.02, 0.5]))
    assert Bounds.of(Discrete(3)) is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_beyond_the_bounds_a_gradient_leads_back_and_never_out(sign):
    action = sign * torch.tensor([[0.5], [3.0]])
    for slope, expected in ((1.0, [1.0, 1.0]), (-1.0, [-1.0, 0.0])):  # of a loss along ``sign``
        action.requires_grad_()
        held = UNIT.hold(action)
        torch.testing.assert_close(held, UNIT.cut(action))
        (gradient,) = torch.autograd.grad((sign * slope * held).sum(), action)
        torch.testing.assert_close(sign * gradient[:, 0], torch.tensor(expected))


@pytest.mark.parametrize(("start", "peak"), [(0.0, 0.6), (4.0, 0.6), (0.0, 7.0), (-4.0, 7.0)])
def test_critics_pull_actions_to_their_best_within_bounds_and_no_further(start, peak):
    bound = BoundCritics(
        lambda seen, action: -(action - peak).square().sum(-1)[None], torch.zeros(1, 2), UNIT
    )
    action = torch.full((1, 1), start, requires_grad=True)
    optimiser = torch.optim.SGD([action], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        q_of_action(bound, action, normalise=False).sum().backward()
        optimiser.step()
    if abs(peak) < 1:
        assert float(action.detach()) == pytest.approx(peak, abs=1e-3)
    else:
        assert 1.0 <= float(action.detach()) < 2.0  # one step beyond at most
