"""The virtual robot's world: its options, its process, and what its log tells."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
from retort.hardware import JointCommand, PortError, RealClock, SerialPort, load_robot, open_bus
from retort.hardware.virtual import LockstepClock, LockstepPort
from retort.launch import run, virtual
from retort.launch.emulate import emulator_process
from retort.launch.run import CommandStep, RunConfig
from retort.launch.virtual import VirtualConfig, VirtualWorld


def _events(log: Path, *, poses: bool = False) -> list[dict]:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [row for row in rows if poses or row["event"] != "pose"]


@pytest.mark.parametrize(
    "config",
    [
        VirtualConfig(),
        VirtualConfig(push_times=(1.0, 2.5), push_impulse=0.3, drop=0.01, corrupt=0.02, seed=5),
    ],
)
def test_options_give_the_same_world_again(config: VirtualConfig) -> None:
    parser = argparse.ArgumentParser()
    virtual.add_options(parser)
    assert virtual.from_options(parser.parse_args(virtual.as_options(config))) == config


def test_options_give_the_same_run_again(bundle: Path) -> None:
    steps = (CommandStep(time=0.0, values=(0.0, -0.5)), CommandStep(time=2.5, values=(-0.1, 2.0)))
    config = RunConfig(port="/dev/ttyUSB0", seconds=12.5, command=steps)
    parser = argparse.ArgumentParser()
    run.add_parser(parser.add_subparsers())
    options = parser.parse_args(["run", str(bundle), *run.as_options(config)])
    given = RunConfig(port=options.port, seconds=options.seconds, command=tuple(options.command))
    assert given == config


@pytest.mark.parametrize("change", [{"drop": 1.5}, {"corrupt": -0.1}, {"push_times": (-1.0,)}])
def test_worlds_that_cannot_be_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        VirtualConfig(**change)


def test_an_emulator_process_serves_the_robot_and_ends_with_its_log(tmp_path: Path) -> None:
    robot, log = load_robot("balancer"), tmp_path / "emulator.jsonl"
    with emulator_process("balancer", VirtualConfig(), log) as port:
        bus = open_bus(robot, SerialPort(port, robot.line[0].baud), RealClock())
        assert [report.name for report in bus.identify()] == [*robot.joints, "imu"]
        bus.close()
    assert not os.path.exists(port)
    assert _events(log)[-1]["event"] == "end"


def test_an_emulator_that_cannot_start_is_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(PortError, match="ended with code 2 before it was ready"),
        emulator_process("no-such-robot", VirtualConfig(), None),
    ):
        pass
    assert "Traceback" not in capfd.readouterr().err


def test_the_log_tells_of_a_silent_controller_and_of_the_fall(tmp_path: Path) -> None:
    robot, log = load_robot("balancer"), tmp_path / "emulator.jsonl"
    world = VirtualWorld(robot, VirtualConfig(), log)
    clock = LockstepClock(world.virtual)
    bus = open_bus(robot, LockstepPort(world.virtual, clock), clock)
    bus.identify()
    bus.prepare()
    assert bus.torque(True) == ()
    bus.write(JointCommand(np.array([0.05, 0.05])))
    silent = clock.now()
    clock.sleep_until(silent + 3.0)
    world.close()
    events = _events(log)
    trips = [event for event in events if event["event"] == "watchdog trips"]
    assert sorted(event["servo"] for event in trips) == sorted(robot.joints)
    assert all(event["time"] - silent < 0.12 for event in trips)
    assert "fall" in [event["event"] for event in events]
