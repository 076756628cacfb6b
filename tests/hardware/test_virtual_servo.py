"""Virtual servos keep the manual's rules. Everything goes over the wire, in virtual time."""

from __future__ import annotations

import dataclasses
import math

import pytest
from retort.hardware import DeviceError, Robot, load_model
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.codec import ALERT, Error
from retort.hardware.dynamixel.line import DynamixelLine
from retort.hardware.virtual import LockstepClock, LockstepPort, RigidPlant, VirtualRobot
from retort.hardware.virtual.device import BOOT, TICK_WRAP

SERVO = load_model("xl330-m077")


@dataclasses.dataclass
class Balancer:
    """Two wheels in current control and a sensor, and the line they are on."""

    virtual: VirtualRobot
    plant: RigidPlant
    clock: LockstepClock
    line: DynamixelLine

    def ready(self) -> None:
        """Torque on, bus watchdog at 100 ms."""
        for id in (1, 2):
            self.line.write(id, SERVO, "torque_enable", 1)
            self.line.write(id, SERVO, "bus_watchdog", 5)


@pytest.fixture
def rig(robot: Robot) -> Balancer:
    plant = RigidPlant(robot)
    virtual = VirtualRobot(robot, plant)
    clock = LockstepClock(virtual)
    return Balancer(virtual, plant, clock, DynamixelLine(LockstepPort(virtual, clock), clock))


@pytest.fixture
def line(rig) -> DynamixelLine:
    return rig.line


def error_of(line: DynamixelLine, name: str, value: int, id: int = 1) -> int | None:
    register = SERVO.register(name)
    status = line.ask(codec.write(id, register.address, register.encode(value)))
    return None if status is None else status.error


def test_ping_tells_model_and_firmware(line):
    assert line.ping(1) == (1190, 52)
    assert line.ping(10) == (49152, 1)
    assert line.ping(3) is None


def test_read_only_registers_refuse(line):
    assert error_of(line, "present_position", 0) == Error.ACCESS


def test_eeprom_is_locked_while_torque_is_on(line):
    assert error_of(line, "return_delay", 10) == Error.NONE
    line.write(1, SERVO, "torque_enable", 1)
    assert error_of(line, "return_delay", 20) == Error.ACCESS
    assert line.read(1, SERVO, "return_delay") == 10
    line.write(1, SERVO, "torque_enable", 0)
    assert error_of(line, "return_delay", 20) == Error.NONE


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("torque_enable", 2, Error.DATA_RANGE),
        ("operating_mode", 2, Error.DATA_RANGE),
        ("bus_watchdog", -1, Error.DATA_RANGE),
        ("goal_current", 1750, Error.NONE),
        ("goal_current", -1751, Error.DATA_RANGE),
        ("goal_velocity", 1621, Error.DATA_LIMIT),
    ],
)
def test_values_out_of_range_are_refused(line, name, value, error):
    before = line.read(1, SERVO, name)
    assert error_of(line, name, value) == error
    assert line.read(1, SERVO, name) == (before if error else value)


def test_goals_beyond_the_devices_own_limit_are_refused(line):
    line.write(1, SERVO, "current_limit", 500)
    assert error_of(line, "goal_current", 501) == Error.DATA_LIMIT
    assert error_of(line, "goal_current", -500) == Error.NONE


def test_part_of_a_register_cannot_be_written(line):
    assert line.ask(codec.write(1, 102, b"\x01")).error == Error.DATA_LENGTH


def test_a_write_over_several_registers_happens_whole_or_not_at_all(line):
    bad = SERVO.register("goal_current").encode(100) + SERVO.register("goal_velocity").encode(9999)
    assert line.ask(codec.write(1, 102, bad)).error == Error.DATA_RANGE
    assert line.read(1, SERVO, "goal_current") == 0


@pytest.mark.parametrize(("level", "pings", "reads", "writes"), [(0, 1, 0, 0), (1, 1, 1, 0)])
def test_status_return_level_silences(line, level, pings, reads, writes):
    line.write(1, SERVO, "status_return_level", 2)
    error_of(line, "status_return_level", level)
    assert (line.ping(1) is not None) == pings
    assert (line.ask(codec.read(1, 132, 4)) is not None) == reads
    assert (error_of(line, "led", 1) is not None) == writes


