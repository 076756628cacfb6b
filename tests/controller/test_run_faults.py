"""What goes wrong during a run: it is latched, damped, said, and ends without torque."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from retort.controller import (
    Bundle,
    StopFlag,
    Writer,
)
from retort.hardware.state import Health

from .conftest import FakeBus, with_ramp
from .run_rig import (
    Always,
    assert_torque_off_is_last,
    go,
    leaning,
    saying,
    since_torque,
)


def test_a_robot_never_heard_is_a_fault_before_torque(bundle: Bundle, bus: FakeBus) -> None:
    bus.robot = with_ramp(bus.robot, seconds=0.0)
    bus.script = lambda time: {"imu_valid": np.array(False), "joint_valid": np.zeros(2, bool)}
    result = go(bundle, bus)
    assert (result.outcome, result.fault) == ("fault", "STALE")
    assert "left_wheel, right_wheel, imu did not answer" in result.sentence
    assert ("torque", True) not in bus.calls


FAULTS = {
    "TILT": {"orientation": leaning(1.0)},
    "ALERT": {"health": Health(np.full(2, 5.0), np.full(2, 30.0), np.array([True, False]))},
    "TEMPERATURE": {"health": Health(np.full(2, 5.0), np.full(2, 70.0), np.zeros(2, bool))},
    "VOLTAGE": {"health": Health(np.full(2, 3.0), np.full(2, 30.0), np.zeros(2, bool))},
    "STALE": {"joint_valid": np.array([True, False])},
    "ORIENTATION": {"orientation": np.zeros(4)},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_latched_damped_and_ends_without_torque(
    bundle: Bundle, bus: FakeBus, name: str
) -> None:
    rolling = {"joint_velocity": np.array([4.0, 4.0])}
    bus.script = lambda time: (
        {**rolling, **FAULTS[name]} if 0.1 < since_torque(bus, time) < 0.2 else {}
    )
    result = go(bundle, bus, seconds=9.0)
    assert (result.outcome, result.fault) == ("fault", name)
    assert not result.ok
    assert result.sentence
    assert bus.clock.now() - (bus.torque_on_at or 0) < 0.5  # it went away, the fault did not
    assert_torque_off_is_last(bus)


def test_a_fault_brakes_the_wheels_it_can_still_read(bundle: Bundle, bus: FakeBus) -> None:
    bus.script = lambda time: (
        {"orientation": leaning(1.0), "joint_velocity": np.array([4.0, -6.0])}
        if since_torque(bus, time) > 0.1
        else {}
    )
    go(saying(bundle, 0.0, 0.0), bus, seconds=9.0)
    np.testing.assert_allclose(bus.writes[-1], [-0.04, 0.06], atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_policy_that_says_no_number_is_stopped_and_never_heard(
    bundle: Bundle, bus: FakeBus, bad: float
) -> None:
    policy = Always([0.1, 0.1])
    bus.before_read = lambda time: (
        policy.action.fill(bad) if since_torque(bus, time) > 0.1 else None
    )
    result = go(dataclasses.replace(bundle, policy=policy), bus, seconds=9.0)
    assert (result.outcome, result.fault) == ("fault", "NOT_FINITE")
    assert np.all(np.isfinite(bus.writes))
    assert_torque_off_is_last(bus)


def test_a_policy_that_pauses_is_a_fault(bundle: Bundle, bus: FakeBus) -> None:
    paused = []

    def pause(time: float) -> None:
        if since_torque(bus, time) > 0.1 and not paused:
            paused.append(bus.clock.sleep_until(time + 0.152))

    bus.before_read = pause
    result = go(bundle, bus, seconds=9.0)
    assert (result.outcome, result.fault) == ("fault", "HEARTBEAT")
    assert result.overruns == 15


def test_servos_that_do_not_confirm_torque_are_a_fault(bundle: Bundle, bus: FakeBus) -> None:
    bus.unconfirmed[True] = ("right_wheel",)
    result = go(bundle, bus)
    assert (result.outcome, result.fault) == ("fault", "TORQUE")
    assert "right_wheel did not confirm torque" in result.sentence
    assert result.run_ticks == 0
    assert_torque_off_is_last(bus)


def test_torque_off_is_tried_again_and_failure_is_reported(bundle: Bundle, bus: FakeBus) -> None:
    bus.unconfirmed[False] = ("left_wheel",)
    result = go(bundle, bus)
    assert result.torque_off == {"left_wheel": False, "right_wheel": True}
    assert not result.ok
    assert bus.calls[-3:] == [("torque", False)] * 3


def test_a_driver_that_breaks_in_torque_off_is_asked_again(
    bundle: Bundle, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def broken(on: bool) -> tuple[str, ...]:
        attempts.append(on)
        raise OSError("gone")

    monkeypatch.setattr(bus, "torque", broken)
    assert Writer(bus).torque_off() == {"left_wheel": False, "right_wheel": False}
    assert attempts == [False] * 3


def test_an_unplugged_port_is_an_error_in_one_sentence(bundle: Bundle, bus: FakeBus) -> None:
    bus.before_read = lambda time: bus.unplug() if since_torque(bus, time) > 0.1 else None
    result = go(bundle, bus)
    assert result.outcome == "error"
    assert "plug it in again" in result.sentence
    assert_torque_off_is_last(bus)


def test_a_fault_while_stopping_on_purpose_is_what_the_result_says(
    bundle: Bundle, bus: FakeBus
) -> None:
    bus.script = lambda time: (
        {"joint_velocity": np.array([math.nan, 0.0])} if since_torque(bus, time) > 0.6 else {}
    )
    result = go(bundle, bus, seconds=0.5)
    assert (result.outcome, result.fault) == ("fault", "NOT_FINITE")
    assert "not a finite number" in result.sentence
    assert np.all(np.isfinite(bus.writes))


def test_torque_found_on_counts_as_torque_had(bundle: Bundle, bus: FakeBus) -> None:
    bus.reports = tuple(dataclasses.replace(r, torque=True, model="other") for r in bus.reports)
    assert not go(bundle, bus).energised  # refused on what is fitted, before torque is looked at
    bus = FakeBus(bus.robot)
    bus.reports = tuple(dataclasses.replace(r, torque=r.name != "imu") for r in bus.reports)
    flag = StopFlag()
    flag.request("SIGTERM")
    assert go(bundle, bus, stop_flag=flag).energised
