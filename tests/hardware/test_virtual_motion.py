"""Virtual servos turn, hold, droop, warm up and give up as the data sheet and the gains say."""

from __future__ import annotations

import numpy as np
import pytest
from retort.hardware import RobotFileError, load_model
from retort.hardware.virtual.protection import OVERHEATING, OVERLOAD, VOLTAGE_ERROR

MODELS = ("xl330-m288", "xl330-m077", "xl430-w250", "xm430-w350")
RPM = 0.229  # of one velocity count
POSITION, EXTENDED, CURRENT_POSITION, PWM = 3, 4, 5, 16

DATASHEET = {  # e-manual, at the recommended voltage: [N·m], [rpm]
    "xl330-m288": (0.52, 103.0),
    "xl330-m077": (0.215, 383.0),
    "xl430-w250": (1.4, 57.0),
    "xm430-w350": (4.1, 46.0),
}


def at(line, mode: int):
    """The line's first servo in another mode, torque on."""
    line.write("operating_mode", mode)
    line.write("torque_enable", 1)
    return line


RATED = [(model, None, *values) for model, values in DATASHEET.items()] + [
    (model, voltage, *values)  # where the e-manual has other voltages [V]
    for model, points in {
        "xl330-m288": {3.7: (0.42, 76.0), 6.0: (0.60, 123.0)},
        "xl330-m077": {3.7: (0.180, 278.0), 6.0: (0.228, 456.0)},
    }.items()
    for voltage, values in points.items()
]


@pytest.mark.parametrize(("model", "supply", "torque", "rpm"), RATED)
def test_no_load_speed_is_the_data_sheets(servo_line, model, supply, torque, rpm):
    line = at(servo_line(model, friction=0.0, supply=supply), PWM)
    line.write("goal_pwm", 885)
    line.wait(2.0)
    assert line.read("present_velocity") * RPM == pytest.approx(rpm, rel=0.03)
    assert line.read("present_pwm") == 885


@pytest.mark.parametrize(("model", "supply", "torque", "rpm"), RATED)
def test_stall_torque_is_the_data_sheets(servo_line, model, supply, torque, rpm):
    """The load that full voltage just cannot lift is within 3 % of it."""
    motion = []
    for share in (0.97, 1.03):
        line = at(servo_line(model, friction=0.0, supply=supply), PWM)
        line.write("goal_pwm", 885)
        line.plant.load(0, -share * torque)
        line.wait(0.3)
        motion.append(line.read("present_velocity"))
    assert motion[0] > 0 > motion[1]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_held_position_droops_as_the_p_gain_says(servo_line, model, share):
    """Counts of error times P/128 is the PWM whose torque carries the load."""
    line = at(servo_line(model, friction=0.0), POSITION)
    line.write("position_i", 0)  # the XL330-M077 begins with some
    line.write("goal_position", 1024)
    line.wait(1.0)
    assert line.read("present_position") == pytest.approx(1024, abs=1)
    line.plant.load(0, -share * DATASHEET[model][0])
    line.wait(1.0)
    droop = share * 885 / (line.read("position_p") / 128)
    assert 1024 - line.read("present_position") == pytest.approx(droop, abs=1.5)
    line.write("position_p", 2 * line.read("position_p"))
    line.wait(1.0)
    assert 1024 - line.read("present_position") == pytest.approx(droop / 2, abs=1.5)


def test_the_integral_takes_the_droop_away(servo_line):
    line = at(servo_line(friction=0.0), POSITION)
    line.write("position_i", 400)
    line.write("goal_position", 1024)
    line.plant.load(0, -0.1)
    line.wait(4.0)
    assert line.read("present_position") == pytest.approx(1024, abs=2)


def test_the_derivative_damps(servo_line):
    def overshoot(gain: int) -> int:
        line = at(servo_line("xl330-m077"), POSITION)
        line.write("position_d", gain)
        line.write("goal_position", 1024)
        positions = []
        for _ in range(50):
            line.wait(0.005)
            positions.append(line.read("present_position"))
        return max(positions) - 1024

    assert overshoot(0) > 100
    assert overshoot(1500) < 0.3 * overshoot(0)


def test_goal_pwm_limits_what_the_loop_may_use(servo_line):
    line = at(servo_line(), POSITION)
    line.write("goal_pwm", 200)
    line.write("goal_position", 4000)
    line.wait(0.2)
    assert line.read("present_pwm") == 200
    assert line.read("present_velocity") * RPM < 0.25 * DATASHEET["xl330-m288"][1]