def test_unknown_instructions_are_called_so(line):
    assert line.ask(codec.frame(1, 0x77)).error == Error.INSTRUCTION


def test_goal_current_drives_only_with_torque_on(rig, line):
    line.write(1, SERVO, "goal_current", 300)
    rig.clock.sleep_until(rig.clock.now() + 0.05)
    assert rig.plant.motor(0)[2] == 0.0
    line.write(1, SERVO, "torque_enable", 1)
    rig.clock.sleep_until(rig.clock.now() + 0.01)
    assert rig.plant.motor(0)[2] == pytest.approx(0.3)
    assert line.read(1, SERVO, "present_current") == 300
    line.write(1, SERVO, "torque_enable", 0)
    rig.clock.sleep_until(rig.clock.now() + 0.01)
    assert rig.plant.motor(0)[2] == 0.0


def test_current_falls_along_the_torque_speed_line(rig, line):
    motor = SERVO.motor
    line.write(1, SERVO, "goal_current", 1470)
    line.write(1, SERVO, "torque_enable", 1)
    speed = 0.5 * motor.no_load_speed
    rig.plant.turn(0, 0.0, speed)
    rig.clock.sleep_until(rig.clock.now() + 1e-3)
    assert rig.plant.motor(0)[2] == pytest.approx(0.5 * motor.stall_current, rel=0.1)


def test_present_values_have_the_registers_resolution(rig, line):
    rig.plant.turn(0, 1.0, 0.0)
    assert line.read(1, SERVO, "present_position") == round(4096 / math.tau)
    assert line.read(1, SERVO, "present_voltage") == 50


def test_watchdog_stops_a_servo_whose_host_fell_silent(rig):
    """As with kill -9 of the host: no byte after the last tick."""
    rig.ready()
    for id in (1, 2):
        rig.line.write(id, SERVO, "goal_current", 300)
    last = rig.clock.now() - 11 * 1e-5  # the answer was no instruction
    rig.clock.sleep_until(last + 0.099)
    assert [servo.tripped for servo in rig.virtual.servos] == [False, False]
    assert rig.plant.motor(0)[2] != 0.0
    rig.clock.sleep_until(last + 0.12)
    assert [servo.tripped for servo in rig.virtual.servos] == [True, True]
    assert rig.plant.motor(0)[2] == rig.plant.motor(1)[2] == 0.0


def test_any_instruction_to_any_id_keeps_the_watchdog_quiet(rig, line):
    rig.ready()
    for _ in range(20):
        line.ping(77, attempts=1)
        rig.clock.sleep_until(rig.clock.now() + 0.05)
    assert not any(servo.tripped for servo in rig.virtual.servos)


def test_watchdog_counts_only_with_torque_on(rig):
    rig.line.write(1, SERVO, "bus_watchdog", 5)
    rig.clock.sleep_until(rig.clock.now() + 1.0)
    assert not any(servo.tripped for servo in rig.virtual.servos)


def test_a_tripped_watchdog_locks_goals_until_it_is_cleared(rig, line):
    rig.ready()
    rig.clock.sleep_until(rig.clock.now() + 0.2)
    assert line.read(1, SERVO, "bus_watchdog") == -1
    assert error_of(line, "goal_current", 10) == Error.DATA_RANGE
    assert error_of(line, "bus_watchdog", 50) == Error.DATA_RANGE
    assert line.read(1, SERVO, "bus_watchdog") == -1
    line.write(1, SERVO, "bus_watchdog", 0)
    assert error_of(line, "goal_current", 10) == Error.NONE


def test_an_error_in_the_shutdown_mask_takes_torque_until_a_reboot(rig, line):
    rig.ready()
    rig.virtual.servos[0].temperature = 71.0
    rig.clock.sleep_until(rig.clock.now() + 0.01)
    status = line.ask(codec.read(1, 70, 1))
    assert status.error & ALERT
    assert status.data == b"\x04"
    assert line.read(1, SERVO, "torque_enable") == 0
    rig.virtual.servos[0].temperature = 30.0
    assert error_of(line, "torque_enable", 1) == ALERT | Error.ACCESS
    line.reboot(1)
    rig.clock.sleep_until(rig.clock.now() + BOOT)
    line.write(1, SERVO, "torque_enable", 1)


