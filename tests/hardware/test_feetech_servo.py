"""A virtual STS servo does what the memory map says, by the motor of the data sheet."""

from __future__ import annotations

import dataclasses
import math

import pytest
from retort.hardware import RobotFileError, load_model, load_robot
from retort.hardware.feetech import codec
from retort.hardware.feetech.codec import Error
from retort.hardware.robot import Joint, Ramp
from retort.hardware.virtual import RigidPlant, VirtualRobot
from retort.hardware.virtual.feetech_loops import PERIOD
from retort.hardware.virtual.feetech_servo import FeetechServo

COUNT = math.tau / 4096
POSITION, VELOCITY, PWM, STEP = range(4)


class Bench:
    """One servo on a flywheel, written to and read from by register name."""

    def __init__(self, model: str = "sts3215", mode: str = "position", **plant) -> None:
        joint = Joint(name="shaft", line="main", id=1, servo=model, mode=mode)
        robot = dataclasses.replace(
            load_robot("balancer"),
            joint=(joint,),
            imu=None,
            ramp=Ramp(kind="pose"),
            read=_order("shaft"),
        )
        self.plant = RigidPlant(robot, **{"inertia": 0.02, "friction": 0.0, **plant})
        self.plant.turn(0, math.pi)
        self.servo = FeetechServo("shaft", load_model(model), 1, 1_000_000, mode, self.plant, 0)
        self.servo.reboot(-1.0)
        self.time = 0.0

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / PERIOD)):
            self.time += PERIOD
            self.plant.advance(self.time)
            self.servo.supervise(self.time)
            if self.servo.controlling:
                self.servo.control()

    def write(self, **values: int) -> None:
        for name, value in values.items():
            register = self.servo.table.register(name)
            self.servo.write(register.address, register.encode(value))

    def __getitem__(self, name: str) -> int:
        register = self.servo.table.register(name)
        return register.decode(self.servo.read(register.address, register.size, self.time))


def _order(*names: str):
    return dataclasses.replace(load_robot("balancer").read, order=names)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# The motor of the data sheet


@pytest.mark.parametrize(
    ("model", "torque", "speed"),
    [("sts3215", 19.5, 52.0), ("sts3215-12v", 30.0, 45.0)],  # [kg·cm], [rpm]
)
def test_stall_torque_and_no_load_speed_are_the_data_sheets(model, torque, speed):
    bench = Bench(model)
    bench.write(operating_mode=PWM, torque_enable=1, goal_time=1000)
    bench.run(1.0)
    assert bench["present_velocity"] * 60 / 4096 == pytest.approx(speed, rel=0.03)
    bench.plant.block(0)
    bench.run(0.1)
    motor = bench.servo.table.motor
    assert motor is not None
    measured = bench["present_current"] * 0.0065 * motor.torque_constant / 9.81 * 100
    assert measured == pytest.approx(torque, rel=0.03)


@pytest.mark.parametrize("p", [16, 32, 64])
def test_it_droops_under_load_as_its_p_gain_says(p):
    bench = Bench()
    bench.write(position_p=p, torque_enable=1)
    bench.plant.load(0, -0.5)
    bench.run(2.0)
    motor = bench.servo.table.motor
    assert motor is not None
    duty = 0.5 / motor.stall_torque
    assert 2048 - bench["present_position"] == pytest.approx(4000 * duty / p, abs=2)
    assert bench["present_load"] == pytest.approx(1000 * duty, abs=8 + p / 2)  # a count or two


def test_an_integral_gain_takes_the_droop_away():
    bench = Bench()
    bench.write(position_i=60, torque_enable=1)
    bench.plant.load(0, -0.5)
    bench.run(4.0)
    assert 2048 - bench["present_position"] <= bench["cw_dead_zone"]


# Motion


def test_it_goes_where_it_is_told_and_says_so_while_it_moves(bench):
    bench.write(torque_enable=1, goal_position=2548)
    bench.run(0.05)
    assert bench["moving"] == 1
    bench.run(2.0)
    assert bench["present_position"] == pytest.approx(2548, abs=2)
    assert bench["moving"] == 0


def test_speed_and_acceleration_shape_the_way(bench):
    bench.write(torque_enable=1, acceleration=10, goal_velocity=500, goal_position=3048)
    bench.run(0.25)
    assert bench["position_trajectory"] - 2048 == pytest.approx(0.5 * 1000 * 0.25**2, abs=2)
    bench.run(0.75)
    assert bench["present_velocity"] == pytest.approx(500, abs=25)
    assert bench["position_trajectory"] - 2048 == pytest.approx(125 + 250, abs=2)


def test_a_goal_time_is_kept(bench):
    bench.write(torque_enable=1, goal_time=800, goal_position=2448)
    bench.run(0.4)
    assert bench["position_trajectory"] == pytest.approx(2248, abs=2)
    bench.run(0.6)
    assert bench["present_position"] == pytest.approx(2448, abs=2)


