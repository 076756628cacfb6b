"""The page on robots has every key of robot.toml with its default, and every servo's motor."""

import re
from pathlib import Path

from retort.hardware.model_table import load_model, model_names
from retort.hardware.robot import Robot

from .tables import known, told

PAGE = Path(__file__).parents[2] / "docs" / "robots.md"


def test_every_key_stands_on_the_page_with_its_default():
    page, keys = told(PAGE), known(Robot)
    del keys["folder"]  # where robot.toml stands
    assert sorted(page) == sorted(keys)
    assert {key: (page[key], keys[key]) for key in keys if page[key] != keys[key]} == {}


def test_every_servo_stands_on_the_page_with_its_motor():
    rows = dict(re.findall(r"^\| `([\w-]+)` \| `([\d. ]+)` \|$", PAGE.read_text(), re.M))
    motors = {name: load_model(name).motor for name in model_names()}
    assert {name: tuple(map(float, numbers.split())) for name, numbers in rows.items()} == {
        name: (motor.voltage, motor.stall_torque, motor.no_load_speed)
        for name, motor in motors.items()
        if motor is not None
    }
