"""The flight recorder: rings, raw bytes, and a log that outlives its process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from retort.controller import FlightRecorder, Reason, RecorderError, State, load_flight
from retort.controller.program import initial_memory
from retort.controller.tick import Tick
from retort.hardware.robot import Robot, load_robot

from .conftest import make_contract, reading


def make_tick(robot: Robot, number: int) -> Tick:
    contract = make_contract(robot)
    return Tick(
        slot=number,
        time=number * 0.01,
        lateness=1e-4,
        read_time=2e-3,
        compute_time=1e-3,
        write_time=5e-4,
        state=State.RUN,
        overruns=3,
        reading=reading(robot, joint_position=np.array([number, -number])),
        memory=initial_memory(contract),
        command=np.array([0.1, 0.2]),
        observation=np.arange(contract.observation_size) + number,
        action=np.array([0.5, -0.5]),
        target=np.array([0.05, -0.05]),
        sent=None,
        reasons=Reason.SLEW | Reason.TILT,
    )


def record(folder: Path, ticks: int, seconds: float) -> FlightRecorder:
    robot = load_robot("balancer")
    recorder = FlightRecorder(folder, make_contract(robot), robot, seconds=seconds)
    for number in range(ticks):
        recorder.tick(make_tick(robot, number))
        recorder.tap(number * 0.01, "out", b"ask" + bytes([number]))
        recorder.tap(number * 0.01 + 0.001, "in", bytes(range(100)))
    return recorder


def test_every_field_of_a_tick_is_there_again(tmp_path: Path) -> None:
    record(tmp_path / "f", 4, 1.0).close({"outcome": "completed"})
    flight = load_flight(tmp_path / "f")
    assert len(flight) == 4
    np.testing.assert_array_equal(flight["tick"], [0, 1, 2, 3])
    np.testing.assert_array_equal(flight["joint_position"][3], [3, -3])
    np.testing.assert_array_equal(flight["observation"][2][:2], [2, 3])
    np.testing.assert_allclose(flight["voltage"][0], [5, 5])
    np.testing.assert_allclose(flight["action"][0], [0.5, -0.5])
    assert np.all(np.isnan(flight["sent"]))
    assert flight["state"][0] == State.RUN
    assert Reason(int(flight["reasons"][0])) == Reason.SLEW | Reason.TILT
    assert flight["overruns"][0] == 3
    assert flight.meta["result"] == {"outcome": "completed"}
    assert flight.meta["robot"] == "balancer"


def test_a_ring_keeps_the_newest_in_order_of_time(tmp_path: Path) -> None:
    record(tmp_path / "f", 25, 0.1).close(None)
    flight = load_flight(tmp_path / "f")
    np.testing.assert_array_equal(flight["tick"], np.arange(15, 25))
    times = [time for time, _, _ in flight.wire()]
    assert times == sorted(times)


def test_raw_bytes_come_back_whole_and_in_order(tmp_path: Path) -> None:
    record(tmp_path / "f", 2, 1.0).close(None)
    pieces = load_flight(tmp_path / "f").wire()
    assert pieces[0] == (0.0, "out", b"ask\x00")
    assert b"".join(data for _, way, data in pieces if way == "in") == bytes(range(100)) * 2


def test_an_older_flight_is_replaced(tmp_path: Path) -> None:
    record(tmp_path / "f", 9, 1.0).close("old")
    record(tmp_path / "f", 2, 1.0).close("new")
    flight = load_flight(tmp_path / "f")
    assert len(flight) == 2
    assert flight.meta["result"] == "new"


def test_a_killed_run_leaves_its_flight(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tests.controller.test_recorder import record\n"
        "recorder = record(Path(sys.argv[1]), 7, 1.0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = str(Path(__file__).parents[2])
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f"), root], timeout=60)
    assert killed.returncode == -9
    flight = load_flight(tmp_path / "f")
    np.testing.assert_array_equal(flight["tick"], np.arange(7))
    assert flight.meta["result"] is None
    assert len([way for _, way, _ in flight.wire() if way == "out"]) == 7


def test_a_torn_row_is_not_believed(tmp_path: Path) -> None:
    recorder = record(tmp_path / "f", 3, 1.0)
    recorder.close(None)
    ring = np.load(tmp_path / "f" / "flight.npy", mmap_mode="r+")
    ring["sequence"][1] = 0  # what a row looks like while it is written
    np.testing.assert_array_equal(load_flight(tmp_path / "f")["tick"], [0, 2])


def test_a_disk_without_room_is_noticed_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RecorderError, match="No space left on device; free some"):
        record(tmp_path / "f", 1, 1.0)


def test_no_flight_and_no_field_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match=r"holds no flight log: .*meta.json is missing"):
        load_flight(tmp_path)
    record(tmp_path / "f", 1, 1.0).close(None)
    with pytest.raises(KeyError, match="no field 'pitch'; it has sequence, tick"):
        load_flight(tmp_path / "f")["pitch"]
    (tmp_path / "f" / "flight.npy").write_bytes(b"junk")
    with pytest.raises(RecorderError, match="cannot be read"):
        load_flight(tmp_path / "f")


def test_meta_is_valid_json_at_any_time(tmp_path: Path) -> None:
    recorder = record(tmp_path / "f", 1, 1.0)
    recorder.note(realtime=("no priority",), number=np.float32(1.5))
    meta = json.loads((tmp_path / "f" / "meta.json").read_text())
    assert meta["realtime"] == ["no priority"]
    assert meta["number"] == 1.5


def test_a_run_that_never_begins_leaves_the_older_flight_and_no_trace(tmp_path: Path) -> None:
    record(tmp_path / "f", 3, 1.0).close("old")
    recorder = record(tmp_path / "f", 0, 1.0)
    recorder.tap(0.0, "out", b"anybody there?")
    recorder.close("new")
    assert not recorder.kept
    assert load_flight(tmp_path / "f").meta["result"] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_bytes_before_the_beginning_are_in_the_flight(tmp_path: Path) -> None:
    seen = []
    robot = load_robot("balancer")
    recorder = FlightRecorder(
        tmp_path / "f", make_contract(robot), robot, 1.0, begun=lambda: seen.append(True)
    )
    recorder.tap(0.0, "out", b"ping")
    assert not seen
    recorder.tick(make_tick(robot, 0))
    recorder.tick(make_tick(robot, 1))
    recorder.close(None)
    assert seen == [True]
    assert load_flight(tmp_path / "f").wire() == [(0.0, "out", b"ping")]


def test_a_recorder_that_cannot_be_made_costs_no_older_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "f", 3, 1.0).close("old")

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RecorderError, match="No space left"):
        record(tmp_path / "f", 1, 1.0)
    assert load_flight(tmp_path / "f").meta["result"] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
