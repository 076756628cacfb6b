"""What ramp and damp mean for this robot; robot.toml says which. No bus, no clock.

Targets are (joints,) in the unit of each joint's mode, before the gate.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from ..hardware.robot import Robot
from .gate import Reason, tilt
from .program import Memory

POSE_TOLERANCE = 0.1  # [rad] how near a joint must come to its default before the policy takes over


class RampStep(NamedTuple):
    """What a ramp wants of one tick."""

    target: np.ndarray  # (joints,)
    energise: bool = False  # torque should be on from now on
    done: bool = False  # the policy may take over
    refused: str = ""  # why it cannot be completed; "" as long as it can


class Ramp(Protocol):
    """What must happen between the checks and the policy's authority."""

    forgive: Reason  # faults that do not matter during this ramp

    def advance(self, memory: Memory, time: float) -> RampStep:
        """One tick at ``time`` [s], after the program has observed its reading."""
        ...


def start_ramp(robot: Robot, time: float) -> Ramp:
    """The ramp that robot.toml asks for, begun at ``time`` [s]."""
    kinds = {"upright_still": UprightStill, "pose": PoseRamp}
    return kinds[robot.ramp.kind](robot, time)


class UprightStill:
    """Torque stays off until body and joints have been upright and still for a while."""

    forgive = Reason.TILT | Reason.HEARTBEAT

    def __init__(self, robot: Robot, time: float) -> None:
        self._robot, self._start = robot, time
        self._since: float | None = None
        self._missing = "it was not still for long enough"

    def advance(self, memory: Memory, time: float) -> RampStep:
        rule = self._robot.ramp
        target = neutral_target(self._robot, memory.joint_position)
        moved, silent = _not_upright_still(self._robot, memory), _silent(self._robot, memory)
        if moved:
            self._since = None
        elif self._since is None and not silent:  # one lost reading does not start it anew
            self._since = time
        self._missing = moved or silent or self._missing
        if self._since is not None and not silent and time - self._since >= rule.seconds - 1e-9:
            return RampStep(target, energise=True, done=True)
        if time - self._start >= rule.timeout:
            return RampStep(
                target,
                refused=f"the robot was not upright and still for {rule.seconds:g} s within "
                f"{rule.timeout:g} s: {self._missing}; hold it upright and run again",
            )
        return RampStep(target)


class PoseRamp:
    """Torque on where the joints stand, then a straight move to the default pose."""

    forgive = Reason.NONE

    def __init__(self, robot: Robot, time: float) -> None:
        self._robot, self._start = robot, time
        self._pose: np.ndarray | None = None

    def advance(self, memory: Memory, time: float) -> RampStep:
        rule = self._robot.ramp
        missing = _silent(self._robot, memory)
        if self._pose is None and not missing:
            if refused := _outside_limits(self._robot, memory):
                return RampStep(neutral_target(self._robot, memory.joint_position), refused=refused)
            self._pose, self._start = memory.joint_position.astype(np.float64), time
        if self._pose is None:
            target = neutral_target(self._robot, memory.joint_position)
        else:
            fraction = min(1.0, (time - self._start) / rule.seconds) if rule.seconds > 0 else 1.0
            default = np.array([joint.default for joint in self._robot.joint])
            target = neutral_target(self._robot, self._pose + fraction * (default - self._pose))
            missing = _not_in_pose(self._robot, memory)
            if fraction == 1.0 and not missing:
                return RampStep(target, energise=True, done=True)
        energise = self._pose is not None
        if time - self._start >= rule.timeout:
            return RampStep(
                target,
                energise,
                refused=f"the default pose was not reached within {rule.timeout:g} s: {missing}; "
                "free the joint and run again; if it is free, its gains or limits.effort are too "
                "small for its load",
            )
        return RampStep(target, energise)


def neutral_target(robot: Robot, pose: np.ndarray) -> np.ndarray:
    """No motion: ``pose`` [rad] where a joint holds a position, zero elsewhere."""
    holds = [joint.mode == "position" for joint in robot.joint]
    return np.where(holds, np.asarray(pose, dtype=np.float64), 0.0)


def damp_target(robot: Robot, memory: Memory, pose: np.ndarray) -> np.ndarray:
    """Bring the robot to rest: joints that hold a position hold ``pose`` [rad], driven ones stop.

    ``brake`` sets an effort of ``-gain * velocity`` on joints under effort control; a joint that
    was not read this tick gets none, since an old velocity would drive it.
    """
    target = neutral_target(robot, pose)
    if robot.damp.kind == "brake":
        effort = np.array([joint.mode == "effort" for joint in robot.joint])
        read = np.asarray(memory.joint_age) == 0
        target = np.where(effort & read, -robot.damp.gain * memory.joint_velocity, target)
    return target


def _not_upright_still(robot: Robot, memory: Memory) -> str:
    rule = robot.ramp
    angle = tilt(memory.orientation)
    if not angle <= rule.tilt:
        return f"the body leaned {angle:.2f} rad (at most {rule.tilt:.2f})"
    rate = float(np.linalg.norm(memory.angular_velocity))
    if not rate <= rule.rate:
        return f"the body turned at {rate:.2f} rad/s (at most {rule.rate:.2f})"
    for name, velocity in zip(robot.joints, memory.joint_velocity, strict=True):
        if not abs(velocity) <= rule.rate:
            return f"{name} turned at {abs(velocity):.2f} rad/s (at most {rule.rate:.2f})"
    return ""


def _silent(robot: Robot, memory: Memory) -> str:
    names = [name for name, age in zip(robot.joints, memory.joint_age, strict=True) if age > 0]
    names += ["imu"] if robot.imu is not None and memory.imu_age > 0 else []
    return f"{', '.join(names)} did not answer" if names else ""


def _outside_limits(robot: Robot, memory: Memory) -> str:
    for joint, position in zip(robot.joint, memory.joint_position, strict=True):
        low, high = joint.limits.position_min, joint.limits.position_max
        if joint.mode == "position" and not low <= position <= high:
            return (
                f"{joint.name} stands at {position:.3f} rad, its limits are {low:.3f} to "
                f"{high:.3f} rad; move it there by hand and run again"
            )
    return ""


def _not_in_pose(robot: Robot, memory: Memory) -> str:
    for joint, position in zip(robot.joint, memory.joint_position, strict=True):
        if joint.mode == "position" and not abs(position - joint.default) <= POSE_TOLERANCE:
            return f"{joint.name} stood at {position:.2f} rad instead of {joint.default:.2f}"
    return ""
