"""Slots keep their phase; missed ones are skipped and counted."""

from __future__ import annotations

import math

import pytest
from retort.controller.timing import Slots, Spread, Timings
from retort.hardware.clock import VirtualClock

PERIOD = 0.01


class LateClock(VirtualClock):
    """Wakes up late when told to."""

    late = 0.0

    def sleep_until(self, deadline: float) -> None:
        super().sleep_until(deadline + self.late)


def test_ticks_begin_on_the_grid_whatever_they_take() -> None:
    clock = VirtualClock(5.0)
    slots = Slots(5.0, PERIOD)
    for number, work in enumerate([0.001, 0.009, 0.0099, 0.0]):
        slot = slots.wait(clock)
        assert slot.number == number
        assert slot.start == pytest.approx(5.0 + number * PERIOD)
        clock.sleep_until(slot.start + work)
    assert slots.overruns == 0


@pytest.mark.parametrize(
    ("work", "missed"), [(0.0101, 1), (0.0199, 1), (0.0201, 2), (0.055, 5), (0.01, 0)]
)
def test_a_long_tick_skips_what_it_missed_and_keeps_the_phase(work: float, missed: int) -> None:
    clock = VirtualClock(5.0)
    slots = Slots(5.0, PERIOD)
    clock.sleep_until(slots.wait(clock).start + work)
    slot = slots.wait(clock)
    assert slots.overruns == missed
    assert slot.number == 1 + missed
    assert slot.start == slot.due == pytest.approx(5.0 + slot.number * PERIOD)


@pytest.mark.parametrize(("late", "missed"), [(0.004, 0), (0.0099, 0), (0.012, 1), (0.031, 3)])
def test_waking_late_is_lateness_within_a_slot_and_an_overrun_beyond(
    late: float, missed: int
) -> None:
    clock = LateClock(5.0)
    slots = Slots(5.0, PERIOD)
    clock.late = late
    slot = slots.wait(clock)
    assert slots.overruns == missed == slot.number
    assert slot.start - slot.due == pytest.approx(late - missed * PERIOD)
    clock.late = 0.0
    assert slots.wait(clock).start == pytest.approx(5.0 + (slot.number + 1) * PERIOD)


def test_a_pause_on_purpose_is_not_an_overrun() -> None:
    clock = VirtualClock(5.0)
    slots = Slots(5.0, PERIOD)
    slots.wait(clock)
    clock.sleep_until(5.0371)
    slots.realign(clock)
    assert slots.wait(clock).start == pytest.approx(5.04)
    assert slots.overruns == 0


def test_spread_is_over_what_was_added_last() -> None:
    timings = Timings(capacity=100)
    assert all(math.isnan(value) for value in timings.spread("read"))
    for i in range(250):
        timings.add(i, 2 * i, 0.0, 1.0)
    assert timings.count == 250
    assert timings.spread("lateness") == Spread(199.5, pytest.approx(248.01), 249.0)
    assert timings.spread("write") == Spread(1.0, 1.0, 1.0)
