"""The manufacturer's own SDK, unmodified, on the pseudo-terminal of twelve virtual servos."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import scservo_sdk as sdk
from retort.hardware.virtual import RigidPlant, VirtualRobot

from ..hardware.many_servos import robot_of, served

IDS = tuple(range(1, 13))
P_GAIN, TORQUE, GOAL, POSITION, VOLTAGE, STATUS = 21, 40, 42, 56, 62, 65
COUNT = 0.0015339807878856412  # [rad]


@pytest.fixture
def virtual() -> VirtualRobot:
    robot = robot_of(("sts3215",) * 12, protocols=("feetech",))
    plant = RigidPlant(robot, inertia=0.02)
    made = VirtualRobot(robot, plant)
    for index, id in enumerate(IDS):
        plant.turn(index, (1000 + id) * COUNT)
        made.servos[index].reboot(-1.0)
    return made


@pytest.fixture
def port(virtual, monkeypatch) -> Iterator[sdk.PortHandler]:
    # The SDK waits for twice the adapter's latency; a busy machine is slower than an adapter.
    monkeypatch.setattr("scservo_sdk.port_handler.LATENCY_TIMER", 100)
    with served(virtual) as emulator:
        handler = sdk.PortHandler(emulator.path)
        assert handler.openPort()
        assert handler.setBaudRate(1_000_000)
        yield handler
        handler.closePort()


@pytest.fixture
def packets():
    return sdk.PacketHandler(0)


def test_it_pings(port, packets):
    assert [packets.ping(port, id) for id in IDS] == [(777, sdk.COMM_SUCCESS, 0)] * 12
    assert packets.ping(port, 77)[1] == sdk.COMM_RX_TIMEOUT


def test_it_reads(port, packets):
    for id in IDS:
        assert packets.read2ByteTxRx(port, id, POSITION) == (1000 + id, sdk.COMM_SUCCESS, 0)
    assert packets.read1ByteTxRx(port, 5, VOLTAGE) == (74, sdk.COMM_SUCCESS, 0)
    assert packets.read4ByteTxRx(port, 3, POSITION) == (1003, sdk.COMM_SUCCESS, 0)


def test_it_writes(port, packets, virtual):
    assert packets.write1ByteTxRx(port, 4, P_GAIN, 16) == (sdk.COMM_SUCCESS, 0)
    assert packets.write2ByteTxRx(port, 4, GOAL, 1234) == (sdk.COMM_SUCCESS, 0)
    assert packets.read1ByteTxRx(port, 4, P_GAIN) == (16, sdk.COMM_SUCCESS, 0)
    assert virtual.servos[3].registers["goal_position"] == 1234
    assert packets.write1ByteTxRx(port, 4, POSITION, 0) == (sdk.COMM_SUCCESS, 0)  # read only
    assert packets.read2ByteTxRx(port, 4, POSITION) == (1004, sdk.COMM_SUCCESS, 0)


def test_negative_values_are_sign_and_magnitude(port, packets, virtual):
    offset = sdk.SCS_TOSCS(-50, 11)
    assert packets.write2ByteTxRx(port, 1, 31, offset) == (sdk.COMM_SUCCESS, 0)
    assert virtual.servos[0].registers["homing_offset"] == -50
    value, result, _ = packets.read2ByteTxRx(port, 1, 31)
    assert (sdk.SCS_TOHOST(value, 11), result) == (-50, sdk.COMM_SUCCESS)
    assert packets.read2ByteTxRx(port, 1, POSITION)[0] == 1051


def test_a_reg_write_waits_for_action(port, packets):
    for id in IDS:
        data = list((2000 + id).to_bytes(2, "little"))
        assert packets.regWriteTxRx(port, id, GOAL, 2, data) == (sdk.COMM_SUCCESS, 0)
        assert packets.read2ByteTxRx(port, id, GOAL)[0] == 1000 + id
    assert packets.action(port, sdk.BROADCAST_ID) == sdk.COMM_SUCCESS
    assert [packets.read2ByteTxRx(port, id, GOAL)[0] for id in IDS] == [2000 + id for id in IDS]


def test_it_sync_reads_twelve(port, packets):
    group = sdk.GroupSyncRead(port, packets, POSITION, 8)
    for id in IDS:
        assert group.addParam(id)
    assert group.txRxPacket() == sdk.COMM_SUCCESS
    assert [group.getData(id, POSITION, 2) for id in IDS] == [1000 + id for id in IDS]
    assert [group.getData(id, VOLTAGE, 1) for id in IDS] == [74] * 12


def test_it_sync_writes_twelve(port, packets, virtual):
    group = sdk.GroupSyncWrite(port, packets, GOAL, 2)
    for id in IDS:
        assert group.addParam(id, list((500 + id).to_bytes(2, "little")))
    assert group.txPacket() == sdk.COMM_SUCCESS
    assert packets.read2ByteTxRx(port, 12, GOAL) == (512, sdk.COMM_SUCCESS, 0)
    assert [servo.registers["goal_position"] for servo in virtual.servos] == [500 + i for i in IDS]


def test_it_is_told_of_faults_in_every_answer(port, packets, virtual):
    virtual.servos[6].temperature = 90.0
    assert any(packets.read1ByteTxRx(port, 7, STATUS)[0] for _ in range(100))
    assert packets.read2ByteTxRx(port, 7, POSITION)[2] == sdk.ERRBIT_OVERHEAT
    assert packets.write1ByteTxRx(port, 7, TORQUE, 1) == (sdk.COMM_SUCCESS, sdk.ERRBIT_OVERHEAT)
    assert packets.getRxPacketError(sdk.ERRBIT_OVERHEAT) == "[RxPacketError] Overheat error!"
    assert packets.read2ByteTxRx(port, 8, POSITION) == (1008, sdk.COMM_SUCCESS, 0)


def test_at_status_level_0_only_reads_and_pings_are_answered(port, packets):
    assert packets.write1ByteTxRx(port, 2, 8, 0)[0] == sdk.COMM_RX_TIMEOUT
    assert packets.write1ByteTxOnly(port, 2, P_GAIN, 9) == sdk.COMM_SUCCESS
    assert packets.read1ByteTxRx(port, 2, P_GAIN) == (9, sdk.COMM_SUCCESS, 0)
    assert packets.ping(port, 2)[1] == sdk.COMM_SUCCESS


def test_a_servo_at_another_rate_hears_nothing(port, packets):
    assert packets.write1ByteTxRx(port, 3, 6, 1) == (sdk.COMM_SUCCESS, 0)  # confirmed at the old
    assert packets.ping(port, 3)[1] == sdk.COMM_RX_TIMEOUT
    assert port.setBaudRate(500_000)
    assert packets.ping(port, 3) == (777, sdk.COMM_SUCCESS, 0)
    assert packets.ping(port, 4)[1] == sdk.COMM_RX_TIMEOUT
