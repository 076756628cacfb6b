"""Ten virtual minutes of lost and damaged answers, by either protocol: counted as injected, and
every goal in its servo.

    python bench/bus_losses.py [--minutes 10]

Twelve virtual servos at 100 Hz; 1 % of answers never come and 1 % are damaged, by a burst of at
most 16 bits on a DYNAMIXEL line and by one bit on a Feetech line: what their checksums notice for
certain. The targets rise and fall by exactly the slew limit. Limits:

- every loss is counted as what was injected, in its tick; what is behind it in a chain, as lost in
  its tail; no other reading is lost. (A fast sync read is one frame, in which nothing behind the
  first loss can be told: there the first loss of a tick is what must be counted right.)
- the goal that stands in every servo's register is that of its tick, so that no step is larger than
  the slew limit. A Feetech servo unheard for so long that it may have lost its power gets none
  until it has proved that it has not; what it holds meanwhile is not looked at.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import numpy as np
from harness.servos import SERVOS, twelve
from retort.hardware import DeviceCounters, JointCommand, RobotBus, open_bus
from retort.hardware.feetech.armed import BOOT
from retort.hardware.virtual import LockstepClock, LockstepPort, RigidPlant, VirtualRobot
from retort.hardware.virtual.faults import Corrupt, Drop

LOST = ("missing", "corrupt", "lost_in_tail", "implausible")
CASES = {  # mode, middle of the targets, share of the period for one read; by protocol
    "dynamixel2": ("velocity", 0.0, 0.3),
    "feetech": ("position", math.pi, 0.4),
}


def triangle(tick: int, step: float) -> float:
    """Between -1 and 1, from 0 on, by ``step`` per tick."""
    phase = (tick * step + 1.0) % 4.0
    return abs(phase - 2.0) * -1.0 + 1.0


def totals(bus: RobotBus) -> dict[str, int]:
    """Every counter, over all servos."""
    names = vars(DeviceCounters()).keys()
    counters = bus.counters.values()
    return {name: sum(getattr(counter, name) for counter in counters) for name in names}


def run(protocol: str, minutes: float) -> bool:
    """One protocol; prints, and says whether the limits hold."""
    mode, middle, fraction = CASES[protocol]
    robot = twelve(protocol, mode, fraction, layout="indirect")
    plant = RigidPlant(robot, supply=6.0)
    virtual = VirtualRobot(robot, plant)
    for joint, servo in enumerate(virtual.servos):
        plant.turn(joint, middle)
        servo.reboot(-1.0)
    clock = LockstepClock(virtual)
    bus = open_bus(robot, LockstepPort(virtual, clock), clock)
    bus.identify()
    bus.prepare()
    assert bus.torque(True) == ()
    start, began = clock.now(), time.perf_counter()
    for fault in (Drop(rate=0.01, at=start), Corrupt(rate=0.01, at=start)):
        virtual.inject(fault)
    injected, step = virtual.fault_counts, robot.safety.slew * robot.period
    unit = virtual.servos[0].table.register(f"goal_{mode}").unit
    patience = round(BOOT / robot.period) if protocol == "feetech" else math.inf  # [ticks]
    goal, unheard = middle, np.zeros(SERVOS)
    stood, told = np.full(SERVOS, middle), np.ones(SERVOS, dtype=bool)
    steady = told
    miscounted = misplaced = doubted = 0
    steepest, before = 0.0, totals(bus)
    for tick in range(round(minutes * 60 / robot.period)):
        clock.sleep_until(start + tick * robot.period)
        # What stands in the registers by now came with the last tick's write.
        standing = np.array([s.registers[f"goal_{mode}"] for s in virtual.servos]) * unit
        misplaced += int(np.count_nonzero(np.abs(standing - goal)[told] > 0.51 * unit))
        steepest = max(steepest, float(np.abs(standing - stood)[steady].max(initial=0.0)))
        stood = standing
        dropped, corrupted = injected.dropped, injected.corrupted
        state = bus.read(clock.now() + robot.read_fraction * robot.period)
        dropped, corrupted = injected.dropped - dropped, injected.corrupted - corrupted
        after = totals(bus)
        new = {name: after[name] - before[name] for name in LOST}
        before = after
        if protocol == "feetech":
            good = (new["missing"], new["corrupt"]) == (dropped, corrupted)
        else:
            good = new["missing"] + new["corrupt"] == bool(dropped or corrupted)
            good = good and new["missing"] <= dropped and new["corrupt"] <= corrupted
        lost = int(np.count_nonzero(~state.joint_valid))
        miscounted += not (good and lost == sum(new.values()))
        unheard = np.where(state.joint_valid, 0, unheard + 1)
        goal = middle + triangle(tick, step)
        before_told, told = told, unheard < patience
        steady = told & before_told  # after a pause the first step is longer
        doubted += int(np.count_nonzero(~told))
        bus.write(JointCommand(np.full(SERVOS, goal)))
    print(f"{protocol}: {minutes:g} virtual minutes in {time.perf_counter() - began:.0f} s")
    print(f"  counted: {before}")
    print(f"  injected: {injected.dropped} dropped, {injected.corrupted} corrupted")
    print(f"  ticks counted otherwise than injected: {miscounted} (at most 0)")
    print(f"  goals in registers other than this tick's: {misplaced} (at most 0)")
    print(
        f"  steepest step in a register: {steepest:.4f} (at most {step:g} and a count, {unit:.4f})"
    )
    print(f"  goals not looked at, to servos unheard for long: {doubted}")
    met = steepest <= step + 1.01 * unit
    return met and miscounted == misplaced == before["late"] == 0 and not bus.silent


def main() -> int:
    parser = argparse.ArgumentParser(description="Lost and damaged answers of twelve servos.")
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    met = [run(protocol, minutes) for protocol in CASES]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