def test_low_supply_is_a_voltage_error(rig, line):
    rig.plant.supply_voltage = 3.0
    rig.clock.sleep_until(rig.clock.now() + 0.01)
    assert line.read(1, SERVO, "hardware_error") == 1


def test_reboot_loses_ram_and_keeps_eeprom(rig, line):
    line.write(1, SERVO, "return_delay", 7)
    line.write(1, SERVO, "position_p", 1234)
    line.reboot(1)
    assert line.ping(1) is None
    rig.clock.sleep_until(rig.clock.now() + BOOT)
    assert line.read(1, SERVO, "return_delay") == 7
    assert line.read(1, SERVO, "position_p") == 400
    assert line.read(1, SERVO, "realtime_tick") < 200


def test_reboot_forgets_whole_turns(rig, line):
    rig.plant.turn(0, 10 * math.tau + 1.0)
    assert line.read(1, SERVO, "present_position") > 40_960
    line.reboot(1)
    rig.clock.sleep_until(rig.clock.now() + BOOT)
    assert line.read(1, SERVO, "present_position") == round(4096 / math.tau)


def test_startup_configuration_switches_torque_on_by_itself(rig, line):
    line.write(1, SERVO, "startup_configuration", 1)
    line.reboot(1)
    rig.clock.sleep_until(rig.clock.now() + BOOT)
    assert line.read(1, SERVO, "torque_enable") == 1


def test_drive_mode_bit_3_undoes_torque_off(rig, line):
    line.write(1, SERVO, "drive_mode", 8)
    line.write(1, SERVO, "goal_current", 100)
    assert line.read(1, SERVO, "torque_enable") == 1


def test_drive_mode_bit_0_reverses(rig, line):
    rig.plant.turn(0, 1.0)
    forward = line.read(1, SERVO, "present_position")
    line.write(1, SERVO, "drive_mode", 1)
    assert line.read(1, SERVO, "present_position") == -forward
    line.write(1, SERVO, "goal_current", 200)
    line.write(1, SERVO, "torque_enable", 1)
    rig.clock.sleep_until(rig.clock.now() + 0.01)
    assert rig.plant.motor(0)[2] == pytest.approx(-0.2)


def test_realtime_tick_wraps_behind_32767(rig, line):
    rig.clock.sleep_until(TICK_WRAP / 1000.0 + 0.5)
    assert 500 <= line.read(1, SERVO, "realtime_tick") <= 502


def test_position_mode_reaches_and_holds_its_goal(rig, line):
    line.write(1, SERVO, "operating_mode", 3)
    line.write(1, SERVO, "position_d", 200)
    line.write(1, SERVO, "torque_enable", 1)
    line.write(1, SERVO, "goal_position", 1024)
    rig.clock.sleep_until(rig.clock.now() + 1.5)
    assert line.read(1, SERVO, "present_position") == pytest.approx(1024, abs=30)
    assert error_of(line, "goal_position", 4096) == Error.DATA_LIMIT


def test_torque_on_in_position_mode_moves_nothing(rig, line):
    rig.plant.turn(0, 3 * math.tau + 2.0)
    line.write(1, SERVO, "operating_mode", 3)
    line.write(1, SERVO, "torque_enable", 1)
    rig.clock.sleep_until(rig.clock.now() + 0.2)
    assert rig.plant.motor(0)[0] == pytest.approx(3 * math.tau + 2.0, abs=0.01)
    assert 0 <= line.read(1, SERVO, "goal_position") <= 4095


def test_velocity_mode_reaches_its_goal(rig, line):
    line.write(1, SERVO, "operating_mode", 1)
    line.write(1, SERVO, "torque_enable", 1)
    line.write(1, SERVO, "goal_velocity", 200)
    rig.clock.sleep_until(rig.clock.now() + 3.0)
    assert line.read(1, SERVO, "present_velocity") == pytest.approx(200, abs=5)


def test_a_silent_device_is_an_error_outside_a_tick(line):
    with pytest.raises(DeviceError, match="device 5 does not answer"):
        line.read(5, SERVO, "led")
