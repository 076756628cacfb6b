"""Motors that follow angles as a servo's firmware makes them, in MuJoCo's own ``dcmotor``."""

from __future__ import annotations

import mujoco
import numpy as np

from ..hardware.errors import RobotFileError
from ..hardware.position_loop import PositionLoop, position_loop
from ..hardware.robot import Robot
from .simulations import ModelError

# Indices in a dcmotor's gainprm, and in its dynprm: how fast the angle that it follows may change.
# Where it has come to is the first of the motor's activations.
RESISTANCE, CONSTANT, STIFFNESS, INTEGRAL, DAMPING, VOLTAGE = 0, 1, 4, 5, 6, 7
SPEED = 7


def close_loops(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Let the motors of ``robot``'s joints in position mode take angles [rad].

    A ``dcmotor``'s own controller asks for torques and compensates back-EMF, a servo's gives a
    voltage: ``kp = K/R V k`` and ``kd = K/R (V d + K)`` for a loop of stiffness k and damping d.

    Args:
        spec: of the robot's MJCF, compiled once; changed in place.
        robot: whose servos they are.

    Raises:
        ModelError: a joint is in velocity mode, or its servo's loop cannot be simulated.
    """
    for joint in robot.joint:
        if joint.mode == "effort":
            continue
        if joint.mode == "velocity":
            raise ModelError(
                f"{robot.name} cannot be trained: its joint {joint.name} is in velocity mode, and "
                "the loop that its servo closes there is not simulated for training; use effort or "
                "position mode"
            )
        try:
            loop = position_loop(joint)
        except RobotFileError as error:
            raise ModelError(f"{robot.name} cannot be trained: {error}") from error
        motor = spec.actuator(joint.name)
        _close(motor, loop)


def _close(motor: mujoco.MjsActuator, loop: PositionLoop) -> None:
    gains, dynamics = np.array(motor.gainprm), np.array(motor.dynprm)
    supply, ratio = gains[VOLTAGE], gains[CONSTANT] / gains[RESISTANCE]
    gains[STIFFNESS] = ratio * supply * loop.stiffness
    gains[DAMPING] = ratio * (supply * loop.damping + gains[CONSTANT])
    gains[VOLTAGE] = supply * loop.limit
    # What the file says of a controller was for torques.
    if gains[INTEGRAL] > 0:
        motor.actdim -= 1
    if dynamics[SPEED] > 0:
        motor.actdim -= 1
    gains[INTEGRAL] = dynamics[SPEED] = 0.0
    if np.isfinite(loop.speed):
        dynamics[SPEED] = loop.speed
        motor.actdim += 1
    motor.gainprm, motor.dynprm = gains, dynamics
    motor.ctrlspec = mujoco.mjtCtrlInput.mjINPUT_POS
    motor.ctrllimited = False
