"""The manufacturer's own SDK, unmodified, on a pseudo-terminal with a line of twelve servos.

All 14 instructions it knows: right values, and the right errors where the manual says error.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import dynamixel_sdk as sdk
import pytest
from retort.hardware import load_robot
from retort.hardware.virtual import RigidPlant, VirtualRobot

from ..hardware.many_servos import robot_of, served

MODELS = ("xl330-m288",) * 8 + ("xl330-m077",) * 2 + ("xl430-w250",) * 2
IDS = tuple(range(1, 13))
NUMBERS = (1200,) * 8 + (1190,) * 2 + (1060,) * 2
OK = (sdk.COMM_SUCCESS, 0)

ID, RETURN_DELAY, TORQUE, LED, HARDWARE_ERROR, REGISTERED = 7, 9, 64, 65, 70, 69
POSITION_P, WATCHDOG, GOAL_VELOCITY, PROFILE_VELOCITY, GOAL_POSITION = 84, 98, 104, 112, 116
TICK, MOVING, PRESENT_PWM, POSITION, VOLTAGE, TEMPERATURE = 120, 122, 124, 132, 144, 146


def angle(id: int) -> int:
    """Where the shaft of a servo stands at first [counts]."""
    return 100 * id + 11


@pytest.fixture
def virtual() -> VirtualRobot:
    robot = robot_of(MODELS)
    plant = RigidPlant(robot, supply=6.5)  # within the limits of all three models
    made = VirtualRobot(robot, plant)
    for index, id in enumerate(IDS):
        plant.turn(index, angle(id) * math.tau / 4096)
    return made


@contextlib.contextmanager
def opened(virtual: VirtualRobot) -> Iterator[sdk.PortHandler]:
    with served(virtual) as emulator:
        handler = sdk.PortHandler(emulator.path)
        assert handler.openPort()
        assert handler.setBaudRate(1_000_000)
        yield handler
        handler.closePort()


@pytest.fixture(autouse=True)
def patient_sdk(monkeypatch) -> None:
    """The SDK's own setting for slow adapters: a busy machine may keep the emulator waiting."""
    monkeypatch.setattr(sdk.port_handler, "LATENCY_TIMER", 50)  # [ms]


@pytest.fixture
def port(virtual) -> Iterator[sdk.PortHandler]:
    with opened(virtual) as handler:
        yield handler


@pytest.fixture
def packets() -> sdk.Protocol2PacketHandler:
    return sdk.PacketHandler(2.0)


def unsigned(value: int) -> int:
    return value % 2**32


def little(value: int, size: int) -> list[int]:
    return list((value % 256**size).to_bytes(size, "little"))


# One after another: the 14 instructions


def test_ping(port, packets):
    for id, number in zip(IDS, NUMBERS, strict=True):
        assert packets.ping(port, id) == (number, sdk.COMM_SUCCESS, 0)
    assert packets.ping(port, 77)[1] == sdk.COMM_RX_TIMEOUT


def test_broadcast_ping(port, packets):
    found, result = packets.broadcastPing(port)
    assert result == sdk.COMM_SUCCESS
    assert found == {id: [number, 52] for id, number in zip(IDS, NUMBERS, strict=True)}


def test_read(port, packets):
    assert packets.read1ByteTxRx(port, 3, ID) == (3, *OK)
    assert packets.read2ByteTxRx(port, 12, VOLTAGE) == (65, *OK)
    assert packets.read4ByteTxRx(port, 12, POSITION) == (angle(12), *OK)
    assert packets.readTxRx(port, 5, 9000, 4)[1:] == (sdk.COMM_SUCCESS, sdk.ERRNUM_ACCESS)


def test_write(port, packets, virtual):
    assert packets.write2ByteTxRx(port, 1, POSITION_P, 123) == OK
    assert packets.read2ByteTxRx(port, 1, POSITION_P) == (123, *OK)
    assert packets.write4ByteTxRx(port, 2, GOAL_POSITION, 2000) == OK
    assert packets.write1ByteTxOnly(port, sdk.BROADCAST_ID, LED, 1) == sdk.COMM_SUCCESS
    assert packets.ping(port, 1)[1] == sdk.COMM_SUCCESS
    assert all(servo.registers["led"] == 1 for servo in virtual.servos)


