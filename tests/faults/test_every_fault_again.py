"""All kinds of faults at once, on both protocols, twice: the same to the byte."""

from __future__ import annotations

import dataclasses

from retort.hardware import PortError
from retort.hardware.dynamixel import codec
from retort.hardware.feetech import codec as feetech
from retort.hardware.virtual import (
    FaultCounts,
    Faults,
    LockstepClock,
    LockstepPort,
    RigidPlant,
    VirtualRobot,
)
from retort.hardware.virtual.faults import (
    KINDS,
    BrownOut,
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    Garbage,
    IdClash,
    JumpingEncoder,
    Merge,
    Overheat,
    Overload,
    Silence,
    StaleImu,
    StuckEncoder,
    Truncate,
    Unplug,
)

from ..hardware.many_servos import robot_of

EVERY = [  # all sixteen kinds, on a robot with a line of each protocol
    *(Drop(rate=0.05), Corrupt(rate=0.05), Truncate(rate=0.05), Merge(rate=0.05)),
    *(Delay(rate=0.05, seconds=0.012), Duplicate(rate=0.05), Garbage(rate=0.05)),
    Silence(device="joint_5", at=0.2, until=0.3),
    IdClash(device="joint_2", other="joint_1", at=0.3, until=0.6),
    IdClash(device="joint_5", other="joint_4", at=0.3, until=0.6),
    StaleImu(at=0.4, until=0.5),
    StuckEncoder(device="joint_6", at=0.4, until=0.5),
    JumpingEncoder(device="joint_1", angle=0.3, at=0.6, until=0.7),
    Unplug(line="b", at=0.7, until=0.75),
    Overload(device="joint_4", at=0.8),
    Overheat(device="joint_3", at=0.8),
    BrownOut(device="joint_6", at=0.9, until=1.0),
]


def test_every_kind_of_fault_is_the_same_to_the_byte_on_both_protocols():
    assert {type(fault) for fault in EVERY} == set(KINDS.values())
    models = ("xl330-m288",) * 3 + ("sts3215",) * 3
    robot = robot_of(models, lines="aaabbb", protocols=("dynamixel2", "feetech"), imu="a")
    asked = {
        "a": codec.sync_read([100, 1, 2, 3], 120, 27),
        "b": feetech.sync_read([1, 2, 3], 56, 15),
    }

    def run(seed: int) -> tuple[list[tuple[float, bytes]], FaultCounts]:
        virtual = VirtualRobot(robot, RigidPlant(robot), seed, Faults(*EVERY))
        clock, heard = LockstepClock(virtual), []
        ports = {name: LockstepPort(virtual, clock, name) for name in asked}
        for tick in range(150):
            clock.sleep_until(tick * 0.01)
            for name, packet in asked.items():
                try:
                    ports[name].write(packet)
                    data = ports[name].read(10_000, clock.now() + 0.004)
                except PortError:
                    data = b"unplugged"
                    if virtual.lines[name].plugged:
                        ports[name] = LockstepPort(virtual, clock, name)
                heard.append((clock.now(), data))
        return heard, virtual.fault_counts

    heard, counts = run(1)
    assert all(dataclasses.astuple(counts))  # each did something
    assert (heard, counts) == run(1)
    assert heard != run(2)[0]
