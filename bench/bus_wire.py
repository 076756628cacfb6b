"""How long a tick's read takes over a pseudo-terminal in real time, against the wire's own time.

    python bench/bus_wire.py [--ticks 1000]

Twelve virtual servos in a process of their own answer at 1 Mbit/s; the bus reads them at 100 Hz:
DYNAMIXEL by fast sync read of 10 bytes, Feetech by sync read of 15. Limit: the median at most 1.15
times the wire time; p99 and the worst are reported with it, and are the computer's more than the
bus's. The virtual servos never answer faster than the wire. What is above 1 is mostly the system's:
its own thread carries every byte between the two sides of a pseudo-terminal, with no priority,
behind whatever else wants the processor. So two bare programs that exchange as many bytes, and do
nothing but wait until they are due, are measured in turn with the bus, and the load is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Iterator

import numpy as np
from harness.servos import BAUD, IDS, SERVOS, twelve
from retort.controller.realtime import quiet_gc, realtime
from retort.hardware import JointCommand, RealClock, Robot, RobotBus, SerialPort, open_bus
from retort.hardware.dynamixel import codec as dynamixel
from retort.hardware.feetech import codec as feetech
from retort.hardware.feetech.units import ADDRESS, LENGTH
from retort.hardware.virtual import Emulator, RigidPlant, VirtualRobot

LIMIT = 1.15
EMULATOR_PRIORITY, PRIORITY = 20, 50
SUPPLY = {"dynamixel2": 5.0, "feetech": 7.4}  # [V]
MOTION = 10  # bytes of current, velocity and position of a DYNAMIXEL servo
BYTES = {  # of request and answer
    "dynamixel2": (len(dynamixel.fast_sync_read(IDS, 126, MOTION)), 8 + SERVOS * (4 + MOTION)),
    "feetech": (
        len(feetech.sync_read(IDS, ADDRESS, LENGTH)),
        SERVOS * (feetech.OVERHEAD + LENGTH),
    ),
}
BYTE, PERIOD = 10.0 / BAUD, 0.01  # [s]
BARE = "bare"
TURNS = 5


def robot_on(protocol: str) -> Robot:
    """The robot that is served and read."""
    return twelve(protocol, "velocity", 0.9, values=["effort", "velocity", "position"])


def serve(protocol: str) -> None:
    """The virtual servos, until a signal; without a protocol, bytes when they are due."""
    if protocol == BARE:
        with realtime(EMULATOR_PRIORITY), quiet_gc():
            answer_when_due()
        return
    robot = robot_on(protocol)
    emulator = Emulator(VirtualRobot(robot, RigidPlant(robot, supply=SUPPLY[protocol])))
    with realtime(EMULATOR_PRIORITY), quiet_gc():
        emulator.serve_until_signal(lambda ports: print(ports["main"], flush=True))


def answer_when_due() -> None:
    """Answer the number of bytes that a request names when they would have crossed the wire."""
    master, slave = os.openpty()
    tty.setraw(slave)
    print(os.ttyname(slave), flush=True)
    while True:
        request = os.read(master, 4096)
        due = time.monotonic() + (len(request) + request[0]) * BYTE
        time.sleep(max(0.0, due - time.monotonic() - 1e-4))
        while time.monotonic() < due:
            pass
        os.write(master, bytes(request[0]))


def measure_bare(port: str, protocol: str, ticks: int) -> np.ndarray:
    """Time of every exchange of the two bare programs [s]."""
    request, answer = BYTES[protocol]
    terminal, clock, times = os.open(port, os.O_RDWR | os.O_NOCTTY), RealClock(), []
    with realtime(PRIORITY), quiet_gc():
        start = clock.now() + PERIOD
        for tick in range(ticks):
            clock.sleep_until(start + tick * PERIOD)
            began, left = clock.now(), answer
            os.write(terminal, bytes([answer]) * request)
            while left:
                left -= len(os.read(terminal, left))
            times.append(clock.now() - began)
    os.close(terminal)
    return np.array(times)


def measure(robot: Robot, port: str, ticks: int) -> tuple[np.ndarray, int]:
    """Time of every read [s], and readings lost."""
    clock = RealClock()
    times = []
    bus = open_bus(robot, SerialPort(port, robot.line[0].baud), clock)
    try:
        bus.identify()
        bus.prepare()
        if silent := bus.torque(True):
            raise SystemExit(f"no torque: {', '.join(silent)}")
        before = lost_on(bus)
        target = JointCommand(np.zeros(SERVOS))
        with realtime(PRIORITY) as refused, quiet_gc():
            for reason in refused:
                print(f"not granted: {reason}")
            start = clock.now() + robot.period
            for tick in range(ticks):
                clock.sleep_until(start + tick * robot.period)
                began = clock.now()
                bus.read(began + robot.read_fraction * robot.period)
                times.append(clock.now() - began)
                bus.write(target)
        return np.array(times), lost_on(bus) - before
    finally:
        bus.close()


def lost_on(bus: RobotBus) -> int:
    """Readings asked for and not had."""
    return sum(counter.asked - counter.answered for counter in bus.counters.values())


@contextlib.contextmanager
def serving(what: str) -> Iterator[str]:
    """The port of a process that serves ``what`` meanwhile."""
    command = [sys.executable, __file__, "--serve", what]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(10.0)


def run(protocol: str, ticks: int) -> bool:
    """One protocol; prints, and says whether the limit holds."""
    robot, lost = robot_on(protocol), 0
    ours: list[np.ndarray] = []
    bare: list[np.ndarray] = []
    for _ in range(TURNS):
        with serving(protocol) as port:
            times, missed = measure(robot, port, ticks // TURNS)
        ours.append(times)
        lost += missed
        with serving(BARE) as port:
            bare.append(measure_bare(port, protocol, ticks // TURNS))
    wire = sum(BYTES[protocol]) * BYTE
    best, median, p99, worst = np.percentile(np.concatenate(ours), [0, 50, 99, 100]) / wire
    others = np.percentile(np.concatenate(bare), [50, 99, 100]) / wire
    print(f"{protocol}: reads of {SERVOS} servos, in wire times of {1e3 * wire:.2f} ms:")
    print(f"  median {median:.3f} (at most {LIMIT}), {best:.3f} to {worst:.3f}, p99 {p99:.3f}")
    print("  two bare programs: median {:.3f}, p99 {:.3f}, max {:.3f}".format(*others))
    print(f"  {ticks} ticks, {lost} readings lost, load {os.getloadavg()[0]:.1f}")
    return bool(median <= LIMIT)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ticks", type=int, default=1000)
    parser.add_argument("--serve", choices=[*BYTES, BARE], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return 0
    met = [run(protocol, arguments.ticks) for protocol in BYTES]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
