"""Motion profiles reach their goal, at rest, within their limits and in their time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from retort.hardware.virtual.profile import Desired, Profile, Shape, by_time, by_velocity

STEP = 1e-3  # [s]


def run(profile: Profile) -> list[Desired]:
    states = []
    while not profile.done:
        states.append(profile.advance(STEP))
        assert len(states) < 10_000
    return states


@given(
    st.floats(-2e3, 2e3),
    st.floats(-2e3, 2e3),
    st.floats(-3e3, 3e3),
    st.floats(2e3, 1e4),
    st.floats(1e4, 1e6),
)
def test_a_velocity_based_profile_ends_at_rest_at_the_goal(start, goal, velocity, speed, rate):
    states = run(by_velocity(Desired(start, velocity), goal, speed, rate))
    assert states[-1] == Desired(goal)
    fastest = max(speed, abs(velocity)) + 1e-6
    assert all(abs(state.velocity) <= fastest for state in states)
    before = Desired(start, velocity)
    for state in states:
        assert abs(state.velocity - before.velocity) <= rate * STEP * 1.001 + 1e-6
        assert abs(state.position - before.position) <= (fastest + rate * STEP) * STEP + 1e-3
        before = state


@given(st.floats(-5e4, 5e4), st.floats(-3e3, 3e3), st.floats(0.01, 1.0), st.floats(0.0, 0.6))
def test_a_time_based_profile_takes_its_time(goal, velocity, seconds, ramp):
    states = run(by_time(Desired(0.0, velocity), goal, seconds, ramp))
    assert states[-1] == Desired(goal)
    assert len(states) * STEP == pytest.approx(seconds, abs=1.01 * STEP)
    if ramp > 0.0:
        last = states[-2] if len(states) > 1 else states[-1]
        top = max(abs(state.velocity) for state in states)
        assert abs(last.position - goal) <= (top + 1.0) * 2 * STEP


@given(st.floats(0.05, 5.0), st.floats(0.001, 2.0), st.floats(100.0, 5e4))
def test_acceleration_takes_at_most_half_of_a_time_based_profile(seconds, ramp, goal):
    assume(goal / seconds > 1.0)
    profile = by_time(Desired(0.0), goal, seconds, ramp)
    used = min(ramp, seconds / 2.0)
    halfway = [profile.advance(used), profile.advance(max(0.0, seconds - 2.0 * used - 1e-6))]
    top = goal / (seconds - used)
    assert [state.velocity for state in halfway] == pytest.approx([top, top], rel=1e-3)


@pytest.mark.parametrize(
    ("goal", "speed", "rate", "shape"),
    [
        (1000.0, 0.0, 0.0, Shape.STEP),
        (1000.0, 0.0, 500.0, Shape.STEP),
        (1000.0, 500.0, 0.0, Shape.RECTANGULAR),
        (1000.0, 500.0, 2000.0, Shape.TRAPEZOIDAL),
        (100.0, 500.0, 2000.0, Shape.TRIANGULAR),
    ],
)
def test_shapes_are_those_of_the_manual(goal, speed, rate, shape):
    assert by_velocity(Desired(0.0), goal, speed, rate).shape == shape


def test_a_trapezoid_has_three_straight_parts():
    """1000 counts at 500/s and 2000/s²: 0.25 s up, 1.75 s straight, 0.25 s down."""
    states = run(by_velocity(Desired(0.0), 1000.0, 500.0, 2000.0))
    assert len(states) * STEP == pytest.approx(2.25, abs=2 * STEP)
    parts = [a for a, _ in itertools.groupby(round(state.acceleration) for state in states)]
    assert parts == [2000, 0, -2000, 0]


def test_what_cannot_stop_in_time_overshoots_and_comes_back():
    states = run(by_velocity(Desired(0.0, 1000.0), 10.0, 500.0, 2000.0))
    assert max(state.position for state in states) == pytest.approx(250.0, abs=1.0)
    assert states[-1].position == 10.0


def test_everything_to_come_can_be_renumbered():
    profile = by_velocity(Desired(0.0), 1000.0, 500.0, 0.0)
    before = profile.advance(1.0).position
    profile.shift(-4096.0)
    assert profile.advance(STEP).position == pytest.approx(before - 4096.0 + 0.5)
    assert run(profile)[-1].position == 1000.0 - 4096.0
