"""How a run is stopped: by a signal, a second one, or an exception."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from retort.controller import (
    Bundle,
    FlightRecorder,
    RunOptions,
    State,
    StopFlag,
    load_flight,
    run,
)
from retort.controller.stop import ECHO, stop_on_signals
from retort.hardware.clock import VirtualClock
from retort.hardware.robot import Robot

from .conftest import FakeBus, make_parts
from .run_rig import (
    arm_bus,
    assert_torque_off_is_last,
    go,
    leaning,
    saying,
    since_torque,
)


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_any_exception_switches_torque_off_keeps_the_flight_and_goes_on_up(
    bundle: Bundle, bus: FakeBus, tmp_path: Path, kind: type[BaseException]
) -> None:
    def fail(time: float) -> None:
        if since_torque(bus, time) > 0.1:
            raise kind("boom")

    bus.before_read = fail
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, bus.robot, seconds=5)
    with pytest.raises(kind, match="boom"):
        go(bundle, bus, recorder=recorder)
    assert_torque_off_is_last(bus)
    flight = load_flight(tmp_path / "f")
    assert flight.meta["result"]["outcome"] == "error"
    assert flight["state"][-1] == State.RUN


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_damped_and_handlers_are_restored(
    bundle: Bundle, bus: FakeBus, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    sent = []

    def interrupt(time: float) -> None:
        if since_torque(bus, time) > 0.1 and not sent:
            sent.append(time)
            os.kill(os.getpid(), number)

    bus.before_read = interrupt
    bus.script = lambda time: {"joint_velocity": np.array([5.0, 5.0])} if sent else {}
    result = run(bundle, bus, RunOptions(seconds=9.0, realtime=False))
    assert result.outcome == "stopped"
    assert result.sentence == f"stopped by {number.name}"
    assert result.ok
    damped = bus.clock.now() - sent[0]
    assert damped == pytest.approx(bus.robot.damp.seconds, abs=0.03)
    np.testing.assert_allclose(bus.writes[-1], [-0.05, -0.05], atol=1e-6)
    assert_torque_off_is_last(bus)
    assert signal.getsignal(number) is before


def test_a_second_request_cuts_torque_without_damping(bundle: Bundle, bus: FakeBus) -> None:
    flag, sent = StopFlag(), []

    def interrupt(time: float) -> None:
        if since_torque(bus, time) > 0.1 and len(sent) < 2:
            sent.append(time)
            flag.request("SIGINT")

    bus.before_read = interrupt
    result = go(bundle, bus, seconds=9.0, stop_flag=flag)
    assert result.outcome == "stopped"
    assert bus.clock.now() - sent[1] <= bus.robot.period
    assert_torque_off_is_last(bus)


@pytest.mark.parametrize("when", [0.0, 0.2])
def test_a_stop_before_authority_gives_no_torque(bundle: Bundle, bus: FakeBus, when: float) -> None:
    flag, start = StopFlag(), bus.clock.now()
    if not when:
        flag.request("SIGTERM")
    bus.before_read = lambda time: (
        flag.request("SIGTERM") if time - start > when and not flag.requests else None
    )
    result = go(bundle, bus, stop_flag=flag)
    assert (result.outcome, result.sentence) == ("stopped", "stopped by SIGTERM")
    assert ("torque", True) not in bus.calls
    assert_torque_off_is_last(bus)


def test_a_stop_while_a_fault_is_damped_stays_a_fault(bundle: Bundle, bus: FakeBus) -> None:
    flag = StopFlag()
    bus.script = lambda time: {"orientation": leaning(1.0)} if since_torque(bus, time) > 0.1 else {}
    bus.before_read = lambda time: (
        flag.request("SIGINT") if since_torque(bus, time) > 0.2 and not flag.requests else None
    )
    result = go(bundle, bus, seconds=9.0, stop_flag=flag)
    assert (result.outcome, result.fault) == ("fault", "TILT")


def test_torque_left_on_by_a_killed_run_is_switched_off_first(bundle: Bundle, bus: FakeBus) -> None:
    bus.reports = tuple(dataclasses.replace(r, torque=r.name != "imu") for r in bus.reports)
    assert go(bundle, bus).ok
    assert bus.calls[:2] == [("torque", False), ("prepare", None)]


def test_a_hold_damp_keeps_the_pose_the_stop_met(arm: Robot, tmp_path: Path) -> None:
    bundle = make_parts(arm).save(tmp_path / "b")
    bus = arm_bus(arm, (0.5, -0.5))
    result = go(saying(bundle, 1.0, 1.0), bus)
    assert result.ok
    held = bus.writes[-round(arm.damp.seconds * 100) :]
    assert np.ptp(held, axis=0).max() < 1e-6
    np.testing.assert_allclose(held[-1], [0.6, -0.4], atol=1e-6)


@pytest.mark.parametrize(("apart", "requests"), [(0.5 * ECHO, 1), (2.0 * ECHO, 2)])
def test_a_signal_and_its_echo_are_one_request(apart: float, requests: int) -> None:
    flag, clock = StopFlag(), VirtualClock(5.0)
    with stop_on_signals(flag, clock):
        os.kill(os.getpid(), signal.SIGTERM)
        clock.sleep_until(5.0 + apart)
        os.kill(os.getpid(), signal.SIGTERM)
    assert flag.requests == requests