def test_reg_write_and_action(port, packets):
    goal = little(1500, 4)
    for id in (1, 12):
        assert packets.regWriteTxRx(port, id, GOAL_POSITION, 4, goal) == OK
        assert packets.read1ByteTxRx(port, id, REGISTERED) == (1, *OK)
        assert packets.read4ByteTxRx(port, id, GOAL_POSITION)[0] != 1500
    assert packets.action(port, sdk.BROADCAST_ID) == sdk.COMM_SUCCESS
    for id in (1, 12):
        assert packets.read4ByteTxRx(port, id, GOAL_POSITION) == (1500, *OK)
        assert packets.read1ByteTxRx(port, id, REGISTERED) == (0, *OK)


def test_factory_reset(port, packets, virtual):
    assert packets.write1ByteTxRx(port, 4, RETURN_DELAY, 17) == OK
    assert packets.factoryReset(port, 4, 0x02) == OK
    servo = virtual.servos[3]
    assert packets.ping(port, 4)[1] == sdk.COMM_RX_TIMEOUT  # it reboots
    assert (servo.id, servo.baud) == (4, 1_000_000)
    assert servo.registers["return_delay"] == 250
    assert packets.factoryReset(port, 5, 0x01) == OK
    assert (virtual.servos[4].id, virtual.servos[4].baud) == (5, 57_600)
    assert packets.factoryReset(port, 6, 0xFF) == OK
    assert (virtual.servos[5].id, virtual.servos[5].baud) == (1, 57_600)
    assert packets.factoryReset(port, sdk.BROADCAST_ID, 0xFF)[0] == sdk.COMM_SUCCESS
    assert packets.ping(port, 12)[1] == sdk.COMM_SUCCESS  # not when broadcast


def test_reboot(port, packets):
    assert packets.write2ByteTxRx(port, 1, POSITION_P, 123) == OK
    assert packets.reboot(port, 1) == OK
    assert packets.ping(port, 1)[1] == sdk.COMM_RX_TIMEOUT
    assert packets.ping(port, 2)[1] == sdk.COMM_SUCCESS


def test_clear_multi_turn(port, packets, virtual):
    virtual.plant.turn(0, 3 * math.tau + math.tau / 4)
    assert packets.read4ByteTxRx(port, 1, POSITION) == (3 * 4096 + 1024, *OK)
    assert packets.clearMultiTurn(port, 1) == OK
    assert packets.read4ByteTxRx(port, 1, POSITION) == (1024, *OK)


@pytest.mark.parametrize("read", ["txRxPacket", "fastSyncRead"])
def test_sync_read(port, packets, read):
    group = sdk.GroupSyncRead(port, packets, TICK, 27)
    for id in reversed(IDS):
        assert group.addParam(id)
    assert getattr(group, read)() == sdk.COMM_SUCCESS
    assert [group.getData(id, POSITION, 4) for id in IDS] == [angle(id) for id in IDS]
    assert {group.getData(id, VOLTAGE, 2) for id in IDS} == {65}
    assert {group.getData(id, TEMPERATURE, 1) for id in IDS} == {30}
    ticks = [group.getData(id, TICK, 2) for id in IDS]
    assert max(ticks) == min(ticks)  # all take their values when the packet ends


def test_sync_write(port, packets):
    group = sdk.GroupSyncWrite(port, packets, GOAL_POSITION, 4)
    for id in IDS:
        assert group.addParam(id, little(200 * id, 4))
    assert group.txPacket() == sdk.COMM_SUCCESS
    for id in IDS:
        assert packets.read4ByteTxRx(port, id, GOAL_POSITION) == (200 * id, *OK)


@pytest.mark.parametrize("read", ["txRxPacket", "fastBulkRead"])
def test_bulk_read(port, packets, read):
    group = sdk.GroupBulkRead(port, packets)
    for id, address, length in ((1, POSITION, 4), (12, VOLTAGE, 2), (9, TEMPERATURE, 1)):
        assert group.addParam(id, address, length)
    assert getattr(group, read)() == sdk.COMM_SUCCESS
    assert group.getData(1, POSITION, 4) == angle(1)
    assert group.getData(12, VOLTAGE, 2) == 65
    assert group.getData(9, TEMPERATURE, 1) == 30


