"""Does a policy fit this robot? Compared before torque, with the file and with the servos."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from ..hardware.bus import DeviceReport
from ..hardware.robot import Robot
from .contract import Contract, Mismatch, compare


@dataclasses.dataclass(frozen=True)
class DeviceProblem(Mismatch):
    """Something a device says of itself that must be mended before torque."""

    def __str__(self) -> str:
        return f"{self.what}: {self.got}; {self.remedy}"


def check_robot(
    contract: Contract, robot: Robot, reports: Sequence[DeviceReport], prepared: bool = False
) -> tuple[Mismatch, ...]:
    """Every way in which a policy does not fit a robot; empty if it fits.

    Args:
        contract: of the policy.
        robot: from robot.toml.
        reports: from ``Bus.identify``.
        prepared: gains have been written (``Bus.prepare``), so the servos must report them.
    """
    return compare(contract, robot) + tuple(_devices(contract, robot, reports, prepared))


def _devices(
    contract: Contract, robot: Robot, reports: Sequence[DeviceReport], prepared: bool
) -> Iterable[Mismatch]:
    by_name = {report.name: report for report in reports}
    named = dict(zip(contract.joints, range(len(contract.joints)), strict=True))
    for name in robot.read.order:
        report = by_name.get(name)
        if report is None:
            yield DeviceProblem(name, "did not report", "a report", "check cable, id and supply")
            continue
        for problem in report.problems:
            yield DeviceProblem(name, problem.rstrip("."), "no problem", "then run again")
        if report.alert:
            yield DeviceProblem(
                name,
                "reports a hardware error",
                "no error",
                "free the robot, let it cool and reboot the servo",
            )
        if name == "imu":
            if robot.imu is not None and report.model != robot.imu.model:
                yield Mismatch(
                    "model of imu", report.model, robot.imu.model, "fit that sensor board"
                )
            continue
        if name not in named:
            continue  # the joint lists differ, which `compare` has said
        joint = named[name]
        if report.model != contract.servos[joint]:
            yield Mismatch(
                f"servo model of {name}",
                report.model,
                contract.servos[joint],
                "fit that servo or train again with this one",
            )
        if report.mode != contract.modes[joint]:
            yield Mismatch(
                f"operating mode of {name}",
                report.mode,
                contract.modes[joint],
                "set the servo's operating mode with its maker's tool (torque off)",
            )
        for gain, expected in contract.gains[joint].items() if prepared else ():
            if report.gains.get(gain) != expected:
                yield Mismatch(
                    f"{gain} of {name}",
                    report.gains.get(gain),
                    expected,
                    "check that nothing else writes to the servo and run again",
                )
