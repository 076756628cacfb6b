"""The virtual robot on a pseudo-terminal, as programs meet it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator

import pytest
import serial
from retort.hardware import DynamixelLine, PortError, RealClock, SerialPort, open_bus
from retort.hardware.virtual import Emulator, RigidPlant, VirtualRobot
from retort.hardware.virtual.commands import ControlError
from retort.hardware.virtual.control import Control

GONE = (serial.SerialException, OSError, termios.error)

SERVE = """
import sys
from retort.hardware import load_robot
from retort.hardware.virtual import Emulator, RigidPlant, VirtualRobot
robot = load_robot("balancer")
emulator = Emulator(VirtualRobot(robot, RigidPlant(robot)), sys.argv[1])
emulator.serve_until_signal(lambda ports: print(ports["main"], flush=True))
print("ended", flush=True)
"""


@pytest.fixture
def emulator(robot, tmp_path) -> Iterator[Emulator]:
    virtual = VirtualRobot(robot, RigidPlant(robot))
    made = Emulator(virtual, tmp_path / "port", control=tmp_path / "control")
    ready = threading.Event()
    thread = threading.Thread(target=made.serve, args=(lambda _: ready.set(),))
    thread.start()
    assert ready.wait(10.0)
    yield made
    made.stop()
    thread.join(10.0)
    assert not thread.is_alive()


def test_a_bus_works_through_it(robot, emulator):
    bus = open_bus(robot, SerialPort(emulator.ports["main"], robot.line[0].baud), RealClock())
    assert all(report.problems == () for report in bus.identify())
    bus.prepare()
    states = [bus.read(bus.clock.now() + 1.0) for _ in range(20)]
    # A busy machine may make single readings look old.
    assert any(state.joint_valid.all() and state.imu_valid for state in states)
    bus.close()


def test_clients_may_come_and_go(emulator):
    for _ in range(3):
        port = SerialPort(emulator.path, 1_000_000)
        assert DynamixelLine(port, RealClock()).ping(1) == (1190, 52)
        port.close()


def test_a_wrong_baud_rate_gets_no_answer(emulator):
    port = SerialPort(emulator.path, 57_600)
    assert DynamixelLine(port, RealClock()).ping(1, attempts=1) is None
    port.close()
    port = SerialPort(emulator.path, 1_000_000)
    assert DynamixelLine(port, RealClock()).ping(1) == (1190, 52)
    port.close()


def test_the_link_is_made_and_removed(robot, tmp_path):
    link = tmp_path / "robot"
    link.symlink_to("/dev/pts/stale")
    made = Emulator(VirtualRobot(robot, RigidPlant(robot)), link)
    assert os.readlink(link) == made.path
    made.stop()
    made.serve()
    assert not link.is_symlink()


def test_a_link_left_over_whose_number_is_given_out_again_is_ours(robot, tmp_path, monkeypatch):
    """As after a kill: the system gives the lowest free number, which the link still names."""
    link = tmp_path / "robot"
    openpty = os.openpty

    def reused() -> tuple[int, int]:
        master, slave = openpty()
        link.symlink_to(os.ttyname(slave))
        return master, slave

    monkeypatch.setattr(os, "openpty", reused)
    made = Emulator(VirtualRobot(robot, RigidPlant(robot)), link)
    assert os.readlink(link) == made.path
    made.stop()
    made.serve()


def test_a_link_to_a_port_that_is_there_is_left_as_it_is(robot, tmp_path):
    """Another virtual robot's, or a real one's."""
    link = tmp_path / "robot"
    first = Emulator(VirtualRobot(robot, RigidPlant(robot)), link)
    with pytest.raises(PortError, match="already leads to"):
        Emulator(VirtualRobot(robot, RigidPlant(robot)), link)
    assert os.readlink(link) == first.path
    first.stop()
    first.serve()


def test_a_link_that_would_destroy_a_file_is_refused(robot, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("data")
    with pytest.raises(PortError, match="not a link"):
        Emulator(VirtualRobot(robot, RigidPlant(robot)), precious)
    assert precious.read_text() == "data"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(tmp_path, number):
    link = tmp_path / "robot"
    command = [sys.executable, "-c", SERVE, str(link)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(link)
        process.send_signal(number)
        assert process.stdout.readline().strip() == "ended"
        assert process.wait(10.0) == 0
    assert not link.is_symlink()


@pytest.fixture
def control(emulator, tmp_path) -> Iterator[Control]:
    made = Control(tmp_path / "control")
    yield made
    made.close()


def ping(path: str) -> tuple[int, int] | None:
    port = SerialPort(path, 1_000_000)
    try:
        return DynamixelLine(port, RealClock()).ping(1)
    finally:
        port.close()


def test_it_is_controlled_while_it_is_served(emulator, control):
    control("turn", device="left_wheel", angle=1.0)
    assert control("status")["devices"]["left_wheel"]["angle"] == pytest.approx(1.0)
    with pytest.raises(ControlError, match="there are unplug, replug"):
        control("explode")
    control("connect_only", devices=["right_wheel"])
    assert ping(emulator.path) is None
    control("connect_only", devices=[])
    assert ping(emulator.path) == (1190, 52)


ACTS = {
    "write": lambda port: port.write(b"x"),
    "read": lambda port: port.read(),
    "flush": lambda port: port.flush(),
    "reset": lambda port: port.reset_input_buffer(),
    "look": lambda port: port.in_waiting,
}


@pytest.mark.parametrize("act", ACTS)
def test_a_client_is_unplugged_from_and_comes_back_behind_the_same_link(emulator, control, act):
    link = emulator.ports["main"]
    client = serial.Serial(link, 1_000_000, timeout=1.0)
    before = os.readlink(link)
    control("unplug")
    assert not os.path.lexists(link)
    with pytest.raises(GONE):
        ACTS[act](client)
    control("replug")
    assert os.readlink(link) != before  # the old number is taken while the client holds it
    assert ping(link) == (1190, 52)
    with contextlib.suppress(*GONE):
        client.close()


def test_an_unplugged_port_is_a_port_error(emulator, control):
    port = SerialPort(emulator.ports["main"], 1_000_000)
    control("unplug")
    with pytest.raises(PortError, match="gone away"):
        port.read(1, time.monotonic() + 5.0)
    port.close()


def test_no_client_can_stop_it(emulator):
    """Noise, more than the wire can carry, strange settings, and leaving in the middle."""
    client = os.open(emulator.path, os.O_RDWR | os.O_NONBLOCK)
    settings = termios.tcgetattr(client)
    settings[3] |= termios.ECHO | termios.ICANON | termios.ISIG
    settings[4] = settings[5] = termios.B0
    termios.tcsetattr(client, termios.TCSANOW, settings)
    with contextlib.suppress(BlockingIOError):
        for _ in range(100):
            os.write(client, os.urandom(4096))
    os.close(client)
    restored = os.open(emulator.path, os.O_RDWR | os.O_NONBLOCK)
    termios.tcflush(restored, termios.TCIOFLUSH)
    os.close(restored)
    assert ping(emulator.path) == (1190, 52)


def test_several_lines_have_a_port_each(robot, tmp_path):
    other = dataclasses.replace(robot.line[0], name="other")
    joints = (robot.joint[0], dataclasses.replace(robot.joint[1], line="other", id=1))
    two = dataclasses.replace(robot, line=(*robot.line, other), joint=joints)
    virtual = VirtualRobot(two, RigidPlant(two))
    made = Emulator(virtual, tmp_path / "port")
    assert set(made.ports) == {"main", "other"}
    assert [os.path.basename(path) for path in made.ports.values()] == ["port-main", "port-other"]
    assert len({os.readlink(path) for path in made.ports.values()}) == 2
    made.stop()
    made.serve()
    assert not list(tmp_path.iterdir())
