"""The virtual robot's world: its options, its process, and what its log tells."""

from __future__ import annotations

import argparse
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from retort.hardware import JointCommand, PortError, RealClock, SerialPort, load_robot, open_bus
from retort.hardware.dynamixel import codec
from retort.hardware.virtual import Emulator, LockstepClock, LockstepPort
from retort.launch import run, run_config, virtual
from retort.launch.cli import main
from retort.launch.emulate import emulator_process
from retort.launch.ports import named_ports
from retort.launch.run_config import CommandStep, RunConfig
from retort.launch.virtual import VirtualConfig, VirtualWorld

from ..hardware.many_servos import robot_of


def _events(log: Path, *, poses: bool = False) -> list[dict]:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [row for row in rows if poses or row["event"] != "pose"]


@pytest.mark.parametrize(
    "config",
    [
        VirtualConfig(),
        VirtualConfig(push_times=(1.0, 2.5), push_impulse=0.3, drop=0.01, corrupt=0.02, seed=5),
        VirtualConfig(faults="faults.toml"),
    ],
)
def test_options_give_the_same_world_again(
    config: VirtualConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faults.toml").write_text("seed = 1\n")
    parser = argparse.ArgumentParser()
    virtual.add_options(parser)
    assert virtual.from_options(parser.parse_args(virtual.as_options(config))) == config


def test_options_give_the_same_run_again(bundle: Path) -> None:
    steps = (CommandStep(time=0.0, values=(0.0, -0.5)), CommandStep(time=2.5, values=(-0.1, 2.0)))
    config = RunConfig(port="/dev/ttyUSB0", seconds=12.5, command=steps)
    parser = argparse.ArgumentParser()
    run.add_parser(parser.add_subparsers())
    options = parser.parse_args(["run", str(bundle), *run_config.as_options(config)])
    given = RunConfig(port=options.port, seconds=options.seconds, command=tuple(options.command))
    assert given == config


@pytest.mark.parametrize("change", [{"drop": 1.5}, {"corrupt": -0.1}, {"push_times": (-1.0,)}])
def test_worlds_that_cannot_be_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        VirtualConfig(**change)


def test_an_emulator_process_serves_the_robot_and_ends_with_its_log(tmp_path: Path) -> None:
    robot, log = load_robot("balancer"), tmp_path / "emulator.jsonl"
    with emulator_process("balancer", VirtualConfig(), log) as (port,):
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


def test_a_profile_and_the_options_share_of_losses_both_act(tmp_path: Path) -> None:
    profile = tmp_path / "faults.toml"
    profile.write_text('[[fault]]\nkind = "silence"\ndevice = "imu"\nat = 0.5\n')
    robot = load_robot("balancer")
    world = VirtualWorld(robot, VirtualConfig(drop=0.5, faults=str(profile)))
    clock = LockstepClock(world.virtual)
    clock.sleep_until(0.5)
    port = LockstepPort(world.virtual, clock)
    for tick in range(50):
        clock.sleep_until(0.5 + 0.01 * tick)
        for id in (1, 10):
            port.write(codec.ping(id))
            port.read(100, clock.now() + 0.003)
    counts = world.virtual.fault_counts
    assert counts.silenced == 100  # every packet on the line
    assert 10 <= counts.dropped <= 40
    world.close()


def test_a_served_robot_obeys_the_control_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = load_robot("balancer")
    world = VirtualWorld(robot, VirtualConfig())
    socket = str(tmp_path / "control")
    emulator = Emulator(world.virtual, control=socket)
    thread = threading.Thread(target=emulator.serve)
    thread.start()
    try:
        assert main(["control", socket, "turn", "device=left_wheel", "angle=1.5"]) == 0
        assert capsys.readouterr().out == "done\n"
        assert main(["control", socket, "status"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert abs(status["devices"]["left_wheel"]["angle"] - 1.5) < 0.5
        assert main(["control", socket, "explode"]) == 2
        said = capsys.readouterr().err
        assert "there are unplug, replug" in said
        assert len(said.splitlines()) == 1
    finally:
        emulator.stop()
        thread.join(10.0)
    assert main(["control", socket, "status"]) == 1
    assert "retort emulate ROBOT --control" in capsys.readouterr().err


def test_where_a_robot_of_two_lines_listens_is_said_as_the_other_verbs_take_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = {"a": "/tmp/port-a", "b": "/tmp/port-b"}
    monkeypatch.setattr(Emulator, "serve_until_signal", lambda self, ready: ready(ports))
    assert main(["emulate", "balancer"]) == 0
    said = capsys.readouterr()
    assert said.out == "ready: /tmp/port-a /tmp/port-b\n"
    option = said.err.split("--port ")[1].strip()
    assert (
        named_ports(
            robot_of(("xl330-m288",) * 2, lines="ab", protocols=("dynamixel2",) * 2), option
        )
        == ports
    )


def test_the_help_of_control_fits_80_columns_and_has_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["control", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("``" in line for line in lines)


def test_a_log_that_cannot_be_written_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "balancer", "--log", "/proc/x.log"]) == 1
    said = capsys.readouterr().err
    assert "/proc/x.log cannot be written (No such file or directory); make room or allow" in said
    assert len(said.splitlines()) == 1
