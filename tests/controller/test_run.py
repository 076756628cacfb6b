"""Whole runs on a bus that says what a test wants it to say, in virtual time."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gc
import importlib
import math
import os
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
    State,
    Writer,
    load_flight,
    run,
)
from retort.hardware.robot import Robot
from retort.hardware.state import JointCommand

from .conftest import FakeBus, make_parts
from .run_rig import (
    RAMP,
    Always,
    arm_bus,
    assert_torque_off_is_last,
    go,
    leaning,
    saying,
)


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


class Person:
    """Asks for more than was trained, as a hand on a stick may."""

    def command(self, time: float) -> np.ndarray:
        return np.array([0.0, 0.0] if time < 0.1 else [0.3, 0.0] if time < 0.2 else [9.0, -9.0])


def test_commands_start_with_authority_and_stay_in_the_trained_range(
    bundle: Bundle, bus: FakeBus, tmp_path: Path
) -> None:
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, bus.robot, seconds=5)
    go(bundle, bus, command_source=Person(), recorder=recorder)
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


def test_an_arm_that_does_not_reach_its_pose_is_refused_and_held(
    arm: Robot, tmp_path: Path
) -> None:
    bundle = make_parts(arm).save(tmp_path / "b")
    bus = FakeBus(arm)
    bus.script = lambda time: {"joint_position": np.array([0.5, 0.9])}
    result = go(bundle, bus)
    assert result.outcome == "refused"
    assert "right_wheel stood at 0.90 rad instead of -0.50" in result.sentence
    assert "gains or limits.effort are too small for its load" in result.sentence
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
