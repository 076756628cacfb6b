"""Whole runs on a bus that says what a test wants it to say, in virtual time."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gc
import importlib
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from retort.controller import (
    Bundle,
    FlightRecorder,
    GateResult,
    Progress,
    Reason,
    RunOptions,
    RunResult,
    Schedule,
    State,
    StopFlag,
    Writer,
    load_flight,
    run,
)
from retort.controller.policy import Hidden, Policy
from retort.controller.stop import ECHO, stop_on_signals
from retort.hardware.clock import VirtualClock
from retort.hardware.robot import Robot
from retort.hardware.state import Health, JointCommand

from .conftest import FakeBus, make_parts, with_ramp

RAMP = 0.5  # [s] upright and still, robot.toml


class Always(Policy):
    """Says the same thing every time."""

    parameters = 0

    def __init__(self, action: object) -> None:
        self.action = np.array(action, dtype=np.float32)
        self.observations: list[np.ndarray] = []

    def initial_state(self) -> Hidden:
        return None

    def step(self, observation: np.ndarray, hidden: Hidden) -> tuple[np.ndarray, Hidden]:
        self.observations.append(observation)
        return self.action, None


def go(bundle: Bundle, bus: FakeBus, seconds: float | None = 0.5, **more: object) -> RunResult:
    options = RunOptions(seconds=seconds, realtime=False, handle_signals=False)
    return run(bundle, bus, options, **more)  # type: ignore[arg-type]


def saying(bundle: Bundle, *action: float) -> Bundle:
    return dataclasses.replace(bundle, policy=Always(action))


def leaning(angle: float) -> np.ndarray:
    return np.array([math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0])


def since_torque(bus: FakeBus, time: float) -> float:
    """Seconds since torque was switched on; negative before."""
    return -1.0 if bus.torque_on_at is None else time - bus.torque_on_at


def assert_torque_off_is_last(bus: FakeBus) -> None:
    assert bus.calls[-1] == ("torque", False)


def test_a_run_completes_and_ends_without_torque(bundle: Bundle, bus: FakeBus) -> None:
    result = go(bundle, bus)
    assert result.outcome == "completed"
    assert result.ok
    assert result.sentence == "0.5 s are over"
    assert result.run_ticks == pytest.approx(50, abs=1)
    assert result.overruns == 0
    assert result.lateness.max == pytest.approx(0, abs=1e-9)
    assert result.read.p50 == pytest.approx(FakeBus.READ_TIME)
    assert result.torque_off == {"left_wheel": True, "right_wheel": True}
    assert_torque_off_is_last(bus)


def test_order_prepare_neutral_goal_torque_policy(bundle: Bundle, bus: FakeBus) -> None:
    slow = dataclasses.replace(bus.robot.safety, slew=6.0)
    bus.robot = dataclasses.replace(bus.robot, safety=slow)
    go(saying(bundle, 1.0, -1.0), bus)
    names = [name for name, _ in bus.calls]
    assert names[:4] == ["prepare", "write", "torque", "write"]
    assert bus.calls[2] == ("torque", True)
    np.testing.assert_array_equal(bus.writes[0], [0, 0])
    # 0.1 N·m wanted, 0.06 per tick allowed.
    np.testing.assert_allclose(bus.writes[1:3], [[0.06, -0.06], [0.1, -0.1]], atol=1e-6)


def test_the_policy_meets_a_history_of_real_readings_and_no_action(
    bundle: Bundle, bus: FakeBus
) -> None:
    bundle = saying(bundle, 0.7, 0.7)
    bus.script = lambda time: {"joint_velocity": np.array([0.1, 0.2])}
    go(bundle, bus)
    policy = bundle.policy
    assert isinstance(policy, Always)
    first = round(RAMP * 100) + 1  # ticks of the ramp
    frames = policy.observations[first].reshape(bundle.contract.history, -1)
    velocity = frames[:, bundle.contract.slices()["joint_velocity"]]
    np.testing.assert_allclose(velocity, np.broadcast_to([0.1, 0.2], velocity.shape), atol=1e-6)
    np.testing.assert_array_equal(frames[:, bundle.contract.slices()["previous_action"]], 0)
    np.testing.assert_allclose(policy.observations[first + 1][-2:], [0.7, 0.7], atol=1e-6)


def test_commands_start_with_authority_and_stay_in_the_trained_range(
    bundle: Bundle, bus: FakeBus, tmp_path: Path
) -> None:
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, bus.robot, seconds=5)
    schedule = Schedule(bundle.contract, [(0.1, (0.3, 0.0)), (0.2, (9.0, -9.0))])
    go(bundle, bus, command_source=schedule, recorder=recorder)
    flight = load_flight(tmp_path / "f")
    running = flight["state"] == State.RUN
    assert np.all(flight["command"][~running] == 0)
    command = flight["command"][running]
    np.testing.assert_allclose(command[[0, 8, 12, 25]], [[0, 0], [0, 0], [0.3, 0], [0.5, -2]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"orientation": leaning(0.3)}, "the body leaned 0.30 rad (at most 0.15)"),
        ({"angular_velocity": np.array([0.0, 0.5, 0.0])}, "the body turned at 0.50 rad/s"),
        ({"joint_velocity": np.array([0.0, 0.9])}, "right_wheel turned at 0.90 rad/s"),
        ({"orientation": leaning(2.0)}, "the body leaned 2.00 rad"),
    ],
)
def test_a_robot_that_is_not_upright_and_still_gets_no_torque(
    bundle: Bundle, bus: FakeBus, changes: dict[str, object], words: str
) -> None:
    bus.script = lambda time: changes
    result = go(bundle, bus)
    assert result.outcome == "refused"
    assert result.fault is None
    assert words in result.sentence
    assert "within 10 s" in result.sentence
    assert ("torque", True) not in bus.calls
    assert not len(bus.writes)
    assert_torque_off_is_last(bus)


def test_stillness_must_last_without_a_break(bundle: Bundle, bus: FakeBus) -> None:
    moved_at = bus.clock.now() + 0.4
    bus.script = lambda time: (
        {"joint_velocity": np.array([1.0, 0.0])} if abs(time - moved_at) < 0.006 else {}
    )
    assert go(bundle, bus).ok
    assert bus.torque_on_at is not None
    assert moved_at + RAMP <= bus.torque_on_at <= moved_at + RAMP + 0.04


def test_a_lost_reading_does_not_start_the_ramp_anew(bundle: Bundle, bus: FakeBus) -> None:
    start = bus.clock.now()
    bus.script = lambda time: {"imu_valid": np.array(not 0.2 < time - start < 0.23)}
    assert go(bundle, bus).ok
    assert bus.torque_on_at is not None
    assert bus.torque_on_at - start < RAMP + 0.05


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


def test_overruns_are_skipped_counted_and_logged(
    bundle: Bundle, bus: FakeBus, tmp_path: Path
) -> None:
    began = bus.clock.now()
    stalls = [1.0, 1.2]

    def stall(time: float) -> None:
        if stalls and time - began > stalls[0]:
            stalls.pop(0)
            bus.clock.sleep_until(time + 0.025)

    bus.before_read = stall
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, bus.robot, seconds=5)
    result = go(bundle, bus, seconds=1.0, recorder=recorder)
    assert result.ok
    assert result.overruns == 4
    flight = load_flight(tmp_path / "f")
    assert flight["overruns"][-1] == 4
    steps = np.diff(flight["tick"])
    assert sorted(steps)[-3:] == [1, 3, 3]
    offsets = (flight["time"] - flight["time"][0]) / bus.robot.period
    np.testing.assert_allclose(offsets, flight["tick"] - flight["tick"][0], atol=1e-6)


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


def test_progress_comes_once_per_second(bundle: Bundle, bus: FakeBus) -> None:
    seen: list[Progress] = []
    options = RunOptions(seconds=3.0, realtime=False, handle_signals=False, progress=seen.append)
    run(bundle, bus, options)
    assert [progress.state for progress in seen] == [State.RUN] * 3
    np.testing.assert_allclose([progress.time for progress in seen], [1, 2, 3], atol=0.05)


def test_the_garbage_collector_rests_during_the_run_only(bundle: Bundle, bus: FakeBus) -> None:
    enabled = []
    bus.before_read = lambda time: enabled.append(gc.isenabled())
    go(bundle, bus)
    assert not any(enabled)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_torque_left_on_by_a_killed_run_is_switched_off_first(bundle: Bundle, bus: FakeBus) -> None:
    bus.reports = tuple(dataclasses.replace(r, torque=r.name != "imu") for r in bus.reports)
    assert go(bundle, bus).ok
    assert bus.calls[:2] == [("torque", False), ("prepare", None)]


def test_runs_are_the_same_each_time(bundle: Bundle, robot: Robot) -> None:
    def once() -> list[object]:
        bus = FakeBus(robot)
        bus.script = lambda time: {"joint_velocity": np.full(2, 0.2 * math.sin(9 * time))}
        go(bundle, bus)
        return [(name, np.asarray(value).tolist()) for name, value in bus.calls]

    assert once() == once()


@pytest.mark.parametrize(
    "thing", [JointCommand(np.zeros(2)), np.zeros(2), (np.zeros(2), Reason.NONE), None]
)
def test_the_writer_takes_nothing_but_gate_results(bus: FakeBus, thing: object) -> None:
    with pytest.raises(TypeError, match="takes a GateResult, got"):
        Writer(bus).send(thing)  # type: ignore[arg-type]
    assert not bus.calls
    sent = Writer(bus).send(GateResult(np.array([0.1, 0.0]), Reason.NONE))
    np.testing.assert_array_equal(sent.target, bus.writes[0])


def arm_bus(arm: Robot, pose: tuple[float, float]) -> FakeBus:
    """Joints that follow their goals at once while they have torque."""
    bus = FakeBus(arm)
    bus.script = lambda time: {
        "joint_position": np.array(bus.writes[-1] if len(bus.writes) else pose)
    }
    return bus


def test_a_pose_ramp_starts_where_the_arm_stands_and_moves_bounded(
    arm: Robot, tmp_path: Path
) -> None:
    bundle = make_parts(arm).save(tmp_path / "b")
    bus = arm_bus(arm, (-0.4, 0.8))
    result = go(saying(bundle, 0.0, 0.0), bus)
    assert result.ok
    assert [name for name, _ in bus.calls[:3]] == ["prepare", "write", "torque"]
    np.testing.assert_allclose(bus.writes[0], [-0.4, 0.8], atol=1e-6)
    assert np.abs(np.diff(bus.writes, axis=0)).max() <= 1.3 / arm.ramp.seconds * 0.01 * 1.01
    np.testing.assert_allclose(bus.writes[-1], [0.5, -0.5], atol=1e-6)


def test_a_hold_damp_keeps_the_pose_the_stop_met(arm: Robot, tmp_path: Path) -> None:
    bundle = make_parts(arm).save(tmp_path / "b")
    bus = arm_bus(arm, (0.5, -0.5))
    result = go(saying(bundle, 1.0, 1.0), bus)
    assert result.ok
    held = bus.writes[-round(arm.damp.seconds * 100) :]
    assert np.ptp(held, axis=0).max() < 1e-6
    np.testing.assert_allclose(held[-1], [0.6, -0.4], atol=1e-6)


def test_an_arm_that_does_not_reach_its_pose_is_refused_and_held(
    arm: Robot, tmp_path: Path
) -> None:
    bundle = make_parts(arm).save(tmp_path / "b")
    bus = FakeBus(arm)
    bus.script = lambda time: {"joint_position": np.array([0.5, 0.9])}
    result = go(bundle, bus)
    assert result.outcome == "refused"
    assert "right_wheel stood at 0.90 rad instead of -0.50" in result.sentence
    np.testing.assert_allclose(bus.writes[-1], [0.5, 0.9], atol=0.07)
    assert_torque_off_is_last(bus)


def test_an_arm_beyond_its_limits_gets_no_torque(arm: Robot, tmp_path: Path) -> None:
    bundle = make_parts(arm).save(tmp_path / "b")
    result = go(bundle, bus := arm_bus(arm, (1.7, 0.0)))
    assert result.outcome == "refused"
    assert "left_wheel stands at 1.700 rad, its limits are -1.500 to 1.500" in result.sentence
    assert ("torque", True) not in bus.calls


def test_what_was_not_granted_is_in_the_result(
    bundle: Bundle, bus: FakeBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    @contextlib.contextmanager
    def stingy(priority: int) -> Iterator[tuple[str, ...]]:
        asked.append(priority)
        yield ("no real-time priority: run as root",)

    monkeypatch.setattr(importlib.import_module("retort.controller.run"), "realtime", stingy)
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, bus.robot, seconds=5)
    options = RunOptions(seconds=0.1, priority=7, handle_signals=False)
    result = run(bundle, bus, options, recorder=recorder)
    assert asked == [7]
    assert result.realtime == ("no real-time priority: run as root",)
    assert load_flight(tmp_path / "f").meta["realtime"] == list(result.realtime)


def test_a_disk_that_fills_up_at_the_end_costs_only_the_closing_note(
    bundle: Bundle, bus: FakeBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, bus.robot, seconds=5)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    bus.before_read = lambda time: monkeypatch.setattr(os, "replace", full)
    result = go(bundle, bus, recorder=recorder)
    assert result.outcome == "completed"
    assert "No space left on device; free some space" in result.sentence
    assert_torque_off_is_last(bus)
    assert len(load_flight(tmp_path / "f")) == result.ticks


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


def test_a_refused_run_costs_no_older_flight(bundle: Bundle, bus: FakeBus, tmp_path: Path) -> None:
    older = FlightRecorder(tmp_path / "f", bundle.contract, bus.robot, seconds=5)
    assert go(bundle, bus, recorder=older).energised
    wrong = FakeBus(bus.robot)
    wrong.reports = tuple(dataclasses.replace(r, model="xl430-w250") for r in wrong.reports)
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, bus.robot, seconds=5)
    result = go(bundle, wrong, recorder=recorder)
    assert result.outcome == "refused"
    assert not result.energised
    assert not recorder.kept
    assert load_flight(tmp_path / "f").meta["result"]["outcome"] == "completed"


def test_torque_found_on_counts_as_torque_had(bundle: Bundle, bus: FakeBus) -> None:
    bus.reports = tuple(dataclasses.replace(r, torque=True, model="other") for r in bus.reports)
    assert not go(bundle, bus).energised  # refused on what is fitted, before torque is looked at
    bus = FakeBus(bus.robot)
    bus.reports = tuple(dataclasses.replace(r, torque=r.name != "imu") for r in bus.reports)
    flag = StopFlag()
    flag.request("SIGTERM")
    assert go(bundle, bus, stop_flag=flag).energised


@pytest.mark.parametrize(("apart", "requests"), [(0.5 * ECHO, 1), (2.0 * ECHO, 2)])
def test_a_signal_and_its_echo_are_one_request(apart: float, requests: int) -> None:
    flag, clock = StopFlag(), VirtualClock(5.0)
    with stop_on_signals(flag, clock):
        os.kill(os.getpid(), signal.SIGTERM)
        clock.sleep_until(5.0 + apart)
        os.kill(os.getpid(), signal.SIGTERM)
    assert flag.requests == requests
