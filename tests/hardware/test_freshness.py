"""A device's own clock tells fresh answers from late ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware.freshness import TickTracker

PERIOD = 0.01  # [s]


def tick(time: float, rate: float = 1.0, boot: float = 0.0) -> int:
    """What a device shows whose clock runs at ``rate``."""
    return int((time - boot) * rate * 1000.0 + 1e-6) % 32768


class Tracker:
    """One device's clock."""

    def __init__(self) -> None:
        self._all = TickTracker(PERIOD / 2, 1)

    def synchronise(self, heard: float, tick: int) -> None:
        self._all.synchronise(0, heard, tick)

    def forget(self) -> None:
        self._all.forget(0)

    def accept(self, tick: int, heard: float, received: float) -> bool:
        return bool(self._all.accept(slice(None), np.array([tick]), heard, received)[0])


def tracker(start: float = 100.0, **clock) -> Tracker:
    made = Tracker()
    made.synchronise(start, tick(start, **clock))
    return made


@given(
    st.floats(0.99, 1.01),
    st.floats(0.0, 90.0),
    st.floats(0.6, 50.0),
)
def test_fresh_answers_pass_and_late_ones_do_not_whatever_the_clocks_rate(rate, boot, ticks_late):
    made = tracker(rate=rate, boot=boot)
    for step in range(1, 400):
        now = 100.0 + step * PERIOD
        late = tick(now - ticks_late * PERIOD, rate, boot)
        if step % 3 == 0 and ticks_late * PERIOD * rate > PERIOD / 2 + 0.0035:
            assert not made.accept(late, now, now + 0.003)
        assert made.accept(tick(now, rate, boot), now, now + 0.001)


def test_the_tick_may_wrap():
    made = tracker(start=32.76)
    for now in (32.765, 32.77, 32.78):
        assert made.accept(tick(now), now, now)


def test_a_train_of_late_answers_never_becomes_the_norm():
    made = tracker()
    for step in range(1, 3000):
        now = 100.0 + step * PERIOD
        assert not made.accept(tick(now - 1.1 * PERIOD), now, now + 0.003)


def test_a_rebooted_clock_stays_refused_until_it_is_learned_anew():
    made = tracker()
    for step in range(1, 300):
        now = 100.0 + step * PERIOD
        assert not made.accept(tick(now, boot=99.0), now, now + 0.003)
    made.forget()
    made.synchronise(now, tick(now, boot=99.0))
    assert made.accept(tick(now, boot=99.0), now, now)


def test_of_several_exchanges_the_freshest_counts():
    made = Tracker()
    for now, age in ((1.0, 0.02), (1.1, 0.0), (1.2, 0.03)):
        made.synchronise(now, tick(now - age))
    assert made.accept(tick(1.3), 1.3, 1.3)
    assert not made.accept(tick(1.4 - 0.007), 1.4, 1.4)


@pytest.mark.parametrize(("received", "fresh"), [(0.008, True), (0.0, False)])
def test_a_sample_may_be_as_new_as_its_arrival(received, fresh):
    made = tracker()
    assert made.accept(tick(100.018), 100.01, 100.01 + received) == fresh


def test_each_device_has_a_clock_of_its_own():
    made = TickTracker(PERIOD / 2, 3)
    for device, boot in enumerate((0.0, 5.0, 9.0)):
        made.synchronise(device, 100.0, tick(100.0, boot=boot))
    ticks = np.array([tick(100.01), tick(99.99, boot=5.0), tick(100.01, boot=9.0)])
    assert made.accept(slice(None), ticks, 100.01, 100.011).tolist() == [True, False, True]
    assert made.accept(np.array([2, 0]), ticks[[2, 0]], 100.01, 100.011).all()


def test_a_clock_never_synchronised_is_believed_and_known_from_then_on():
    made = Tracker()
    assert made.accept(tick(100.0), 100.0, 100.001)
    assert not made.accept(tick(99.9), 100.01, 100.011)