def test_bulk_write(port, packets):
    group = sdk.GroupBulkWrite(port, packets)
    assert group.addParam(1, GOAL_POSITION, 4, little(777, 4))
    assert group.addParam(12, LED, 1, [1])
    assert group.addParam(9, POSITION_P, 2, little(555, 2))
    assert group.txPacket() == sdk.COMM_SUCCESS
    assert packets.read4ByteTxRx(port, 1, GOAL_POSITION) == (777, *OK)
    assert packets.read1ByteTxRx(port, 12, LED) == (1, *OK)
    assert packets.read2ByteTxRx(port, 9, POSITION_P) == (555, *OK)


# The errors


def test_access_errors(port, packets):
    assert packets.write4ByteTxRx(port, 1, POSITION, 0)[1] == sdk.ERRNUM_ACCESS
    assert packets.write1ByteTxRx(port, 1, 20_000, 0)[1] == sdk.ERRNUM_ACCESS
    assert packets.write1ByteTxRx(port, 1, TORQUE, 1) == OK
    assert packets.write1ByteTxRx(port, 1, RETURN_DELAY, 10)[1] == sdk.ERRNUM_ACCESS
    assert packets.write1ByteTxRx(port, 1, TORQUE, 0) == OK
    assert packets.write1ByteTxRx(port, 1, RETURN_DELAY, 10) == OK


def test_range_limit_and_length_errors(port, packets):
    assert packets.write1ByteTxRx(port, 1, TORQUE, 2)[1] == sdk.ERRNUM_DATA_RANGE
    assert packets.write4ByteTxRx(port, 1, PROFILE_VELOCITY, 40_000)[1] == sdk.ERRNUM_DATA_RANGE
    assert packets.write4ByteTxRx(port, 1, GOAL_POSITION, 4096)[1] == sdk.ERRNUM_DATA_LIMIT
    assert packets.write4ByteTxRx(port, 1, GOAL_VELOCITY, 446)[1] == sdk.ERRNUM_DATA_LIMIT
    assert packets.write2ByteTxRx(port, 1, GOAL_POSITION, 1)[1] == sdk.ERRNUM_DATA_LENGTH


def test_a_register_a_model_lacks_is_an_access_error(port, packets):
    goal_current = 102
    assert packets.write2ByteTxRx(port, 8, goal_current, 100) == OK
    assert packets.write2ByteTxRx(port, 12, goal_current, 100)[1] == sdk.ERRNUM_ACCESS


def test_instruction_errors(port, packets):
    assert packets.txRxPacket(port, [0, 0, 0, 0, 1, 3, 0, 0x77, 0, 0])[1:] == (
        sdk.COMM_SUCCESS,
        sdk.ERRNUM_INSTRUCTION,
    )


def test_clear_fails_in_motion(port, packets, virtual):
    virtual.plant.turn(0, 10.0, speed=30.0)
    assert packets.clearMultiTurn(port, 1) == (sdk.COMM_SUCCESS, sdk.ERRNUM_RESULT_FAIL)


def test_a_tripped_watchdog_makes_goals_out_of_range(port, packets):
    assert packets.write1ByteTxRx(port, 1, TORQUE, 1) == OK
    assert packets.write1ByteTxRx(port, 1, WATCHDOG, 1) == OK
    assert packets.ping(port, 77)[1] == sdk.COMM_RX_TIMEOUT  # takes longer than 20 ms
    assert packets.read1ByteTxRx(port, 1, WATCHDOG)[0] == 255
    assert packets.write4ByteTxRx(port, 1, GOAL_POSITION, 99)[1] == sdk.ERRNUM_DATA_RANGE
    assert packets.write1ByteTxRx(port, 1, WATCHDOG, 0) == OK
    assert packets.write4ByteTxRx(port, 1, GOAL_POSITION, 99) == OK


