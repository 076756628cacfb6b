"""The virtual robot on a pseudo-terminal, as programs meet it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from retort.hardware import Line, PortError, RealClock, SerialPort, open_bus
from retort.hardware.virtual import Emulator, RigidPlant, VirtualRobot

SERVE = """
import sys
from retort.hardware import load_robot
from retort.hardware.virtual import Emulator, RigidPlant, VirtualRobot
robot = load_robot("balancer")
emulator = Emulator(VirtualRobot(robot, RigidPlant(robot)), sys.argv[1])
emulator.serve_until_signal(lambda path: print(path, flush=True))
print("ended", flush=True)
"""


@pytest.fixture
def emulator(robot, tmp_path) -> Iterator[Emulator]:
    made = Emulator(VirtualRobot(robot, RigidPlant(robot)), tmp_path / "port")
    ready = threading.Event()
    thread = threading.Thread(target=made.serve, args=(lambda _: ready.set(),))
    thread.start()
    assert ready.wait(10.0)
    yield made
    made.stop()
    thread.join(10.0)
    assert not thread.is_alive()


def test_a_bus_works_through_it(robot, emulator):
    bus = open_bus(robot, SerialPort(str(emulator.link), robot.line[0].baud), RealClock())
    assert all(report.problems == () for report in bus.identify())
    bus.prepare()
    state = bus.read(bus.clock.now() + 1.0)
    assert state.joint_valid.all()
    assert state.imu_valid
    bus.close()


def test_clients_may_come_and_go(emulator):
    for _ in range(3):
        port = SerialPort(emulator.path, 1_000_000)
        assert Line(port, RealClock()).ping(1) == (1190, 52)
        port.close()


def test_a_wrong_baud_rate_gets_no_answer(emulator):
    port = SerialPort(emulator.path, 57_600)
    assert Line(port, RealClock()).ping(1, attempts=1) is None
    port.close()
    port = SerialPort(emulator.path, 1_000_000)
    assert Line(port, RealClock()).ping(1) == (1190, 52)
    port.close()


def test_the_link_is_made_and_removed(robot, tmp_path):
    link = tmp_path / "robot"
    link.symlink_to("/dev/pts/stale")
    made = Emulator(VirtualRobot(robot, RigidPlant(robot)), link)
    assert os.readlink(link) == made.path
    made.stop()
    made.serve()
    assert not link.is_symlink()


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