def test_pwm_rises_along_its_slope(servo_line):
    """The manual's example: 140 units at 5 V take 18 ms from 0 to full."""
    line = at(servo_line(), PWM)
    line.plant.block(0)
    line.write("goal_pwm", 885)
    line.wait(0.008)
    assert 0 < line.read("present_pwm") < 700
    line.wait(0.012)
    assert line.read("present_pwm") == 885


@pytest.mark.parametrize("model", MODELS)
def test_velocity_mode_holds_its_goal_under_load(servo_line, model):
    line = servo_line(model, mode="velocity")
    line.write("torque_enable", 1)
    line.write("goal_velocity", 100)
    line.wait(2.0)
    assert line.read("present_velocity") == pytest.approx(100, abs=2)
    line.plant.load(0, -0.2 * DATASHEET[model][0])
    line.wait(2.0)
    assert line.read("present_velocity") == pytest.approx(100, abs=2)


@pytest.mark.parametrize(("drive_mode", "ramp"), [(0, 64), (4, 1000)])
def test_velocity_ramps_take_the_manuals_time(servo_line, drive_mode, ramp):
    """Both 1 s: 64 * goal / acceleration in ms by velocity, acceleration in ms by time."""
    line = servo_line(mode="velocity")
    line.write("drive_mode", drive_mode)
    line.write("profile_acceleration", 10 if drive_mode == 0 else ramp)
    line.write("torque_enable", 1)
    line.write("goal_velocity", 156)
    line.wait(0.5)
    assert line.read("velocity_trajectory") == pytest.approx(78, abs=1)
    line.wait(0.6)
    assert line.read("velocity_trajectory") == 156


def test_a_position_profile_is_followed(servo_line):
    line = at(servo_line(), POSITION)
    line.write("feedforward_velocity", 500)
    line.write("profile_velocity", 100)  # 1563 counts/s
    line.write("profile_acceleration", 20)  # 4883 counts/s², 0.32 s to speed
    line.write("goal_position", 3000)
    line.wait(1.0)
    assert line.read("velocity_trajectory") == pytest.approx(100, abs=1)
    assert line.read("present_velocity") == pytest.approx(100, abs=8)
    wanted = 1563.3 * (1.0 - 0.32 / 2)
    assert line.read("position_trajectory") == pytest.approx(wanted, abs=10)
    assert line.read("present_position") == pytest.approx(wanted, abs=60)
    assert line.read("moving") == 1
    assert line.read("moving_status") == 0b110010  # trapezoid, under way
    line.wait(1.6)
    assert line.read("moving_status") == 0b110001  # there
    assert line.read("moving") == 0


def test_a_time_based_profile_arrives_in_time(servo_line):
    line = servo_line()
    line.write("drive_mode", 4)
    line.write("torque_enable", 1)
    line.write("profile_velocity", 1000)  # [ms]
    line.write("profile_acceleration", 300)  # [ms]
    line.write("goal_position", 2000)
    line.wait(0.5)
    assert line.read("position_trajectory") == pytest.approx(1000, abs=10)
    line.wait(0.46)
    assert line.read("moving_status") & 2
    line.wait(0.06)
    assert line.read("moving_status") & 2 == 0
    assert line.read("position_trajectory") == 2000


def test_feedforward_takes_the_lag_out_of_a_profile(servo_line):
    def lag(gain: int) -> int:
        line = at(servo_line(), POSITION)
        line.write("feedforward_velocity", gain)
        line.write("profile_velocity", 100)
        line.write("goal_position", 3000)
        line.wait(1.0)
        return line.read("position_trajectory") - line.read("present_position")

    assert lag(0) > 40
    assert abs(lag(500)) < 0.2 * lag(0)


def test_a_blocked_servo_says_that_it_does_not_follow(servo_line):
    line = at(servo_line(), POSITION)
    line.plant.block(0)
    line.write("goal_position", 500)
    line.wait(0.1)
    assert line.read("moving_status") == 0b001000


def test_current_based_position_never_exceeds_its_goal_current(servo_line):
    line = at(servo_line(), CURRENT_POSITION)
    line.write("goal_current", 200)
    line.write("goal_position", 10_000)
    line.plant.block(0)
    line.wait(0.1)
    assert line.read("present_current") == 200
    line.plant.block(0, False)
    line.wait(0.1)
    assert abs(line.read("present_current")) <= 200
    assert line.read("present_position") > 0