def test_an_alert_stands_in_every_answer_until_a_reboot(port, packets, virtual):
    assert packets.write1ByteTxRx(port, 2, TORQUE, 1) == OK
    virtual.servos[1].fail(32)
    assert packets.ping(port, 2) == (1200, sdk.COMM_SUCCESS, sdk.ERRBIT_ALERT)
    assert packets.read1ByteTxRx(port, 2, HARDWARE_ERROR) == (
        32,
        sdk.COMM_SUCCESS,
        sdk.ERRBIT_ALERT,
    )
    assert packets.read1ByteTxRx(port, 2, TORQUE)[0] == 0
    refused = packets.write1ByteTxRx(port, 2, TORQUE, 1)[1]
    assert refused == sdk.ERRBIT_ALERT | sdk.ERRNUM_ACCESS
    assert packets.ping(port, 3) == (1200, *OK)
    assert packets.reboot(port, 2) == (sdk.COMM_SUCCESS, sdk.ERRBIT_ALERT)
    assert any(packets.ping(port, 2)[1] == sdk.COMM_SUCCESS for _ in range(1000))
    assert packets.write1ByteTxRx(port, 2, TORQUE, 1) == OK


# And beyond single instructions


def test_a_new_id_holds_from_the_next_packet_on(port, packets):
    assert packets.write1ByteTxRx(port, 7, ID, 50) == OK  # answered with the old one
    assert packets.ping(port, 7)[1] == sdk.COMM_RX_TIMEOUT
    assert packets.ping(port, 50) == (1200, *OK)


def test_a_new_baud_rate_holds_from_the_next_packet_on(port, packets):
    baud, two_million = 8, 4
    assert packets.write1ByteTxRx(port, 7, baud, two_million) == OK
    assert packets.ping(port, 7)[1] == sdk.COMM_RX_TIMEOUT
    assert port.setBaudRate(2_000_000)
    assert packets.ping(port, 7) == (1200, *OK)
    assert packets.ping(port, 6)[1] == sdk.COMM_RX_TIMEOUT


def test_a_move_is_seen_to_the_end(port, packets):
    assert packets.write4ByteTxRx(port, 1, PROFILE_VELOCITY, 200) == OK
    assert packets.write1ByteTxRx(port, 1, TORQUE, 1) == OK
    assert packets.write4ByteTxRx(port, 1, GOAL_POSITION, 300) == OK
    assert packets.read1ByteTxRx(port, 1, MOVING) == (1, *OK)
    assert any(packets.read1ByteTxRx(port, 1, MOVING) == (0, *OK) for _ in range(10_000))
    assert packets.read4ByteTxRx(port, 1, POSITION)[0] == pytest.approx(300, abs=10)


def test_it_survives_a_stuffed_packet(port, packets):
    """FF FF FD inside a register, in both directions."""
    assert packets.write4ByteTxRx(port, 1, PROFILE_VELOCITY, 0x00FDFFFF)[1] == (
        sdk.ERRNUM_DATA_RANGE
    )
    operating_mode, extended = 11, 4
    assert packets.write1ByteTxRx(port, 1, operating_mode, extended) == OK
    goal = unsigned(-0x020001)  # FF FF FD FF
    assert packets.write4ByteTxRx(port, 1, GOAL_POSITION, goal) == OK
    assert packets.read4ByteTxRx(port, 1, GOAL_POSITION) == (goal, *OK)


def test_one_fast_sync_read_fetches_wheels_and_sensor(packets):
    robot = load_robot("balancer")
    plant = RigidPlant(robot)
    plant.turn(0, 1.0)
    with opened(VirtualRobot(robot, plant)) as port:
        group = sdk.GroupSyncRead(port, packets, TICK, 27)
        for id in (10, 1, 2):
            assert group.addParam(id)
        assert group.fastSyncRead() == sdk.COMM_SUCCESS
        assert group.getData(1, POSITION, 4) == 652
        assert group.getData(10, PRESENT_PWM, 2) == 32767  # upright: w = 1
        assert group.getData(10, 142, 2) == pytest.approx(9.81 / 0.005, abs=1)
        assert abs(group.getData(1, TICK, 2) - group.getData(10, TICK, 2)) <= 1
