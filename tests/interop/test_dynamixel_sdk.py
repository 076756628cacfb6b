"""The manufacturer's own SDK, unmodified, on the virtual servos' pseudo-terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import dynamixel_sdk as sdk
import pytest
from retort.hardware import load_robot
from retort.hardware.virtual import Emulator, RigidPlant, VirtualRobot

GOAL_CURRENT, TICK, POSITION = 102, 120, 132
IDS = (1, 2)


@pytest.fixture
def virtual() -> VirtualRobot:
    robot = load_robot("balancer")
    plant = RigidPlant(robot)
    made = VirtualRobot(robot, plant)
    plant.turn(0, 1.0)
    plant.turn(1, -2.0)
    return made


@pytest.fixture
def port(virtual) -> Iterator[sdk.PortHandler]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # the SDK polls without pause; the emulator's thread needs its turn
    emulator, ready = Emulator(virtual), threading.Event()
    thread = threading.Thread(target=emulator.serve, args=(lambda _: ready.set(),))
    thread.start()
    assert ready.wait(10.0)
    handler = sdk.PortHandler(emulator.path)
    assert handler.openPort()
    assert handler.setBaudRate(1_000_000)
    yield handler
    handler.closePort()
    emulator.stop()
    thread.join(10.0)
    sys.setswitchinterval(interval)
    assert not thread.is_alive()


@pytest.fixture
def packets() -> sdk.Protocol2PacketHandler:
    return sdk.PacketHandler(2.0)


def unsigned(value: int) -> int:
    return value % 2**32


def test_it_pings(port, packets):
    assert packets.ping(port, 1) == (1190, sdk.COMM_SUCCESS, 0)
    assert packets.ping(port, 10) == (49152, sdk.COMM_SUCCESS, 0)
    assert packets.ping(port, 77)[1] == sdk.COMM_RX_TIMEOUT


def test_it_pings_everyone_at_once(port, packets):
    found, result = packets.broadcastPing(port)
    assert result == sdk.COMM_SUCCESS
    assert found == {1: [1190, 52], 2: [1190, 52], 10: [49152, 1]}


def test_it_reads(port, packets):
    assert packets.read4ByteTxRx(port, 1, POSITION) == (652, sdk.COMM_SUCCESS, 0)
    assert packets.read4ByteTxRx(port, 2, POSITION) == (unsigned(-1304), sdk.COMM_SUCCESS, 0)


def test_it_writes(port, packets, virtual):
    assert packets.write2ByteTxRx(port, 1, GOAL_CURRENT, 123) == (sdk.COMM_SUCCESS, 0)
    assert packets.read2ByteTxRx(port, 1, GOAL_CURRENT) == (123, sdk.COMM_SUCCESS, 0)
    assert packets.write2ByteTxRx(port, 1, GOAL_CURRENT, 1751)[1] == sdk.ERRNUM_DATA_RANGE
    assert packets.write4ByteTxRx(port, 1, POSITION, 0)[1] == sdk.ERRNUM_ACCESS
    assert virtual.servos[0].registers["goal_current"] == 123


@pytest.mark.parametrize("read", ["txRxPacket", "fastSyncRead"])
def test_it_sync_reads(port, packets, read):
    group = sdk.GroupSyncRead(port, packets, POSITION, 4)
    for id in IDS:
        assert group.addParam(id)
    assert getattr(group, read)() == sdk.COMM_SUCCESS
    assert group.getData(1, POSITION, 4) == 652
    assert group.getData(2, POSITION, 4) == unsigned(-1304)


def test_one_fast_sync_read_fetches_wheels_and_sensor(port, packets):
    group = sdk.GroupSyncRead(port, packets, TICK, 27)
    for id in (10, *IDS):
        assert group.addParam(id)
    assert group.fastSyncRead() == sdk.COMM_SUCCESS
    assert group.getData(1, POSITION, 4) == 652
    assert group.getData(10, 124, 2) == 32767  # upright: w = 1
    assert group.getData(10, 142, 2) == pytest.approx(9.81 / 0.005, abs=1)
    assert abs(group.getData(1, TICK, 2) - group.getData(10, TICK, 2)) <= 1


def test_it_sync_writes(port, packets, virtual):
    group = sdk.GroupSyncWrite(port, packets, GOAL_CURRENT, 2)
    for id, value in zip(IDS, (-50, 60), strict=True):
        assert group.addParam(id, list(value.to_bytes(2, "little", signed=True)))
    assert group.txPacket() == sdk.COMM_SUCCESS
    assert packets.read2ByteTxRx(port, 2, GOAL_CURRENT)[0] == 60
    assert [servo.registers["goal_current"] for servo in virtual.servos] == [-50, 60]


def test_it_survives_a_stuffed_packet(port, packets):
    """FF FF FD inside a register, in both directions."""
    value = 0x00FDFFFF
    profile = 108
    assert packets.write4ByteTxRx(port, 1, profile, value)[1] == sdk.ERRNUM_DATA_RANGE
    goal = unsigned(-0x020001)  # FF FF FD FF
    assert packets.write4ByteTxRx(port, 1, 116, goal) == (sdk.COMM_SUCCESS, 0)
    assert packets.read4ByteTxRx(port, 1, 116) == (goal, sdk.COMM_SUCCESS, 0)


def test_it_reboots(port, packets):
    assert packets.reboot(port, 1) == (sdk.COMM_SUCCESS, 0)
    assert packets.ping(port, 1)[1] == sdk.COMM_RX_TIMEOUT
    assert packets.ping(port, 2)[1] == sdk.COMM_SUCCESS
