"""Processor time per tick for twelve STS servos: ours, SI values out, against the maker's SDK.

Both read registers 56 to 70 of twelve servos by one sync read and send twelve goals by one sync
write; the wire is memory. The SDK gives three raw values per servo (its ``getData``), ours a whole
``RobotState``. Limit: at most half of the SDK's time (harness/interleaved.py says how the ratio is
taken). Beside it: what the wire takes at 1 Mbit/s.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import scservo_sdk as sdk
from harness.interleaved import compare, report
from harness.servos import BAUD, IDS, twelve
from retort.hardware import JointCommand, RealClock, open_bus
from retort.hardware.feetech import codec
from retort.hardware.feetech.driver import FeetechDriver
from retort.hardware.feetech.units import ADDRESS, LENGTH

TICKS = 12_000
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
    robot, clock = twelve("feetech"), RealClock()
    bus = open_bus(robot, Wire(), clock)
    (driver,) = bus.drivers
    assert isinstance(driver, FeetechDriver)
    for servo in driver.devices:
        driver._armed.switch(servo.index, True)  # else no goals go out
    target = np.linspace(-1.0, 1.0, len(IDS))

    def tick() -> None:
        state = bus.read(clock.now() + 1.0)
        bus.write(JointCommand(target))
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


def main() -> int:
    request = len(codec.sync_read(IDS, ADDRESS, LENGTH))
    goals = len(codec.sync_write(GOAL, [(id, b"\0\0") for id in IDS]))
    answers = len(IDS) * (codec.OVERHEAD + LENGTH)
    found = compare(ours(), makers(), TICKS)
    name = f"STS3215, {len(IDS)} servos"
    met = report(name, found, "feetech-servo-sdk", request + answers + goals, BAUD, LIMIT)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
