"""Who is asked in a tick: silent devices leave their place and get it back; all is counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware.roll_call import (
    ANSWERED,
    CORRUPT,
    IMPLAUSIBLE,
    LATE,
    LOST_IN_TAIL,
    MISSING,
    PROBE_TICKS,
    REFUSED,
    SILENT_TICKS,
    RollCall,
    outcomes_in_chain,
)

NAMES = ("a", "b", "c", "d")


def tick(roll: RollCall, silent: set[int]) -> tuple[int, ...]:
    """One chained read with devices silent; who was asked."""
    asked = roll.call()
    fresh = []
    for index in asked:
        fresh.append(index not in silent and all(fresh))
    if all(fresh):
        roll.all_answered(asked)
    else:
        nothing = [False] * len(asked)
        roll.count(asked, outcomes_in_chain(fresh, nothing, nothing, sum(fresh)))
    return asked


def test_a_device_silent_for_three_ticks_is_asked_no_more_in_its_place():
    roll = RollCall(NAMES)
    for _ in range(SILENT_TICKS):
        assert tick(roll, {1}) == (0, 1, 2, 3)
    assert tick(roll, {1}) == (0, 2, 3)
    assert roll.silent == ("b",)


def test_it_is_probed_now_and_then_behind_all_others():
    roll = RollCall(NAMES)
    asked = [tick(roll, {1}) for _ in range(SILENT_TICKS + 3 * PROBE_TICKS)]
    probes = [who for who in asked[SILENT_TICKS:] if 1 in who]
    assert probes == [(0, 2, 3, 1)] * 3


def test_several_silent_devices_are_probed_in_turn():
    roll = RollCall(NAMES)
    asked = [tick(roll, {1, 2}) for _ in range(2 * SILENT_TICKS + 4 * PROBE_TICKS)]
    probes = [who[-1] for who in asked[2 * SILENT_TICKS :] if who != (0, 3)]
    assert probes[:4] in ([1, 2, 1, 2], [2, 1, 2, 1])


def test_as_soon_as_it_answers_it_has_its_place_back():
    roll = RollCall(NAMES)
    for _ in range(SILENT_TICKS + 1):
        tick(roll, {1})
    asked = [tick(roll, set()) for _ in range(PROBE_TICKS + 1)]
    probe = asked.index((0, 2, 3, 1))
    assert asked[:probe] == [(0, 2, 3)] * probe
    assert asked[probe + 1] == (0, 1, 2, 3)
    assert roll.silent == ()


def test_two_losses_in_a_row_change_nothing():
    roll = RollCall(NAMES)
    for _ in range(10):
        for silent in ({1}, {1}, set()):
            assert tick(roll, silent) == (0, 1, 2, 3)


def test_what_is_lost_behind_another_says_nothing_about_a_device():
    roll = RollCall(NAMES)
    for _ in range(SILENT_TICKS):
        tick(roll, {0})
    assert roll.silent == ("a",)


def test_when_all_are_silent_they_are_probed_still():
    roll = RollCall(("a", "b"))
    for _ in range(4 * SILENT_TICKS):
        tick(roll, {0, 1})
    assert {tick(roll, {0, 1}) for _ in range(4)} == {(0,), (1,)}
    for _ in range(2 * PROBE_TICKS):
        tick(roll, set())
    assert roll.silent == ()


@given(st.lists(st.sets(st.integers(0, 3)), max_size=60))
def test_asked_is_the_sum_of_all_outcomes(silent):
    roll = RollCall(NAMES)
    asked = [0] * len(NAMES)
    for gone in silent:
        for index in tick(roll, gone):
            asked[index] += 1
    for counter, count in zip(roll.counters.values(), asked, strict=True):
        assert counter.asked == count
        assert count == counter.answered + counter.missing + counter.lost_in_tail


@pytest.mark.parametrize(
    ("fresh", "late", "refused", "reached", "separate", "outcomes"),
    [
        ("110", "000", "000", 2, False, [ANSWERED, ANSWERED, MISSING]),
        ("110", "000", "000", 3, False, [ANSWERED, ANSWERED, CORRUPT]),
        ("100", "000", "000", 1, False, [ANSWERED, MISSING, LOST_IN_TAIL]),
        ("100", "000", "000", 3, False, [ANSWERED, CORRUPT, LOST_IN_TAIL]),
        ("100", "000", "000", 3, True, [ANSWERED, CORRUPT, CORRUPT]),
        ("000", "000", "000", 1, True, [CORRUPT, MISSING, LOST_IN_TAIL]),
        ("010", "000", "000", 2, True, [CORRUPT, ANSWERED, MISSING]),
        ("101", "010", "000", 3, True, [ANSWERED, LATE, ANSWERED]),
        ("101", "000", "010", 3, False, [ANSWERED, REFUSED, ANSWERED]),
    ],
)
def test_a_chained_read_tells_why_each_device_gave_nothing(
    fresh, late, refused, reached, separate, outcomes
):
    flags = [[character == "1" for character in text] for text in (fresh, late, refused)]
    assert outcomes_in_chain(*flags, reached, separate) == outcomes


def test_every_outcome_has_its_counter():
    roll = RollCall(("a",))
    every = (ANSWERED, LATE, CORRUPT, MISSING, LOST_IN_TAIL, REFUSED, IMPLAUSIBLE)
    for times, outcome in enumerate(every, 1):
        for _ in range(times):
            roll.count((0,), [outcome])
    counter = roll.counters["a"]
    counted = (counter.answered, counter.late, counter.corrupt, counter.missing)
    assert (*counted, counter.lost_in_tail, counter.refused, counter.implausible) == (
        *range(1, len(every) + 1),
    )
