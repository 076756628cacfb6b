"""Losses between inner layers and saliencies against loops, enumeration and finite differences."""

import itertools

import pytest
import torch
from retort.distill.losses.representation import (
    batch_similarity,
    input_saliency,
    latent,
    saliency_difference,
)
from retort.distill.losses.shapes import ShapeError
from retort.distill.losses.time_attention import attention_over_time, time_attention
from torch import nn


@pytest.fixture
def rng():
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


def randn(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def perceptron(*sizes):
    layers = [m for i, o in itertools.pairwise(sizes) for m in (nn.Linear(i, o), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).double()


def descend(parameters, loss, steps=150, rate=0.02):
    optimiser = torch.optim.Adam(parameters, lr=rate)
    first = float(loss().detach().mean())
    for _ in range(steps):
        optimiser.zero_grad()
        loss().mean().backward()
        optimiser.step()
    return first, float(loss().detach().mean())


def gradient_equals_finite_difference(loss, parameter, entry, step=1e-6):
    (gradient,) = torch.autograd.grad(loss().sum(), parameter)
    around = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[entry] += sign * step
        around.append(float(loss().sum().detach()))
        with torch.no_grad():
            parameter[entry] -= sign * step
    assert (around[0] - around[1]) / (2 * step) == pytest.approx(float(gradient[entry]), rel=1e-4)
    assert gradient[entry] != 0


def test_latent_is_a_squared_distance_that_moves_student_and_projection_only(rng):
    teacher, student = (randn(rng, 3, 4, n).requires_grad_() for n in (5, 2))
    projection = nn.Linear(2, 5).double()
    loss = latent(teacher, student, projection)
    by_hand = ((student @ projection.weight.T + projection.bias - teacher) ** 2).sum(-1)
    torch.testing.assert_close(loss, by_hand)
    loss.sum().backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0
    assert projection.weight.grad.abs().sum() > 0
    with pytest.raises(ShapeError, match="projected_student"):
        latent(teacher, student, nn.Linear(2, 4).double())


@pytest.mark.parametrize("block", [12, 6, 5])
def test_batch_similarity_equals_a_loop_within_blocks(rng, block):
    teacher, student = randn(rng, 3, 4, 7), randn(rng, 3, 4, 2)
    got = batch_similarity(teacher, student, block).flatten()
    flat = [teacher.flatten(0, 1), student.flatten(0, 1)]
    sizes = {12: [12], 6: [6, 6], 5: [4, 4, 4]}[block]
    expected, begin = [], 0
    for size in sizes:
        for i in range(begin, begin + size):
            rows = []
            for z in flat:
                row = torch.stack([z[i] @ z[j] for j in range(begin, begin + size)])
                rows.append(row / row.norm())
            expected.append(((rows[0] - rows[1]) ** 2).sum())
        begin += size
    torch.testing.assert_close(got, torch.stack(expected))


def test_batch_similarity_ignores_rotation_scale_and_takes_uneven_blocks(rng):
    teacher = randn(rng, 11, 5)
    rotation, _ = torch.linalg.qr(randn(rng, 5, 5))
    assert batch_similarity(teacher, 3.0 * teacher @ rotation, 4).abs().max() < 1e-12
    wide = torch.cat([teacher, torch.zeros(11, 3).double()], -1)
    assert batch_similarity(teacher, wide, 4).abs().max() < 1e-12
    assert batch_similarity(teacher, randn(rng, 11, 5), 4).max() <= 4.0


def test_batch_similarity_is_learnt_by_a_narrower_layer(rng):
    observation = randn(rng, 64, 6)
    teacher, student = perceptron(6, 32), perceptron(6, 4, 4)
    first, last = descend(
        student.parameters(), lambda: batch_similarity(teacher(observation), student(observation))
    )
    assert last < 0.5 * first


def test_input_saliency_equals_finite_differences(rng):
    network = perceptron(3, 8, 2)
    observation = randn(rng, 4, 5, 3).requires_grad_()
    (got,) = input_saliency(network(observation), observation)
    assert got.shape == (4, 5, 2, 3)
    step = 1e-6
    for i in range(3):
        shift = torch.zeros(3).double()
        shift[i] = step
        change = network(observation + shift) - network(observation - shift)
        torch.testing.assert_close(got[..., i], change.abs() / (2 * step), rtol=1e-5, atol=1e-8)


def test_saliency_loss_has_a_true_gradient_with_respect_to_weights(rng):
    network = perceptron(3, 8, 2)
    observation, teacher = randn(rng, 6, 3).requires_grad_(), randn(rng, 6, 2, 3).abs()

    def loss():
        (saliency,) = input_saliency(network(observation), observation)
        return saliency_difference(teacher, saliency)

    gradient_equals_finite_difference(loss, network[0].weight, (2, 1))


def test_saliency_difference_is_about_direction_only(rng):
    a, b = randn(rng, 6, 2, 3).abs(), randn(rng, 6, 2, 3).abs()
    assert saliency_difference(a, 7.0 * a).abs().max() < 1e-12
    cosine = (a * b).sum((-1, -2)) / (a.norm(dim=(-1, -2)) * b.norm(dim=(-1, -2)))
    torch.testing.assert_close(saliency_difference(a, b), 2.0 - 2.0 * cosine)


def test_saliency_is_learnt_and_survives_outputs_that_ignore_their_input(rng):
    observation = randn(rng, 32, 4).requires_grad_()
    teacher, student = perceptron(4, 16, 2), perceptron(4, 6, 2)

    def loss():
        maps = [input_saliency(n(observation), observation)[0] for n in (teacher, student)]
        return saliency_difference(*maps)

    first, last = descend(student.parameters(), loss)
    assert last < 0.5 * first
    with torch.no_grad():
        student[-1].weight.zero_()
    (gradient,) = torch.autograd.grad(loss().sum(), student[-1].weight)
    assert torch.isfinite(gradient).all()


def test_attention_over_time_stays_within_the_past_of_its_episode(rng):
    layer = randn(rng, 6, 2, 3)
    reset = torch.zeros(6, 2, dtype=torch.bool)
    reset[0] = reset[3, 1] = True
    weights = attention_over_time(layer, reset, 0.5).exp()
    torch.testing.assert_close(weights.sum(-1), torch.ones(6, 2).double())
    for n in range(2):
        for t in range(6):
            begin = 3 if n == 1 and t >= 3 else 0
            z = layer[begin : t + 1, n]
            scores = torch.cosine_similarity(z, layer[t, n][None], dim=-1) / 0.5
            expected = torch.zeros(6).double()
            expected[begin : t + 1] = scores.softmax(-1)
            torch.testing.assert_close(weights[t, n], expected)


def test_time_attention_is_the_kl_of_the_weights_and_zero_for_rotated_layers(rng):
    teacher, student = randn(rng, 5, 2, 3), randn(rng, 5, 2, 4).requires_grad_()
    reset = torch.zeros(5, 2, dtype=torch.bool)
    reset[2, 0] = True
    got = time_attention(teacher, student, reset)
    p, q = (attention_over_time(x, reset).exp() for x in (teacher, student))
    expected = torch.where(p > 0, p * (p / q).log(), 0.0).nan_to_num(0.0).sum(-1)
    torch.testing.assert_close(got, expected)
    (gradient,) = torch.autograd.grad(got.sum(), student)
    assert torch.isfinite(gradient).all()
    rotation, _ = torch.linalg.qr(randn(rng, 3, 3))
    assert time_attention(teacher, teacher @ rotation, reset).abs().max() < 1e-10


@pytest.mark.parametrize("kind", ["gru", "tcn"])
def test_attention_over_time_passes_from_a_perceptron_to_a_student_that_remembers(rng, kind):
    observation = randn(rng, 10, 8, 4)
    reset = torch.zeros(10, 8, dtype=torch.bool)
    teacher = perceptron(4, 32)(observation).tanh()
    if kind == "gru":
        student = nn.GRU(4, 6).double()

        def layer():
            return student(observation)[0]
    else:
        student = nn.Conv1d(4, 6, 3).double()

        def layer():
            frames = nn.functional.pad(observation.permute(1, 2, 0), (2, 0))
            return student(frames).permute(2, 0, 1)

    loss = lambda: time_attention(teacher, layer(), reset)  # noqa: E731
    first, last = descend(student.parameters(), loss, steps=80)
    assert last < 0.7 * first


def test_mistaken_shapes_are_refused(rng):
    with pytest.raises(ShapeError, match="student"):
        batch_similarity(randn(rng, 3, 4, 2), randn(rng, 3, 2))
    with pytest.raises(ShapeError, match="leading"):
        input_saliency(randn(rng, 4, 2), randn(rng, 5, 3))
    with pytest.raises(ShapeError, match="reset"):
        attention_over_time(randn(rng, 4, 2, 3), torch.zeros(4, dtype=torch.bool))
