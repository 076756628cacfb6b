"""What a receiver makes of senders that speak at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from retort.hardware.virtual.uart import overlay

BIT = 1e-6  # [s]
some_bytes = st.binary(min_size=1, max_size=30)


@given(some_bytes)
def test_one_sender_is_heard_as_it_speaks(data):
    assert overlay([(0.0, data)], BIT) == data


@given(some_bytes)
def test_equal_senders_in_step_are_heard_as_one(data):
    assert overlay([(0.0, data), (0.0, data)], BIT) == data


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(*[st.binary(min_size=n, max_size=n)] * 2)))
def test_senders_in_step_are_heard_as_the_and_of_their_bits(pair):
    first, second = pair
    expected = bytes(a & b for a, b in zip(first, second, strict=True))
    assert overlay([(0.0, first), (0.0, second)], BIT) == expected


@given(some_bytes, some_bytes)
def test_senders_one_after_the_other_are_both_heard(first, second):
    later = len(first) * 10 * BIT
    assert overlay([(0.0, first), (later, second)], BIT) == first + second


@given(st.lists(st.tuples(st.floats(0.0, 1e-3), some_bytes), min_size=1, max_size=4))
def test_any_collision_gives_no_more_than_the_wire_can_carry(senders):
    start = min(time for time, _ in senders)
    end = max(time + len(data) * 10 * BIT for time, data in senders)
    assert len(overlay(senders, BIT)) <= (end - start) / (10 * BIT) + 1.1