def test_no_goal_leads_beyond_the_position_limits(bench):
    bench.write(max_position_limit=2500, torque_enable=1, goal_position=4000)
    bench.run(2.0)
    assert bench["present_position"] == pytest.approx(2500, abs=2)


@pytest.mark.parametrize("goal", [1000, -400])
def test_speed_mode_holds_its_speed(goal):
    bench = Bench(mode="velocity", friction=0.1)
    bench.write(torque_enable=1, goal_velocity=goal)
    bench.run(4.0)
    assert bench["present_velocity"] == pytest.approx(goal, abs=10)


def test_step_mode_counts_steps_from_where_it_is(bench):
    bench.write(operating_mode=STEP, min_position_limit=0, max_position_limit=0, torque_enable=1)
    bench.write(goal_position=3000)
    bench.write(goal_position=3000)
    bench.run(4.0)
    assert bench.plant.motor(0)[0] == pytest.approx(math.pi + 6000 * COUNT, abs=3 * COUNT)


def test_without_torque_nothing_is_driven(bench):
    bench.write(goal_position=3000)
    bench.run(0.5)
    assert bench["present_position"] == 2048


def test_damping_brakes_a_shaft_that_turns():
    free, damped = Bench(), Bench()
    damped.write(torque_enable=2)
    for bench in (free, damped):
        bench.plant.turn(0, math.pi, 5.0)
        bench.run(0.2)
    assert abs(damped["present_velocity"]) < 0.1 * abs(free["present_velocity"])


def test_the_torque_limit_limits_the_duty(bench):
    bench.plant.block(0)
    bench.write(torque_enable=1, torque_limit=300, goal_position=4000)
    bench.run(0.5)
    assert bench["present_load"] == 300


# Angles


def test_present_is_actual_minus_offset(bench):
    bench.write(homing_offset=-100)
    assert bench["present_position"] == 2148
    register = bench.servo.table.register("homing_offset")
    assert bench.servo.read(register.address, 2, 0.0) == bytes((100, 0x08))  # bit 11 is the sign


def test_128_makes_here_the_middle_for_good(bench):
    bench.plant.turn(0, 3000 * COUNT)
    bench.write(lock=1, torque_enable=128)
    assert (bench["present_position"], bench["homing_offset"]) == (2048, 952)
    assert bench["torque_enable"] == 0
    bench.servo.reboot(1.0)
    assert bench["present_position"] == 2048


def test_feedback_is_within_one_turn_unless_phase_says_otherwise(bench):
    bench.plant.turn(0, math.tau + 10 * COUNT)
    assert bench["present_position"] == 10
    bench.write(phase=12 | 16)
    assert bench["present_position"] == 4106
    bench.plant.turn(0, -10 * COUNT)
    assert bench["present_position"] == -10
    bench.servo.reboot(1.0)  # the turns are forgotten
    bench.write(phase=12 | 16)
    assert bench["present_position"] == 4086


def test_phase_reverses_sensor_and_drive_and_chooses_the_speeds_unit(bench):
    bench.write(phase=12 | 128 | 1)
    bench.servo.reboot(0.0)  # was not saved: the lock is on
    assert bench["phase"] == 12
    bench.write(lock=0, phase=8 | 128 | 1)
    bench.servo.reboot(0.0)
    bench.plant.turn(0, 1000 * COUNT, 500 * COUNT)
    assert bench["present_position"] == 4096 - 1000
    assert bench["present_velocity"] == -10  # in 50 counts/s
    bench.write(torque_enable=1, goal_position=2000)
    bench.run(2.0)
    assert bench["present_position"] == pytest.approx(2000, abs=2)


# Memory


def test_eeprom_written_under_lock_is_lost_with_power(bench):
    bench.write(position_p=10)
    assert bench["position_p"] == 10
    bench.servo.reboot(0.0)
    assert bench["position_p"] == 32
    bench.write(lock=0, position_p=10)
    bench.servo.reboot(0.0)
    assert bench["position_p"] == 10


def test_power_takes_ram_and_brings_the_torque_limit(bench):
    bench.write(lock=0, max_torque=600)
    bench.write(torque_enable=1, torque_limit=100, goal_velocity=7)
    bench.servo.reboot(0.0)
    assert [bench[n] for n in ("torque_enable", "torque_limit", "goal_velocity")] == [0, 600, 0]
    assert not bench.servo.listening(0.05)
    assert bench.servo.listening(0.2)


def test_what_may_not_be_written_stays(bench):
    bench.write(present_position=7, operating_mode=9, torque_enable=3)
    assert (bench["present_position"], bench["operating_mode"]) == (2048, 0)
    assert bench["torque_enable"] == 0


def test_one_byte_of_two_can_be_written(bench):
    bench.write(goal_position=0x0102)
    bench.servo.write(43, b"\x03")
    assert bench["goal_position"] == 0x0302


def test_a_reg_write_waits_for_action(bench):
    bench.servo.reg_write(42, (2100).to_bytes(2, "little"))
    assert (bench["goal_position"], bench["registered_instruction"]) == (2048, 1)
    bench.servo.action()
    assert (bench["goal_position"], bench["registered_instruction"]) == (2100, 0)
    bench.write(goal_position=2000)
    bench.servo.action()
    assert bench["goal_position"] == 2000


