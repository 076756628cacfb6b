"""The manufacturer's second Python library, which has register tables of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator

import dynamixel_easy_sdk as easy
import dynamixel_sdk
import pytest
from dynamixel_easy_sdk.data_types import Direction, OperatingMode, ProfileConfiguration
from retort.hardware.virtual import RigidPlant, VirtualRobot

from ..hardware.many_servos import robot_of, served

# Its tables know the XL330 by the registers of firmware 53 on.
MODELS = ("xl330-m288-fw53",) * 5 + ("xl330-m077-fw53",) * 4 + ("xl430-w250",) * 3
IDS = list(range(1, 13))


def angle(id: int) -> int:
    """Where the shaft of a servo stands at first [counts]."""
    return 100 * id + 11


@pytest.fixture
def virtual() -> VirtualRobot:
    robot = robot_of(MODELS)
    plant = RigidPlant(robot, supply=6.5)  # within the limits of all three models
    for index, id in enumerate(IDS):
        plant.turn(index, angle(id) * math.tau / 4096)
    return VirtualRobot(robot, plant)


@pytest.fixture
def connector(virtual, monkeypatch) -> Iterator[easy.Connector]:
    # Its own setting for slow adapters: a busy machine may keep the emulator waiting.
    monkeypatch.setattr(dynamixel_sdk.port_handler, "LATENCY_TIMER", 50)  # [ms]
    with served(virtual) as emulator:
        made = easy.Connector(emulator.path, 1_000_000)
        yield made
        made.closePort()


@pytest.fixture
def motors(connector) -> list[easy.Motor]:
    found = connector.createAllMotors()
    assert [motor.id for motor in found] == IDS
    return found


def test_it_finds_all_and_calls_them_by_their_names(motors):
    names = [motor.model_name for motor in motors]
    assert names == ["xl330_m288.model"] * 5 + ["xl330_m077.model"] * 4 + ["xl430_w250.model"] * 3
    assert {motor.getOperatingMode() for motor in motors} == {OperatingMode.POSITION}
    assert [motor.getPresentPosition() for motor in motors] == [angle(id) for id in IDS]
    assert [motor.getVelocityLimit() for motor in motors] == [445] * 5 + [1620] * 4 + [265] * 3
    assert {motor.getPWMLimit() for motor in motors} == {885}
    with pytest.raises(easy.DxlRuntimeError):  # there is none in its table either
        motors[-1].getCurrentLimit()


def test_every_mode_turns_a_shaft(motors):
    motor = motors[0]
    for mode, command, goal in (
        (OperatingMode.POSITION, motor.setGoalPosition, 1000),
        (OperatingMode.EXTENDED_POSITION, motor.setGoalPosition, -5000),
        (OperatingMode.CURRENT_BASED_POSITION, motor.setGoalPosition, 5000),
        (OperatingMode.VELOCITY, motor.setGoalVelocity, 300),
        (OperatingMode.CURRENT, motor.setGoalCurrent, -800),
        (OperatingMode.PWM, motor.setGoalPWM, 700),
    ):
        motor.disableTorque()
        motor.setOperatingMode(mode)
        assert motor.getOperatingMode() == mode
        motor.enableTorque()
        before = motor.getPresentPosition()
        command(before + goal if command == motor.setGoalPosition else goal)
        moved = (motor.getPresentPosition() - before for _ in range(5000))
        assert any(step * goal > 0 and abs(step) > 100 for step in moved), mode


def test_settings_are_kept_and_refused_while_torque_is_on(motors):
    motor = motors[6]
    motor.setDirection(Direction.REVERSE)
    motor.setProfileConfiguration(ProfileConfiguration.TIME_BASED)
    assert motor.getPresentPosition() == -angle(7)
    motor.setHomingOffset(1000)
    assert motor.getPresentPosition() == 1000 - angle(7)
    motor.setMinPositionLimit(100)
    motor.setMaxPositionLimit(3000)
    motor.setPWMLimit(500)
    assert (motor.getMinPositionLimit(), motor.getMaxPositionLimit()) == (100, 3000)
    motor.enableTorque()
    with pytest.raises(easy.DxlRuntimeError, match="LIMIT"):
        motor.setGoalPosition(3001)
    motor.torque_status = 0  # let it try
    with pytest.raises(easy.DxlRuntimeError, match="ACCESS"):
        motor.setPWMLimit(885)
    motor.disableTorque()
    motor.changeID(99)
    assert motor.ping() == 1190


def test_groups_are_read_and_written_at_once(connector, motors):
    group = connector.createGroupExecutor()
    for motor in motors:
        group.addCmd(motor.stageEnableTorque())
    group.executeWrite()
    group.clearStagedWriteCommands()
    for motor in motors:  # one sync read
        group.addCmd(motor.stageGetPresentPosition())
    assert group.executeRead() == pytest.approx([angle(id) for id in IDS], abs=2)
    group.clearStagedReadCommands()
    group.addCmd(motors[0].stageGetPresentPWM())  # one bulk read
    group.addCmd(motors[11].stageIsTorqueOn())
    assert group.executeRead()[1] == 1


def test_a_reboot_ends_torque(motors):
    motors[3].enableTorque()
    motors[3].reboot()
    with pytest.raises(easy.DxlRuntimeError):
        motors[3].ping()  # it boots
    assert any(_answers(motors[3]) for _ in range(1000))
    assert motors[3].isTorqueOn() == 0


def _answers(motor: easy.Motor) -> bool:
    try:
        return motor.ping() > 0
    except easy.DxlRuntimeError:
        return False
