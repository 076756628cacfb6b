"""Timing policies on a computer whose own speed changes."""

import numpy as np
import pytest
from retort.controller import host
from retort.controller.host import measure_steps


class Sized:
    """Stands for a policy that takes so many microseconds at the computer's usual pace."""

    def __init__(self, takes: float) -> None:
        self.takes = takes


def test_what_the_computer_s_own_speed_does_falls_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is now twice as slow, now half as fast again, for as long as many policies take."""
    rng, asked = np.random.default_rng(0), [0]
    reference = host.make_policy(host._REFERENCE)
    monkeypatch.setattr(host, "make_policy", lambda row: reference)

    def timed(policy: object, observation_size: int, steps: int) -> np.ndarray:
        asked[0] += 1
        pace = (1.0, 2.0, 1.5, 0.8)[asked[0] // 37 % 4]
        takes = policy.takes if isinstance(policy, Sized) else 10.0
        return takes * pace * (1.0 + 0.02 * rng.random(steps))

    monkeypatch.setattr(host, "time_steps", timed)
    policies = [Sized(takes) for takes in np.linspace(8.0, 30.0, 45)]
    takes = np.array([policy.takes for policy in policies])
    p50, p99 = measure_steps([(lambda one=one: one, 8) for one in policies], steps=20, passes=9)
    relative = p50 / takes
    assert relative.max() / relative.min() < 1.02
    assert (p99 >= p50).all()
    quietest = np.min([[np.median(timed(p, 8, 20)) for p in policies] for _ in range(3)], axis=0)
    plain = quietest / takes
    assert plain.max() / plain.min() > 1.2  # what the quietest of a few passes would say


def test_progress_counts_every_measurement() -> None:
    told: list[tuple[int, int]] = []
    policy = host.make_policy(host._REFERENCE)
    measure_steps([(lambda: policy, 64)] * 2, 1, 3, lambda done, total: told.append((done, total)))
    assert told == [(i, 6) for i in range(1, 7)]