# Protections


def blocked(**registers: int) -> Bench:
    bench = Bench()
    bench.plant.block(0)
    bench.write(**registers, torque_enable=1, goal_position=4000)
    return bench


def test_a_blocked_servo_gives_up_most_of_its_torque_after_the_protection_time():
    bench = blocked()
    bench.run(1.99)
    assert (bench["present_load"], bench["hardware_error"]) == (1000, 0)
    bench.run(0.05)
    assert (bench["present_load"], bench["hardware_error"]) == (200, Error.OVERLOAD)


def test_overload_ends_away_from_the_obstacle_or_with_torque_off():
    for mend in ({"goal_position": 1000}, {"torque_enable": 0}):
        bench = blocked()
        bench.run(2.1)
        bench.write(goal_position=3999)  # further into it: nothing changes
        bench.run(0.01)
        assert bench["hardware_error"] == Error.OVERLOAD
        bench.write(**mend)
        bench.run(0.01)
        assert bench["hardware_error"] == 0


def test_a_servo_that_only_turns_fast_is_not_overloaded():
    bench = Bench()
    bench.write(operating_mode=PWM, torque_enable=1, goal_time=1000)
    bench.run(3.0)
    assert bench["hardware_error"] == 0


def test_too_much_current_for_too_long_takes_torque():
    bench = blocked(protection_current=150, overcurrent_time=50)
    bench.run(0.49)
    assert bench["hardware_error"] == 0
    bench.run(0.05)
    assert bench["hardware_error"] == Error.CURRENT
    assert bench["present_load"] == 0


def test_a_blocked_load_heats_it_until_it_shuts_down_and_it_cools_again():
    bench = blocked(torque_limit=700)  # below the overload threshold
    bench.write(temperature_limit=60)
    bench.servo.protection.winding.air = 45.0
    bench.servo.protection.winding.cool()
    bench.run(60.0)
    assert 46 < bench["present_temperature"] < 70
    assert bench["present_load"] == 700
    while bench["hardware_error"] == 0 and bench.time < 400.0:
        bench.run(5.0)
    assert bench["hardware_error"] == Error.OVERHEAT
    assert bench["present_load"] == 0
    assert bench["torque_enable"] == 1
    bench.servo.temperature = 40.0
    bench.run(0.01)
    assert bench["hardware_error"] == 0


def test_protections_that_are_switched_off_only_tell(bench):
    bench.write(unload_condition=0, torque_enable=1)
    bench.servo.temperature = 90.0
    bench.plant.load(0, -0.5)
    bench.run(0.5)
    assert bench["hardware_error"] == Error.OVERHEAT
    assert bench["present_load"] > 200


def test_voltage_and_encoder_are_watched(bench):
    bench.plant.supply_voltage = 3.5
    bench.run(0.002)
    assert (bench["hardware_error"], bench["present_voltage"]) == (Error.VOLTAGE, 35)
    bench.plant.supply_voltage = 7.4
    bench.servo.protection.encoder_fault = True
    bench.run(0.002)
    assert bench["hardware_error"] == Error.ENCODER


def test_when_the_host_dies_the_last_goal_stays_active(bench):
    bench.write(torque_enable=1, goal_position=2548)
    bench.run(30.0)
    assert bench["present_position"] == pytest.approx(2548, abs=2)
    assert bench.servo.watchdog_due == math.inf


@pytest.mark.parametrize("length", [254, 255])
@pytest.mark.parametrize("together", [False, True])
def test_more_than_an_answer_can_hold_is_not_answered(length, together):
    robot = load_robot("arm6")
    virtual = VirtualRobot(robot, RigidPlant(robot))
    ask = codec.sync_read([1, 2], 0, length) if together else codec.read(1, 0, length)
    for packet, heard in ((ask, b""), (codec.ping(1), codec.status(1, 0))):
        virtual.write(packet)
        virtual.advance(virtual.time + 0.01)
        assert virtual.line.take(virtual.time) == heard


def test_a_virtual_robots_servos_have_the_gains_of_robot_toml_even_after_a_power_cut():
    arm = load_robot("arm6")
    first, *rest = arm.joint
    softer = dataclasses.replace(first, gains={"position_p": 16})
    virtual = VirtualRobot(dataclasses.replace(arm, joint=(softer, *rest)), RigidPlant(arm))
    assert [servo.registers["position_p"] for servo in virtual.servos] == [16, *5 * [32]]
    virtual.servos[0].reboot(virtual.time)
    assert virtual.servos[0].registers["position_p"] == 16
    for gains in ({"positon_p": 16}, {"position_p": 255}, {"torque_limit": 5}):
        wrong = dataclasses.replace(first, gains=gains)
        with pytest.raises(RobotFileError, match="shoulder_pan: a sts3215 takes no"):
            VirtualRobot(dataclasses.replace(arm, joint=(wrong, *rest)), RigidPlant(arm))
