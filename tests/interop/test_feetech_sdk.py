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


# As other programs use it: LeRobot's set-up, calibration and control of an arm


ID, BAUD, DELAY, MIN, MAX, OFFSET, LOCK, MAX_ACCELERATION = 5, 6, 7, 9, 11, 31, 55, 85
OK = (sdk.COMM_SUCCESS, 0)


def power_cycled(virtual, packets, port, joint: int, id: int = 0) -> None:
    id = id or joint
    virtual.schedule(0.0, lambda: virtual.power_cycle(f"joint_{joint}", 0.01))  # where it is served
    assert any(packets.ping(port, id)[1] == sdk.COMM_RX_TIMEOUT for _ in range(100))
    assert any(packets.ping(port, id)[1] == sdk.COMM_SUCCESS for _ in range(100))


def test_a_servo_alone_answers_a_broadcast_ping_and_is_given_id_and_rate(virtual, port, packets):
    virtual.connect_only("joint_1")
    found = [0xFF, 0xFF, 1, 2, 0, 252]
    assert packets.txPacket(port, [0, 0, sdk.BROADCAST_ID, 2, 1, 0]) == sdk.COMM_SUCCESS
    port.setPacketTimeoutMillis(1000)
    heard = []
    while len(heard) < 6 and not port.isPacketTimeout():
        heard += port.readPort(6 - len(heard))
    assert heard == found
    port.is_using = False
    assert packets.write1ByteTxRx(port, 1, TORQUE, 0) == OK
    assert packets.write1ByteTxRx(port, 1, LOCK, 0) == OK
    assert packets.write1ByteTxRx(port, 1, ID, 42) == OK
    assert packets.ping(port, 42) == (777, *OK)
    assert packets.write1ByteTxRx(port, 42, BAUD, 1) == OK
    assert port.setBaudRate(500_000)
    assert packets.read2ByteTxRx(port, 42, 3) == (777, *OK)
    assert packets.write1ByteTxRx(port, 42, LOCK, 1) == OK
    power_cycled(virtual, packets, port, 1, id=42)


def test_a_half_turn_homing_and_a_range_are_kept_without_power(virtual, port, packets):
    for address, value in ((TORQUE, 0), (LOCK, 0), (DELAY, 0), (MAX_ACCELERATION, 254)):
        assert packets.write1ByteTxRx(port, 3, address, value) == OK
    for address, value in ((OFFSET, 0), (MIN, 0), (MAX, 4095)):  # as a new servo
        assert packets.write2ByteTxRx(port, 3, address, value) == OK
    here = packets.read2ByteTxRx(port, 3, POSITION)[0]
    assert here == 1003
    offset = here - 2047  # negative: bit 11 is its sign
    assert packets.write2ByteTxRx(port, 3, OFFSET, sdk.SCS_TOSCS(offset, 11)) == OK
    assert packets.read2ByteTxRx(port, 3, POSITION) == (2047, *OK)
    assert packets.write2ByteTxRx(port, 3, MIN, 1500) == OK
    assert packets.write2ByteTxRx(port, 3, MAX, 2600) == OK
    assert packets.write1ByteTxRx(port, 3, LOCK, 1) == OK
    power_cycled(virtual, packets, port, 3)
    assert packets.read2ByteTxRx(port, 3, POSITION) == (2047, *OK)
    assert packets.read2ByteTxRx(port, 3, MIN) == (1500, *OK)
    assert packets.read2ByteTxRx(port, 3, MAX) == (2600, *OK)


def test_torque_on_and_goals_by_sync_write_are_followed_by_sync_reads(port, packets, monkeypatch):
    monkeypatch.setattr("scservo_sdk.port_handler.LATENCY_TIMER", 1000)  # nobody is silent here
    for id in IDS:
        assert packets.write1ByteTxRx(port, id, TORQUE, 1) == OK
        assert packets.write1ByteTxRx(port, id, LOCK, 1) == OK
    goals = sdk.GroupSyncWrite(port, packets, GOAL, 2)
    for id in IDS:
        assert goals.addParam(id, list((1200 + 10 * id).to_bytes(2, "little")))
    assert goals.txPacket() == sdk.COMM_SUCCESS
    reads = sdk.GroupSyncRead(port, packets, POSITION, 2)
    for id in IDS:
        assert reads.addParam(id)
    arrived = [1200 + 10 * id for id in IDS]
    for _ in range(2000):
        assert reads.txRxPacket() == sdk.COMM_SUCCESS
        if [reads.getData(id, POSITION, 2) for id in IDS] == pytest.approx(arrived, abs=8):
            return
    raise AssertionError("they did not arrive")


def test_128_makes_here_the_middle_and_leaves_torque_as_it_was(virtual, port, packets):
    assert packets.write1ByteTxRx(port, 6, TORQUE, 128) == OK
    assert packets.read2ByteTxRx(port, 6, POSITION) == (2048, *OK)
    assert packets.read1ByteTxRx(port, 6, TORQUE) == (0, *OK)
    offset = packets.read2ByteTxRx(port, 6, OFFSET)[0]
    assert sdk.SCS_TOHOST(offset, 11) == 1006 - 2048
    power_cycled(virtual, packets, port, 6)
    assert packets.read2ByteTxRx(port, 6, POSITION) == (2048, *OK)
