"""CPU time of one tick of twelve servos, SI values out, against the maker's own library.

    python bench/bus_cpu.py [--ticks 12000]

DYNAMIXEL: a fast sync read of 10 bytes (current, velocity, position) and a sync write of goal
positions. The peer is ``dynamixel-sdk`` with ``GroupSyncRead.fastSyncRead``, ``getData`` of three
values per servo and ``GroupSyncWrite``, in the same run. Both find the answer's bytes ready in
memory, so that only computing is measured. Limit: a quarter of the peer (harness/interleaved.py
says how the ratio is taken). Beside it stands the time the bytes need on the wire, which no program
can shorten.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import dynamixel_sdk as sdk
import numpy as np
from harness.interleaved import compare, report
from harness.servos import BAUD, IDS, SERVOS, twelve
from retort.hardware import JointCommand, RealClock, open_bus
from retort.hardware.dynamixel import codec

ADDRESS, LENGTH, GOAL = 126, 10, 116
LIMIT = 0.25


class Memory:
    """A port whose answer lies ready."""

    baud = BAUD

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def write(self, data: bytes) -> None:
        """Every request has the same answer."""

    def read(self, size: int, deadline: float) -> bytes:
        return self.answer[:size]

    def discard(self) -> bytes:
        return b""

    def close(self) -> None:
        """Nothing to close."""


class SdkMemory:
    """The same for ``dynamixel-sdk``, in the place of its PortHandler."""

    is_using = False
    baudrate = BAUD

    def __init__(self, answer: bytes, request: int) -> None:
        self.answer = answer
        self.request = request  # bytes of the packet that is answered
        self.waiting = b""

    def clearPort(self) -> None:
        self.waiting = b""

    def writePort(self, packet: list[int]) -> int:
        if len(packet) == self.request:
            self.waiting = self.answer
        return len(packet)

    def readPort(self, length: int) -> bytes:
        data, self.waiting = self.waiting[:length], self.waiting[length:]
        return data

    def setPacketTimeout(self, length: int) -> None:
        """Never waits."""

    def isPacketTimeout(self) -> bool:
        return False


def dynamixel() -> tuple[Callable[[], object], Callable[[], object], int]:
    """A tick of retort's and one of the peer's, and the bytes of both on the wire."""
    counts = [(3 * i - 5, -10 * i, 2048 + i) for i in IDS]
    answer = codec.fast_status_head(SERVOS, LENGTH)
    crc = codec.crc16(answer)
    for id, (current, velocity, position) in zip(IDS, counts, strict=True):
        data = current.to_bytes(2, "little", signed=True)
        data += b"".join(v.to_bytes(4, "little", signed=True) for v in (velocity, position))
        block, crc = codec.fast_status_block(id, 0, data, crc)
        answer += block
    robot = twelve(values=["effort", "velocity", "position"])
    clock = RealClock()
    bus = open_bus(robot, Memory(answer), clock)
    target = np.linspace(-1.0, 1.0, SERVOS)
    read, write = bus.read, bus.write

    def ours() -> object:
        state = read(clock.now() + 1.0)
        write(JointCommand(target))
        return state

    request = codec.fast_sync_read(IDS, ADDRESS, LENGTH)
    port, packets = SdkMemory(answer, len(request)), sdk.PacketHandler(2.0)
    reader = sdk.GroupSyncRead(port, packets, ADDRESS, LENGTH)
    writer = sdk.GroupSyncWrite(port, packets, GOAL, 4)
    for id in IDS:
        reader.addParam(id)
        writer.addParam(id, [0, 0, 0, 0])
    goals = [[id, 8, 0, 0] for id in IDS]

    def peer() -> object:
        if reader.fastSyncRead() != sdk.COMM_SUCCESS:
            raise SystemExit("dynamixel-sdk did not take the answer")
        values = [
            (reader.getData(id, 126, 2), reader.getData(id, 128, 4), reader.getData(id, 132, 4))
            for id in IDS
        ]
        for id, goal in zip(IDS, goals, strict=True):
            writer.changeParam(id, goal)
        writer.txPacket()
        return values

    state, values = ours(), peer()
    assert bool(state.joint_valid.all())  # type: ignore[attr-defined]
    assert [v[2] for v in values] == [c[2] for c in counts]  # type: ignore[index]
    wire = len(request) + len(answer) + len(codec.sync_write(GOAL, [(id, b"0000") for id in IDS]))
    return ours, peer, wire


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ticks", type=int, default=12_000)
    ticks = parser.parse_args().ticks
    ours, peer, wire = dynamixel()
    found = compare(ours, peer, ticks)
    name = f"DYNAMIXEL, {SERVOS} servos"
    return 0 if report(name, found, "dynamixel-sdk", wire, BAUD, LIMIT) else 1


if __name__ == "__main__":
    sys.exit(main())