def test_goal_pwm_limits_current_control_too(servo_line):
    line = servo_line(mode="effort")
    line.write("torque_enable", 1)
    line.write("goal_current", 1000)
    line.plant.block(0)
    line.wait(0.01)
    assert line.read("present_current") == 1000
    line.write("goal_pwm", 300)
    line.wait(0.01)
    limited = 300 / 885 * 1.47 * 1000
    assert line.read("present_current") == pytest.approx(limited, rel=0.01)


def test_extended_position_turns_many_times(servo_line):
    line = at(servo_line("xl330-m077"), EXTENDED)
    line.write("position_d", 1500)
    line.write("goal_position", -20_000)
    line.wait(3.0)
    assert line.read("present_position") == pytest.approx(-20_000, abs=10)


def test_load_is_told_in_tenths_of_a_percent_where_there_is_no_current(servo_line):
    line = at(servo_line("xl430-w250"), PWM)
    line.plant.block(0)
    line.write("goal_pwm", -443)
    line.wait(0.05)
    assert line.read("present_load") == pytest.approx(-500, abs=1)


def test_the_supply_sags_under_load(servo_line):
    line = at(servo_line("xl330-m288", "xl330-m288", supply_resistance=0.5), PWM)
    assert line.read("present_voltage") == 50
    line.plant.block(0)
    line.write("goal_pwm", 885)
    line.wait(0.05)
    current = 5.0 / (0.5 + 5.0 / 1.47)
    volts = 5.0 - 0.5 * current
    assert line.read("present_voltage") == pytest.approx(volts * 10, abs=1)
    assert line.read("present_voltage", 2) == line.read("present_voltage")
    assert line.read("present_current") == pytest.approx(current * 1000, rel=0.03)


def test_a_supply_that_breaks_down_is_latched(servo_line):
    line = at(servo_line(supply=4.0, supply_resistance=1.0), PWM)
    line.plant.block(0)
    line.write("goal_pwm", 885)
    line.wait(0.1)
    assert line.servos[0].registers["hardware_error"] == VOLTAGE_ERROR
    assert not line.servos[0].torque


def test_a_blocked_servo_gives_up_by_overload(servo_line):
    line = at(servo_line(), POSITION)
    line.plant.block(0)
    line.write("goal_position", 3000)
    line.wait(4.0)
    assert line.read("hardware_error") == 0
    line.wait(1.5)
    assert line.read("hardware_error") == OVERLOAD
    assert line.read("torque_enable") == 0
    assert line.read("present_current") == 0


def test_a_light_load_is_held_for_ever(servo_line):
    """A fifth of the stall torque, as the maker advises."""
    line = at(servo_line(), POSITION)
    line.plant.load(0, -0.2 * DATASHEET["xl330-m288"][0])
    line.wait(30.0)
    assert line.read("hardware_error") == 0
    assert line.read("torque_enable") == 1


@pytest.mark.parametrize("model", ["xl330-m288", "xm430-w350"])
def test_a_blocked_servo_heats_and_shuts_down(servo_line, model):
    line = servo_line(model)
    line.write("shutdown", OVERHEATING)  # overload is only told
    at(line, PWM)
    line.plant.block(0)
    line.write("goal_pwm", 885)
    limit = load_model(model).register("temperature_limit").default
    seen = [line.read("present_temperature")]
    while line.servos[0].torque and line.clock.now() < 600.0:
        line.wait(5.0)
        seen.append(line.read("present_temperature"))
    assert line.read("hardware_error") == OVERHEATING | OVERLOAD
    assert seen == sorted(seen)
    assert limit <= seen[-1] <= limit + 2
    assert 30.0 < line.clock.now() < 600.0
    line.wait(200.0)
    assert line.read("present_temperature") < limit
    assert line.write("torque_enable", 1) != 0


def test_heat_is_not_lost_by_a_reboot(servo_line):
    line = servo_line()
    line.servos[0].temperature = 60.0
    line.servos[0].reboot(line.clock.now())
    line.wait(0.4)
    assert line.read("present_temperature") == 60


def test_a_mode_the_model_does_not_have_is_refused(servo_line):
    with pytest.raises(RobotFileError, match="xl430-w250"):
        servo_line("xl430-w250", mode="effort")


def test_the_same_run_gives_the_same_numbers(servo_line):
    def run() -> np.ndarray:
        line = at(servo_line(*MODELS[:2]), POSITION)
        line.write("goal_position", 2000)
        positions = []
        for _ in range(20):
            line.wait(0.01)
            positions.append((line.read("present_position"), line.read("present_current")))
        return np.array(positions)

    np.testing.assert_array_equal(run(), run())
