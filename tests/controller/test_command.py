"""Scripts of commands."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from retort.controller import CommandError, CommandSpec, Schedule, constant, described
from retort.controller.command import resting, within_range
from retort.hardware.robot import Robot

from .conftest import make_contract


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (0.0, (0, 0)),
        (0.99, (0, 0)),
        (1.0, (0.2, 0)),
        (2.9, (0.2, 0)),
        (3.0, (-0.1, 1)),
        (99, (-0.1, 1)),
    ],
)
def test_each_entry_holds_from_its_time_on(
    robot: Robot, time: float, expected: tuple[float, float]
) -> None:
    schedule = Schedule(make_contract(robot), [(1.0, (0.2, 0.0)), (3.0, (-0.1, 1.0))])
    np.testing.assert_array_equal(schedule.command(time), expected)


def test_a_constant_command_holds_from_the_start(robot: Robot) -> None:
    contract = make_contract(robot)
    np.testing.assert_array_equal(constant(contract, (0.3, 1.0)).command(0.0), [0.3, 1.0])
    np.testing.assert_array_equal(constant(contract).command(5.0), [0.0, 0.0])


def test_where_nothing_is_asked_a_robot_stands_still_or_in_the_middle(robot: Robot) -> None:
    place = CommandSpec(name="x", unit="m", low=0.16, high=0.3)
    contract = make_contract(robot)
    contract = dataclasses.replace(contract, command=(place, *contract.command))
    np.testing.assert_allclose(resting(contract.command), [0.23, 0.0, 0.0])
    schedule = Schedule(contract, [(1.0, (0.2, 0.1, 0.0))])
    np.testing.assert_allclose(schedule.command(0.5), [0.23, 0.0, 0.0])
    assert described(contract, schedule.command(1.0)) == "x 0.2 m, speed 0.1 m/s, turn 0 rad/s"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            [(0.0, (1.0,))],
            r"has 1 values; this policy takes 2: speed -0\.5 to 0\.5 m/s, turn -2 to",
        ),
        (
            [(1.0, (0, 0)), (2.0, (0, 100))],
            r"at 2 s asks for turn 100 rad/s; .* turn -2 to 2 rad/s",
        ),
        ([(0.0, (np.nan, 0))], "asks for speed nan m/s"),
        ([(1.0, (0, 0)), (1.0, (0, 0))], "must increase"),
        ([(2.0, (0, 0)), (1.0, (0, 0))], "must increase"),
    ],
)
def test_a_script_that_is_not_right_is_refused(
    robot: Robot, entries: list[tuple[float, tuple[float, ...]]], words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        Schedule(make_contract(robot), entries)


@pytest.mark.parametrize("speed", [-9.0, -0.5, 0.0, 0.4999, 0.5, 0.5001, 9.0, np.inf, -np.inf])
def test_commands_stay_in_the_trained_range(robot: Robot, speed: float) -> None:
    command = within_range(make_contract(robot), np.array([speed, np.nan]))
    np.testing.assert_allclose(command, [np.clip(speed, -0.5, 0.5), 0.0])
    assert command.dtype == np.float32
