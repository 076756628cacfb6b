"""How long a tick's read takes over a pseudo-terminal in real time, against the wire's own time.

    python bench/bus_wire.py [--ticks 1000]

Twelve virtual servos in a process of their own answer at 1 Mbit/s; the bus reads them at 100 Hz by
fast sync read of 10 bytes. Limit: the median at most 1.15 times the wire time; p99 and the worst
are reported with it, and are the computer's more than the bus's.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

import numpy as np
from harness.servos import SERVOS, twelve
from retort.controller.realtime import quiet_gc, realtime
from retort.hardware import JointCommand, RealClock, SerialPort, open_bus
from retort.hardware.virtual import Emulator, RigidPlant, VirtualRobot

ROBOT = twelve(mode="velocity", values=["effort", "velocity", "position"])
LIMIT = 1.15
REQUEST, ANSWER = 26, 176  # [bytes]
EMULATOR_PRIORITY, PRIORITY = 20, 50


def serve() -> None:
    """The virtual servos, until a signal."""
    emulator = Emulator(VirtualRobot(ROBOT, RigidPlant(ROBOT)))
    with realtime(EMULATOR_PRIORITY), quiet_gc():
        emulator.serve_until_signal(lambda ports: print(ports["main"], flush=True))


def measure(port: str, ticks: int) -> tuple[np.ndarray, int]:
    """Time of every read [s], and readings lost."""
    clock = RealClock()
    times = []
    bus = open_bus(ROBOT, SerialPort(port, ROBOT.line[0].baud), clock)
    try:
        bus.identify()
        target = JointCommand(np.zeros(SERVOS))
        with realtime(PRIORITY) as refused, quiet_gc():
            for reason in refused:
                print(f"not granted: {reason}")
            start = clock.now() + ROBOT.period
            for tick in range(ticks):
                clock.sleep_until(start + tick * ROBOT.period)
                began = clock.now()
                bus.read(began + 0.9 * ROBOT.period)
                times.append(clock.now() - began)
                bus.write(target)
        return np.array(times), sum(c.asked - c.answered for c in bus.counters.values())
    finally:
        bus.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=1000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return 0
    command = [sys.executable, __file__, "--serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        times, lost = measure(process.stdout.readline().strip(), arguments.ticks)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(10.0)
    wire = (REQUEST + ANSWER) * 10 / ROBOT.line[0].baud
    median, p99, worst = np.percentile(times, [50, 99, 100]) / wire
    print(f"one read of {SERVOS} servos over a pseudo-terminal, in wire times of {1e3 * wire} ms:")
    print(f"  median {median:.3f} (at most {LIMIT})   p99 {p99:.3f}   max {worst:.3f}")
    print(f"  {arguments.ticks} ticks, {lost} readings lost")
    return 0 if median <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
