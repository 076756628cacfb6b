"""A joint within its limits is well; one beyond them is not, and the numbers say so."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
from retort.hardware.recover import Recovery, recover
from retort.hardware.robot import Limits

from .many_servos import Bench, robot_of

COUNT = math.tau / 4096


def recovered(protocol: str, model: str, angle: float) -> Recovery:
    """One servo limited to +-1.7 rad, standing at ``angle`` [rad]."""
    robot = robot_of((model,), protocols=(protocol,))
    limits = Limits(position_min=-1.7, position_max=1.7)
    joint = dataclasses.replace(robot.joint[0], zero=math.pi, limits=limits)
    bench = Bench(dataclasses.replace(robot, joint=(joint,)), supply=6.5)
    bench.plant.turn(0, math.pi + angle)
    bench.virtual.servos[0].reboot(-1.0)
    return recover(bench.bus)


@pytest.mark.parametrize(
    ("protocol", "model"), [("dynamixel2", "xl330-m288"), ("feetech", "sts3215")]
)
def test_a_joint_within_its_limits_has_no_problem_and_one_beyond_is_said_without_contradiction(
    protocol, model
):
    for angle in (-1.7 + COUNT, 0.0, 1.7 - COUNT):
        assert recovered(protocol, model, angle).problems == ()
    for angle in (-1.7 - 2 * COUNT, 1.7 + 2 * COUNT, 1.8):
        (problem,) = recovered(protocol, model, angle).problems
        said, low, high = map(float, re.findall(r"-?\d\.\d{3}", problem))
        assert not low <= said <= high, problem
