"""Who is asked in a tick: silent devices leave their place and get it back; all is counted."""

from __future__ import annotations

import itertools

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


def test_a_device_silent_for_three_ticks_is_asked_last_in_the_fourth():
    roll = RollCall(NAMES)
    for _ in range(SILENT_TICKS):
        assert tick(roll, {1}) == (0, 1, 2, 3)
    assert tick(roll, {1}) == (0, 2, 3, 1)
    assert roll.silent == ("b",)


def test_three_answers_lost_in_a_row_cost_no_more_than_those():
    roll = RollCall(NAMES)
    for _ in range(SILENT_TICKS):
        tick(roll, {1})
    assert tick(roll, set()) == (0, 2, 3, 1)
    assert tick(roll, set()) == (0, 1, 2, 3)
    assert roll.counters["b"].answered == 2


def test_it_is_probed_less_and_less_often():
    roll = RollCall(NAMES)
    asked = [tick(roll, {1}) for _ in range(SILENT_TICKS + 6 * PROBE_TICKS)][SILENT_TICKS:]
    probes = [number for number, who in enumerate(asked) if who == (0, 2, 3, 1)]
    assert all(who == (0, 2, 3) for number, who in enumerate(asked) if number not in probes)
    gaps = [after - before for before, after in itertools.pairwise(probes)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (1, PROBE_TICKS)


def test_several_silent_devices_are_probed_in_turn():
    roll = RollCall(NAMES)
    asked = [tick(roll, {1, 2}) for _ in range(2 * SILENT_TICKS + 6 * PROBE_TICKS)]
    probes = [who[-1] for who in asked if who[:2] == (0, 3) and len(who) == 3]
    assert probes[-4:] in ([1, 2, 1, 2], [2, 1, 2, 1])


def test_as_soon_as_it_answers_it_has_its_place_back():
    roll = RollCall(NAMES)
    for _ in range(5 * PROBE_TICKS):
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
