"""Ten virtual minutes of lost and damaged answers: everything counted as injected, no abort.

    python bench/bus_losses.py [--minutes 10]

Twelve virtual servos at 100 Hz; 1 % of answers never come and 1 % are damaged by a burst of at most
16 bits, while goals follow a fixed trajectory. Limits: the first loss of every tick is counted as
what was injected, those behind it as lost in its tail; no other reading is lost; every commanded
step is within the slew limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from retort.hardware import JointCommand, Robot, open_bus
from retort.hardware.robot import parse
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, RigidPlant, VirtualRobot
from retort.hardware.virtual.faults import Corrupt, Drop

SERVOS = 12


def robot() -> Robot:
    names = [f"joint_{id}" for id in range(1, SERVOS + 1)]
    return parse(
        Robot,
        {
            "name": "twelve",
            "folder": Path("/nowhere"),
            "model": "none.xml",
            "control_rate": 100.0,
            "watchdog": 0.1,
            "line": [{"name": "main", "protocol": "dynamixel2", "baud": 1_000_000}],
            "joint": [
                {"name": name, "line": "main", "id": id, "servo": "xl330-m288", "mode": "velocity"}
                for id, name in enumerate(names, 1)
            ],
            "read": {"order": names, "layout": "indirect"},
            "ramp": {"kind": "pose"},
            "damp": {"kind": "hold"},
            "safety": {"tilt": 1.0, "stale_ticks": 5, "slew": 10.0},
        },
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    made = robot()
    virtual = VirtualRobot(made, RigidPlant(made, supply=5.0), faults=Faults())
    clock = LockstepClock(virtual)
    bus = open_bus(made, LockstepPort(virtual, clock), clock)
    bus.identify()
    bus.prepare()
    assert bus.torque(True) == ()
    start, began = clock.now(), time.perf_counter()
    for fault in (Drop(rate=0.01, at=start), Corrupt(rate=0.01, at=start)):
        virtual.inject(fault)
    counts, last = virtual.fault_counts, np.zeros(SERVOS)
    expected = {"missing": 0, "corrupt": 0}
    wrong, steepest = 0, 0.0
    ticks = round(minutes * 60 / made.period)
    for tick in range(ticks):
        clock.sleep_until(start + tick * made.period)
        dropped, corrupted = counts.dropped, counts.corrupted
        counters = bus.drivers[0].roll.counters
        state = bus.read(clock.now() + made.read_fraction * made.period)
        dropped, corrupted = counts.dropped - dropped, counts.corrupted - corrupted
        after = bus.drivers[0].roll.counters
        first = {
            name: sum(getattr(after[d], name) - getattr(counters[d], name) for d in after)
            for name in expected
        }
        for name in expected:
            expected[name] += first[name]
        # One first loss if anything was injected, of a kind that was; none otherwise.
        injected = bool(dropped or corrupted)
        good = sum(first.values()) == injected and bool(state.joint_valid.all()) != injected
        good = good and first["missing"] <= dropped and first["corrupt"] <= corrupted
        wrong += not good
        goal = np.sin(2.0 * tick * made.period + np.arange(SERVOS)) * min(1.0, tick / 100)
        steepest = max(steepest, float(np.abs(goal - last).max()) / made.period)
        bus.write(JointCommand(goal))
        last = goal
    total = {
        name: sum(getattr(counter, name) for counter in bus.counters.values())
        for name in ("asked", "answered", "missing", "corrupt", "lost_in_tail", "late")
    }
    tail = counts.dropped + counts.corrupted - expected["missing"] - expected["corrupt"]
    print(f"{minutes:g} virtual minutes in {time.perf_counter() - began:.0f} s: {total}")
    print(
        f"injected: {counts.dropped} dropped, {counts.corrupted} corrupted, {tail} behind another"
    )
    print(f"ticks counted otherwise than injected: {wrong} (at most 0)")
    print(f"steepest commanded step: {steepest:.2f} per second (at most {made.safety.slew:g})")
    good = wrong == 0 and steepest <= made.safety.slew and total["late"] == 0 and not bus.silent
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
