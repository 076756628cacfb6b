"""Schedules of weights."""

import pytest
from retort.distill.schedules import Schedule, ScheduleError, behind, relative_score


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_schedule_goes_from_start_to_end_between_begin_and_until(kind):
    schedule = Schedule(kind=kind, start=2.0, end=0.5, begin=0.2, until=0.6)
    values = [schedule.at(f) for f in (0.0, 0.2, 0.4, 0.6, 1.0)]
    assert values == pytest.approx([2.0, 2.0, 1.25, 0.5, 0.5])


def test_cosine_is_flat_at_both_ends():
    cosine = Schedule(kind="cosine", start=1.0, end=0.0)
    assert cosine.at(0.1) == pytest.approx(0.97553, abs=1e-5)
    assert cosine.at(0.9) == pytest.approx(0.02447, abs=1e-5)


def test_constant_stays():
    assert {Schedule(start=0.3).at(f, s) for f in (0, 1) for s in (0, 1)} == {0.3}


def test_progress_hands_over_as_the_student_catches_up():
    progress = Schedule(kind="progress", start=1.0, end=0.2)
    values = [progress.at(0.9, score) for score in (-1.0, 0.0, 0.5, 1.0, 1.3)]
    assert values == pytest.approx([1.0, 1.0, 0.6, 0.2, 0.2])


def test_relative_score_is_meaningful_below_zero():
    assert relative_score(-50.0, -10.0, -90.0) == pytest.approx(0.5)
    assert behind(relative_score(-90.0, -10.0, -90.0)) == 1.0
    assert relative_score(3.0, -95.0, -90.0) == 1.0  # a teacher that is worse than random


def test_mistakes_say_what_there_is():
    with pytest.raises(ScheduleError, match="constant, linear, cosine, progress"):
        Schedule(kind="step")
    with pytest.raises(ScheduleError, match="begin < until"):
        Schedule(kind="linear", begin=0.5, until=0.5)
