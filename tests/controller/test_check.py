"""What the servos say of themselves against what the policy was trained for."""

from __future__ import annotations

import dataclasses

import pytest
from retort.controller import check_robot, compare
from retort.hardware.robot import Robot

from .conftest import FakeBus, make_contract


def reports_with(bus: FakeBus, name: str, /, **changes: object) -> list:
    return [
        dataclasses.replace(report, **changes) if report.name == name else report  # type: ignore[arg-type]
        for report in bus.reports
    ]


def test_a_robot_that_fits_has_no_mismatch(robot: Robot, bus: FakeBus) -> None:
    assert check_robot(make_contract(robot), robot, bus.reports, prepared=True) == ()


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("left_wheel", {"model": "xl330-m288"}, "servo model of left_wheel: robot has xl330-m288"),
        ("right_wheel", {"mode": "position"}, "operating mode of right_wheel: robot has position"),
        ("left_wheel", {"gains": {"velocity_p": 99}}, "velocity_p of left_wheel: robot has 99"),
        ("left_wheel", {"alert": True}, "left_wheel: reports a hardware error; free the robot"),
        ("imu", {"model": "toaster"}, "model of imu: robot has toaster"),
        (
            "imu",
            {"problems": ("its clock stands still.",)},
            "imu: its clock stands still; then run again",
        ),
        ("imu", {"name": "nobody"}, "imu: did not report; check cable"),
    ],
)
def test_a_device_that_does_not_fit_is_named_with_what_to_do(
    robot: Robot, bus: FakeBus, name: str, changes: dict[str, object], words: str
) -> None:
    reports = reports_with(bus, name, **changes)
    mismatches = check_robot(make_contract(robot), robot, reports, prepared=True)
    assert any(str(mismatch).startswith(words) for mismatch in mismatches)


def test_gains_count_only_once_they_have_been_written(robot: Robot, bus: FakeBus) -> None:
    reports = reports_with(bus, "left_wheel", gains={})
    assert check_robot(make_contract(robot), robot, reports) == ()
    assert len(check_robot(make_contract(robot), robot, reports, prepared=True)) == 5


def test_a_renamed_joint_is_no_matter_of_order(robot: Robot) -> None:
    (mismatch,) = compare(make_contract(robot, joints=("left_wheel", "arm")), robot)
    assert str(mismatch).startswith(
        "joint names: robot has ['right_wheel'], policy was trained for ['arm']; call them"
    )


def test_mismatches_of_file_and_servos_are_told_together(robot: Robot, bus: FakeBus) -> None:
    contract = make_contract(robot, control_rate=50.0, joints=("left_wheel", "arm"))
    reports = reports_with(bus, "left_wheel", mode="position")
    whats = [mismatch.what for mismatch in check_robot(contract, robot, reports)]
    assert whats == ["joint names", "control rate [Hz]", "operating mode of left_wheel"]
