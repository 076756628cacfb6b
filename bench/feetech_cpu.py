"""Processor time per tick for twelve STS servos: ours, SI values out, against the maker's SDK.

Both read registers 56 to 70 of twelve servos by one sync read and send twelve goals by one sync
write; the wire is memory. The SDK gives three raw values per servo (its ``getData``), ours a whole
``RobotState``. Limit: at most half of the SDK's median. Beside it: what the wire takes at 1 Mbit/s.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import scservo_sdk as sdk
from harness.servos import BAUD, IDS, twelve
from retort.hardware import RealClock
from retort.hardware.feetech import codec
from retort.hardware.feetech.driver import FeetechDriver
from retort.hardware.feetech.line import FeetechLine
from retort.hardware.feetech.units import ADDRESS, LENGTH
from retort.hardware.line_driver import devices_of
from retort.hardware.readings import Readings

TICKS = 4000
LIMIT = 0.5
GOAL = 42


class Wire:
    """Answers every sync read at once with the same bytes; a ``Port`` and the SDK's port in one."""

    baud = BAUD

    def __init__(self) -> None:
        block = bytearray(LENGTH)
        block[0:2] = (2048).to_bytes(2, "little")
        block[2:4] = (0x8000 | 100).to_bytes(2, "little")
        block[6:8] = bytes((74, 30))
        self._answer = b"".join(codec.status(id, 0, bytes(block)) for id in IDS)
        self._left = b""
        self.sent = 0
        self.is_using = False

    def write(self, data: bytes) -> None:
        self.sent = len(data)
        if data[4] == codec.Instruction.SYNC_READ:
            self._left = self._answer

    def read(self, size: int, deadline: float) -> bytes:
        return self.readPort(size)

    def discard(self) -> bytes:
        return b""

    def close(self) -> None: ...

    # The names of the SDK's PortHandler.

    def readPort(self, length: int) -> bytes:
        data, self._left = self._left[:length], self._left[length:]
        return data

    def writePort(self, packet: list[int]) -> int:
        self.write(bytes(packet))
        return len(packet)

    def clearPort(self) -> None: ...

    def setPacketTimeout(self, length: int) -> None: ...

    def isPacketTimeout(self) -> bool:
        return True


def ours() -> Callable[[], None]:
    robot, wire, clock = twelve("feetech"), Wire(), RealClock()
    readings = Readings(robot)
    driver = FeetechDriver(robot, devices_of(robot, "main"), FeetechLine(wire, clock), readings)
    for servo in driver.devices:
        driver._armed.switch(servo.index, True)
    target = np.linspace(-1.0, 1.0, len(IDS))

    def tick() -> None:
        readings.begin()
        driver.request()
        driver.collect(0.0)
        state = readings.state(0.0)
        driver.send(target)
        assert state.joint_valid.all()

    return tick


def makers() -> Callable[[], None]:
    wire, packets = Wire(), sdk.PacketHandler(0)
    read = sdk.GroupSyncRead(wire, packets, ADDRESS, LENGTH)
    write = sdk.GroupSyncWrite(wire, packets, GOAL, 2)
    for id in IDS:
        read.addParam(id)
        write.addParam(id, [0, 8])

    def tick() -> None:
        assert read.txRxPacket() == sdk.COMM_SUCCESS
        for id in IDS:
            for address in (56, 58, 69):
                read.getData(id, address, 2)
            write.changeParam(id, [sdk.SCS_LOBYTE(2000 + id), sdk.SCS_HIBYTE(2000 + id)])
        write.txPacket()

    return tick


def median(tick: Callable[[], None]) -> float:
    """Of one call [s]."""
    spans = []
    for _ in range(TICKS):
        begin = time.perf_counter()
        tick()
        spans.append(time.perf_counter() - begin)
    return statistics.median(spans)


def main() -> int:
    mine, theirs = ours(), makers()
    pairs = [(median(mine), median(theirs)) for _ in range(3)]
    own, maker = (min(column) for column in zip(*pairs, strict=True))
    request = len(codec.sync_read(IDS, ADDRESS, LENGTH))
    goals = len(codec.sync_write(GOAL, [(id, b"\0\0") for id in IDS]))
    answers = len(IDS) * (codec.OVERHEAD + LENGTH)
    wire = (request + answers + goals) * 10.0 / Wire.baud
    print(f"twelve STS servos: {1e6 * own:.0f} us per tick, SI values out")
    print(f"feetech-servo-sdk: {1e6 * maker:.0f} us per tick, three raw values each")
    print(f"ratio {own / maker:.2f}, limit {LIMIT}; the wire takes {1e6 * wire:.0f} us")
    return 0 if own <= LIMIT * maker else 1


if __name__ == "__main__":
    sys.exit(main())
