"""Whitening: what it makes of what it has seen, and that a layer behind it learns speeds sooner."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from retort.distill.networks import linear
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.whitening import FLOOR, Whitening
from torch import nn


def walks(rows: int, frames: int, seed: int = 0) -> torch.Tensor:
    """Windows (rows, frames) of something that hardly changes from one frame to the next."""
    generator = torch.Generator().manual_seed(seed)
    start, speed = torch.randn(2, rows, 1, generator=generator)
    return (
        start
        + 0.02 * speed * torch.arange(frames)
        + 1e-3 * torch.randn(rows, frames, generator=generator)
    )


def test_what_was_seen_comes_out_uncorrelated_and_of_one_size() -> None:
    mix = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    x = torch.randn(20_000, 6, generator=torch.Generator().manual_seed(2)) @ mix
    whitening = Whitening(6)
    assert torch.equal(whitening(x), x)  # nothing was seen yet
    whitening.update(linear(6, 2), x)
    white = whitening(x)
    found = np.cov(white.T.numpy(), bias=True)
    seen = np.linalg.eigvalsh(np.cov(x.T.numpy(), bias=True))
    assert seen.max() > 30 * seen.min()
    np.testing.assert_allclose(found, np.diag(seen / (seen + FLOOR * seen.max())), atol=0.01)


def test_what_is_too_small_is_not_blown_up() -> None:
    x = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e-6])
    whitening = Whitening(2)
    whitening.update(linear(2, 1), x)
    assert whitening(torch.eye(2)).norm(dim=1)[1] == pytest.approx(FLOOR**-0.5, rel=0.05)


def test_a_layer_goes_on_saying_what_it_said() -> None:
    whitening, layer, x = Whitening(5), linear(5, 3), walks(500, 5)
    whitening.update(layer, x)
    before, matrix = layer(whitening(x)), whitening.matrix.clone()
    whitening.update(layer, walks(499, 5, seed=1))  # not twice as much yet
    assert torch.equal(whitening.matrix, matrix)
    whitening.update(layer, 3.0 * walks(500, 5, seed=1) ** 2)
    assert not torch.allclose(whitening.matrix, matrix, rtol=0.1)
    torch.testing.assert_close(layer(whitening(x)), before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(x @ whitening.merged(layer).T, before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["mlp", "tcn"])
def test_a_speed_is_learnt_from_positions_sooner(kind: str) -> None:
    frames = 8
    if kind == "mlp":
        config, interface = StudentConfig(whiten=True), Interface.plain(frames, 1)
    else:
        config = StudentConfig(kind="tcn", channels=(32,), kernel=frames, hidden=(), whiten=True)
        interface = Interface.plain(1, 1)

    def error(whiten: bool) -> float:
        torch.manual_seed(0)
        student = make_student(
            config if whiten else StudentConfig(**{**config.__dict__, "whiten": False}), interface
        )
        windows = walks(2000, frames)
        speed = (windows[:, -1] - windows[:, 0]) / (0.02 * (frames - 1))
        sequence = windows[None] if kind == "mlp" else windows.T[..., None]
        state, resets = student.initial_state(2000), torch.zeros(sequence.shape[:2]).bool()
        resets[0] = True
        student.observe(sequence, state, resets)
        optimiser = torch.optim.Adam(student.parameters(), lr=1e-3)
        for _ in range(200):
            said = student(sequence, state, resets)[0].mode()[-1, :, 0]
            loss = (said - speed).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float(loss.detach() / speed.square().mean())

    assert error(True) < 0.02
    assert error(False) > 5.0 * error(True)


def test_an_episode_counts_as_if_it_had_begun_at_rest() -> None:
    config = StudentConfig(kind="tcn", channels=(4,), kernel=3, hidden=(), whiten=True)
    student = make_student(config, Interface.plain(1, 1))
    assert student.whitening is not None
    sequence = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])[:, None, None]
    resets = torch.tensor([True, False, False, True, False])[:, None]
    student.observe(sequence, student.initial_state(1), resets)
    windows = np.array([[1, 1, 1], [1, 1, 2], [1, 2, 4], [8, 8, 8], [8, 8, 16]]) / (1 + 1e-5) ** 0.5
    windows = windows.clip(-10, 10)
    np.testing.assert_allclose(student.whitening.moment, windows.T @ windows, rtol=1e-5)


def test_what_a_student_remembers_of_before_counts() -> None:
    config = StudentConfig(kind="tcn", channels=(4,), kernel=3, hidden=(), whiten=True)
    student = make_student(config, Interface.plain(1, 1))
    assert student.whitening is not None
    never = torch.zeros(1, 1, dtype=torch.bool)
    student.observe(torch.tensor([[[3.0]]]), torch.tensor([[1.0, 2.0]]), never)
    window = np.array([1.0, 2.0, 3.0 / (1 + 1e-5) ** 0.5])
    np.testing.assert_allclose(student.whitening.moment, np.outer(window, window), rtol=1e-5)


def test_one_moment_is_not_a_window() -> None:
    with pytest.raises(
        ValueError, match=r"student\.whiten .*'mlp' and 'tcn'.* is 'gru'; remove it"
    ):
        StudentConfig(kind="gru", whiten=True)


def test_without_it_nothing_is_kept() -> None:
    student = make_student(StudentConfig(), Interface.plain(3, 1))
    before = {name: value.clone() for name, value in student.state_dict().items()}
    student.observe(torch.randn(4, 2, 3), student.initial_state(2), torch.zeros(4, 2).bool())
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    assert not any("whitening" in name for name in before)
    assert isinstance(student.layers[0], nn.Linear)
