"""What a servo in position mode makes of its error, in SI units: for physics without registers."""

from __future__ import annotations

import dataclasses
import math

from .errors import RobotFileError
from .gains import check_gains
from .model_table import ModelTable, load_model
from .robot import Joint

_PERIOD = 1e-3  # [s] of the firmware's loops, in which their D gains count


@dataclasses.dataclass(frozen=True, kw_only=True)
class PositionLoop:
    """``u = stiffness (way - angle) - damping velocity`` within ``+-limit``; u is the voltage at
    the motor as a share of the supply, and ``way`` goes to the goal at ``speed``.

    Left out are what a firmware does below a count or two (dead zone, least duty), what it does
    about an overload, and that an STS servo's D acts on the change of ``way - angle``.
    """

    stiffness: float  # [1/rad]
    damping: float  # [s/rad]
    limit: float  # share of the supply voltage
    speed: float  # [rad/s]; inf: at once


def position_loop(joint: Joint) -> PositionLoop:
    """The loop that ``joint``'s servo closes with robot.toml's gains, or else those it leaves the
    factory with.

    A DYNAMIXEL's PWM is ``P e / 128 + D (e - e_last) / 16`` of 885; an STS servo's duty is
    ``(P e + D (e - e_last)) / 4`` of 1000, within the torque limit. Errors are in counts.

    Raises:
        RobotFileError: the joint is not in position mode, may not exert itself, has a gain that its
            servo does not take, or one of its integral that is not 0.
    """
    table = load_model(joint.servo)
    if joint.mode != "position":
        raise RobotFileError(f"{joint.name}: it is in {joint.mode} mode and has no position loop")
    if table.motor is None:
        raise RobotFileError(f"{joint.name}: {table.name} is not a servo")
    check_gains(joint, table)
    if _gain(joint, table, "position_i"):
        raise RobotFileError(
            f"{joint.name}: its servo's position loop integrates, which is not simulated; set "
            "position_i = 0 in its gains"
        )
    if joint.limits.effort == 0.0:
        raise RobotFileError(
            f"{joint.name}: its effort limit is 0, with which no position can be held; raise it"
        )
    counts = table.turn / math.tau
    if table.protocol == "feetech":
        share = counts / 4.0 * table.register("torque_limit").unit
        limit = min(1.0, joint.limits.effort / table.motor.stall_torque)
        fastest = table.register("maximum_velocity")
        speed = fastest.default * fastest.unit
    else:
        share = counts * table.register("goal_pwm").unit
        limit, speed = 1.0, math.inf  # the driver asks for no profile
    return PositionLoop(
        stiffness=share * _gain(joint, table, "position_p"),
        damping=share * _gain(joint, table, "position_d") * _PERIOD,
        limit=limit,
        speed=speed,
    )


def _gain(joint: Joint, table: ModelTable, name: str) -> float:
    register = table.register(name)
    return joint.gains.get(name, register.default) * register.unit
