"""What a joint can do is believed, what it cannot is not, and no lie lasts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware.feetech.plausibility import CONFIRMATIONS, SLACK, WARMING, Plausibility
from retort.hardware.readings import POSITION, TEMPERATURE, VELOCITY

FASTEST, PERIOD = 4000.0, 0.01
ALL = slice(None)


def plausibility(turn: float = 0.0, joints: int = 1) -> Plausibility:
    return Plausibility(np.full(joints, FASTEST), np.full(joints, turn), PERIOD)


def counts(position: float, velocity: float = 0.0, temperature: float = 30.0) -> np.ndarray:
    made = np.zeros((5, 1))
    made[POSITION], made[VELOCITY], made[TEMPERATURE] = position, velocity, temperature
    return made


def believed(judge: Plausibility, reading: np.ndarray, time: float, joints=ALL) -> bool:
    verdict = judge.judge(joints, reading, time)
    return verdict is None or bool(verdict.all())


steps = st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(0.001, 0.5)), min_size=1, max_size=30)


@given(steps, st.booleans())
def test_whatever_a_joint_can_do_is_believed(way, picked):
    judge, position, time = plausibility(), 2000.0, 0.0
    joints = np.array([0]) if picked else ALL
    for share, seconds in way:
        position, time = position + share * FASTEST * seconds, time + seconds
        assert believed(judge, counts(round(position), share * FASTEST), time, joints)


@given(st.floats(SLACK + 1, 4000.0), st.sampled_from([-1, 1]), st.floats(0.001, 0.03))
def test_a_jump_is_not_and_the_joint_is_where_it_was(beyond, sense, seconds):
    judge = plausibility()
    assert believed(judge, counts(2000), 0.0)
    jump = sense * (1.5 * max(seconds, PERIOD) * FASTEST + beyond)
    assert not believed(judge, counts(2000 + jump), seconds)
    assert believed(judge, counts(2000), seconds + PERIOD)


@pytest.mark.parametrize(
    "reading", [counts(2000, 1.01 * FASTEST), counts(2000, 0.0, 31.0 + WARMING)]
)
def test_velocity_and_temperature_have_bounds_too(reading):
    judge = plausibility()
    assert believed(judge, counts(2000), 0.0)
    assert not believed(judge, reading, PERIOD)


def test_what_follows_from_itself_often_enough_is_believed():
    judge = plausibility()
    assert believed(judge, counts(2000), 0.0)
    verdicts = [believed(judge, counts(500 + k), k * PERIOD) for k in range(1, 6)]
    assert verdicts == [False] * (CONFIRMATIONS - 1) + [True] * (6 - CONFIRMATIONS)


def test_what_does_not_follow_from_itself_is_never_believed():
    judge = plausibility()
    assert believed(judge, counts(2000), 0.0)
    for k in range(1, 30):  # later it could have come as far as that
        assert not believed(judge, counts(500 if k % 2 else 3500), k * PERIOD)


def test_turns_are_counted_where_positions_begin_anew():
    judge, angle = plausibility(turn=4096.0), 0.0
    for k in range(400):
        angle += 35.0
        reading = counts(angle % 4096)
        assert believed(judge, reading, k * PERIOD)
        assert reading[POSITION, 0] == angle
    assert not believed(judge, counts((angle + 2000) % 4096), 401 * PERIOD)


def test_after_forget_anything_goes():
    judge = plausibility()
    assert believed(judge, counts(2000), 0.0)
    judge.forget()
    assert believed(judge, counts(10, 0.0, 60.0), PERIOD)
    assert not believed(judge, counts(2000), 2 * PERIOD)


def test_one_joints_lie_costs_the_others_nothing():
    judge = plausibility(joints=3)
    start = np.repeat(counts(2000), 3, axis=1)
    assert judge.judge(ALL, start.copy(), 0.0) is None
    wrong = start.copy()
    wrong[POSITION, 1] = 9
    verdict = judge.judge(ALL, wrong, PERIOD)
    assert verdict is not None
    assert verdict.tolist() == [True, False, True]
    assert judge.judge(ALL, start.copy(), 2 * PERIOD) is None


@pytest.mark.parametrize("joints", [ALL, np.array([0])], ids=["all", "picked"])
def test_bad_readings_far_apart_do_not_confirm_one_another(joints):
    judge = plausibility()
    for tick in range(500):
        wrong = tick > 0 and tick % 100 == 0
        position = 2000.0 + (1000.0 if wrong else 0.0)
        assert believed(judge, counts(position), tick * PERIOD, joints) != wrong
