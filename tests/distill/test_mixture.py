"""Several teachers: weights, gate, and sums of losses."""

import math

import pytest
import torch
from retort.distill.losses.shapes import ShapeError
from retort.distill.teachers import ValuesOf
from retort.distill.teachers.mixture import (
    MixtureConfig,
    MixtureError,
    check_compared,
    fixed_weights,
    gate,
    mix,
    open_weights,
    routed_weights,
    value_weights,
)


def test_fixed_weights_are_one_point_of_the_simplex_everywhere():
    weights = fixed_weights([0.25, 0.75], (3, 4))
    assert weights.shape == (3, 4, 2)
    assert (weights == torch.tensor([0.25, 0.75])).all()
    for wrong in ([0.5, 0.6], [1.5, -0.5], []):
        with pytest.raises(MixtureError, match="sum to 1"):
            fixed_weights(wrong, (3,))


def test_routing_gives_each_task_its_own_teacher():
    task = torch.tensor([[0, 2], [1, 1]])
    weights = routed_weights(task, 3)
    assert (weights.argmax(-1) == task).all()
    assert (weights.sum(-1) == 1).all()
    assert (weights.amax(-1) == 1).all()
    with pytest.raises(MixtureError, match="0 to 1"):
        routed_weights(task, 2)


def test_value_weights_are_a_softmax_that_no_size_of_value_breaks():
    values = torch.tensor([[1.0, 2.0], [1000.0, 0.0]], requires_grad=True)
    weights = value_weights(values, 0.5)
    assert weights[0, 1].item() == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert weights[1].tolist() == [1.0, 0.0]
    assert not weights.requires_grad


def test_the_gate_closes_on_weaker_teachers_and_weights_are_renormalised():
    values = torch.tensor([[5.0, 1.0, 3.0], [0.0, 0.0, 0.0]])
    gates = gate(values, torch.tensor([2.0, 2.0]))
    assert gates.tolist() == [[True, False, True], [False, False, False]]
    assert gate(values, torch.tensor([2.0, 2.0]), margin=2.0)[0].tolist() == [True, False, False]
    weights = open_weights(fixed_weights([0.2, 0.5, 0.3], (2,)), gates)
    torch.testing.assert_close(weights, torch.tensor([[0.4, 0.0, 0.6], [0.0, 0.0, 0.0]]))


def test_a_routed_teacher_whose_gate_is_closed_has_no_weight():
    weights = open_weights(routed_weights(torch.tensor([1]), 2), torch.tensor([[True, False]]))
    assert (weights == 0).all()


@pytest.mark.parametrize(
    ("changes", "teachers", "fits"),
    [
        ({}, [(0.9, 0), (0.99, 3)], True),
        ({"weighting": "task"}, [(0.9, 0), (0.99, 3)], True),
        ({"weighting": "value"}, [(0.9, 0), (0.9, 0)], True),  # the student's is not compared
        ({"weighting": "value"}, [(0.9, 1), (0.99, 1)], False),
        ({"weighting": "value"}, [(0.98, 0), (0.98, 1)], False),
        ({"gated": True}, [(0.98, 1), (0.98, 1)], True),
        ({"gated": True}, [(0.98, 1), None], True),  # who does not tell is believed
        ({"gated": True}, [(0.9, 1), (0.9, 1)], False),
        ({"gated": True}, [(0.98, 0), (0.98, 0)], False),
        ({"gated": True, "weighting": "value"}, [(0.98, 1), (0.9, 1)], False),
    ],
)
def test_values_are_compared_where_they_count_the_same(changes, teachers, fits):
    config = MixtureConfig(others=("a",), **changes)
    given = [None if each is None else ValuesOf(*each) for each in teachers]
    if fits:
        check_compared(config, given, ValuesOf(0.98, 1.0))
    else:
        with pytest.raises(MixtureError, match="values that count different things"):
            check_compared(config, given, ValuesOf(0.98, 1.0))


def test_mix_is_the_weighted_sum_and_its_gradient():
    losses = [torch.tensor([2.0, 3.0], requires_grad=True) for _ in range(2)]
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    total = mix(weights, [losses[0], 2 * losses[1]])
    torch.testing.assert_close(total, torch.tensor([0.5 + 3.0, 3.0]))
    total.sum().backward()
    assert losses[0].grad.tolist() == [0.25, 1.0]
    assert losses[1].grad.tolist() == [1.5, 0.0]


def test_a_teacher_without_weight_cannot_spoil_the_sum():
    bad = torch.tensor([0.0], requires_grad=True)
    total = mix(torch.tensor([[1.0, 0.0]]), [torch.tensor([2.0]), 1.0 / bad])
    total.sum().backward()
    assert total.item() == 2.0


def test_mistakes_are_refused():
    with pytest.raises(MixtureError, match="1 losses and weights of 2"):
        mix(torch.ones(3, 2), [torch.ones(3)])
    with pytest.raises(ShapeError):
        mix(torch.ones(3, 2), [torch.ones(3), torch.ones(1)])
    with pytest.raises(ShapeError):
        gate(torch.ones(3, 2), torch.ones(1))
