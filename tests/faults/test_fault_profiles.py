"""Profiles of faults: what is read is what was written, and a mistake is told what exists."""

from __future__ import annotations

import dataclasses
import math

import pytest
from retort.hardware import load_robot
from retort.hardware.robot import Ramp
from retort.hardware.virtual import FaultError, Faults, RigidPlant, VirtualRobot, load_faults
from retort.hardware.virtual.faults import (
    KINDS,
    Delay,
    Drop,
    IdClash,
    Overload,
    Silence,
    StaleImu,
    StuckEncoder,
    Unplug,
    parse_fault,
)

NEEDED = {"device": "left_wheel", "other": "right_wheel", "seconds": 0.01, "angle": 0.5}


def table(kind: str) -> dict:
    """The least that ``kind`` takes."""
    fields = dataclasses.fields(KINDS[kind])
    wanted = [f.name for f in fields if f.default is dataclasses.MISSING]
    return {"kind": kind, **{name: NEEDED[name] for name in wanted}}


def test_a_profile_is_read_as_written(tmp_path):
    path = tmp_path / "faults.toml"
    path.write_text(
        "seed = 7\n"
        '[[fault]]\nkind = "drop"\nrate = 0.01\n'
        '[[fault]]\nkind = "silence"\ndevice = "imu"\nat = 1\nuntil = 2.5\n'
        '[[fault]]\nkind = "delay"\nseconds = 0.02\n'
    )
    faults = load_faults(path)
    assert faults.seed == 7
    assert tuple(faults) == (
        Drop(rate=0.01),
        Silence(device="imu", at=1.0, until=2.5),
        Delay(seconds=0.02),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_parsed_and_accepted_by_a_robot(kind):
    fault = parse_fault(table(kind))
    assert type(fault) is KINDS[kind]
    robot = load_robot("balancer")
    virtual = VirtualRobot(robot, RigidPlant(robot), faults=Faults(fault))
    virtual.advance(0.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[fault]]\nkind = "explode"\n', "'explode'; the kinds are drop, corrupt"),
        ('[[fault]]\nkind = "drop"\nprobability = 1\n', "the keys are at, device, rate, until"),
        ('[[fault]]\nkind = "silence"\n', "faults.toml: fault[0]: silence lacks the key 'device'"),
        ('[[fault]]\nkind = "silense"\n', "'silense' (did you mean 'silence'?); the kinds are"),
        ('[[fault]]\nkind = "drop"\nrate = 2.0\n', "probability"),
        ('[[fault]]\nkind = "drop"\nat = 2.0\nuntil = 1.0\n', "later than at"),
        ('[[fault]]\nkind = "drop"\nat = nan\n', "at is nan"),
        ('[[fault]]\nkind = "jumping_encoder"\ndevice = "imu"\nangle = nan\n', "angle is nan"),
        ("[[faults]]\n", "the keys are fault, seed"),
        ("seed = -1\n", "must not be negative"),
        ("seed = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_told_what_exists(tmp_path, text, said):
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(FaultError, match=r"faults\.toml") as raised:
        load_faults(path)
    assert said in str(raised.value)


def test_a_missing_profile_is_one_sentence(tmp_path):
    with pytest.raises(FaultError, match="cannot be read"):
        load_faults(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Silence(device="elbow"), "^silence has device 'elbow'; .* left_wheel, right_wheel, imu"),
        (
            StuckEncoder(device="left_weel"),
            r"^stuck_encoder has .* \(did you mean 'left_wheel'\?\)",
        ),
        (Unplug(line="second"), "main"),
        (Overload(device="imu"), "for a servo"),
        (StuckEncoder(device="imu"), "for a servo"),
        (IdClash(device="imu", other="imu"), "two devices"),
        (IdClash(device="imu", other=""), "has other ''"),
        (Silence(device=""), "has device ''"),
    ],
)
def test_what_a_robot_does_not_have_is_refused(fault, said):
    robot = load_robot("balancer")
    with pytest.raises(FaultError, match=said):
        VirtualRobot(robot, RigidPlant(robot), faults=Faults(fault))


def test_a_robot_without_a_sensor_has_none_that_could_be_stale():
    robot = load_robot("balancer")
    order = dataclasses.replace(robot.read, order=robot.joints)
    blind = dataclasses.replace(robot, imu=None, read=order, ramp=Ramp(kind="pose"))
    with pytest.raises(FaultError, match="no inertial sensor"):
        VirtualRobot(blind, RigidPlant(blind), faults=Faults(StaleImu()))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_a_delay_that_cannot_be_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds"):
        Delay(seconds=seconds)
