"""A robot by name, by folder, by file."""

import pytest
from retort.hardware import RobotFileError, load_robot
from retort.hardware.robot import ROBOTS


def test_a_shipped_robot_is_found_whatever_else_has_its_name_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "balancer").symlink_to("/dev/null")  # as a link to a virtual robot's port
    assert load_robot("balancer").name == "balancer"


def test_a_robot_that_does_not_exist_names_those_that_do():
    with pytest.raises(RobotFileError, match="balancer"):
        load_robot("no-such-robot")


@pytest.mark.parametrize(
    ("line", "changed", "key"),
    [
        ("tilt = 0.8 ", "tilt = nan ", "safety.tilt"),
        ("tilt = 0.8 ", "tilt = 45 ", "safety.tilt is 45; it is in rad, use at most 3.14159265"),
        ("tilt = 0.15 ", "tilt = 8.0 ", "ramp.tilt is 8; it is in rad"),
        ("default = 0.0 ", "default = nan ", r"joint\[0\].default is nan"),
        ("limits = {", "limits = { position_max = -0.5,", r"joint\[0\].default is 0, and the posi"),
        ("slew = 15.0", "slew = -1.0", "safety.slew"),
        ("stale_ticks = 5 ", "stale_ticks = -3 ", "safety.stale_ticks"),
        ("temperature = 65.0", "temperature = nan", "safety.temperature"),
        ("effort = 0.15", "effort = nan", "effort"),
        ("zero = 0.0", "zero = inf", "zero"),
        ("watchdog = 0.1 ", "watchdog = nan ", "watchdog"),
        ("baud = 1_000_000", "baud = 12", "baud"),
        ("control_rate = 100.0", "control_rate = inf", "control_rate"),
        ("sign = 1 ", "sign = true ", r"joint\[0\].sign is True; it must be one of -1, 1"),
        ("baud = 1_000_000", "baud = 250_000", r"line\[0\].baud is 250000; a dynamixel2 line can"),
        ("position_p = 400", "position_p = -1", r"joint\[0\].gains.position_p is -1; use"),
        ("watchdog = 0.1 ", "watchdog = 0.0 ", "watchdog is 0.0; on a dynamixel2 line it is at"),
        ("control_rate = 100.0", "control_rate = 10.0", "at least two control periods, here 0.2 s"),
        ('name = "main"', 'name = "a/b"', "a line is named 'a/b'"),
        ('name = "main"', 'name = ""', "a line is named ''"),
        ('name = "left_wheel"', 'name = "imu"', "a joint is named 'imu'"),
        ('name = "left_wheel"', 'name = ""', "empty name"),
        ('name = "balancer"', 'folder = "/tmp"', "unknown key 'folder'"),
    ],
)
def test_values_that_would_switch_a_protection_off_or_cannot_be_are_refused(
    tmp_path, line, changed, key
):
    text = (ROBOTS / "balancer" / "robot.toml").read_text()
    assert line in text
    (tmp_path / "robot.toml").write_text(text.replace(line, changed, 1))
    with pytest.raises(RobotFileError, match=key):
        load_robot(tmp_path)


def test_a_ramp_that_waits_for_what_nothing_measures_is_refused(tmp_path):
    text = (ROBOTS / "arm6" / "robot.toml").read_text()
    (tmp_path / "robot.toml").write_text(text.replace('kind = "pose"', 'kind = "upright_still"'))
    with pytest.raises(RobotFileError, match="'upright_still' and there is no \\[imu\\]"):
        load_robot(tmp_path)
