"""The MJCF's motors are those of the servos that robot.toml names: nobody else compares the two."""

from __future__ import annotations

import mujoco

from ..hardware.model_table import Motor, load_model
from ..hardware.robot import Joint, Robot
from .servo_loops import CONSTANT, RESISTANCE, VOLTAGE
from .simulations import ModelError

_SPREAD = 0.1  # of torque and speed, for who has measured theirs: another gear is further away


def motor_of(joint: Joint) -> Motor:
    """The motor in the table of ``joint``'s servo.

    Raises:
        ModelError: the table has none.
    """
    motor = load_model(joint.servo).motor
    if motor is None:
        raise ModelError(f"{joint.name}: {joint.servo} has no motor; name a servo in robot.toml")
    return motor


def check_motors(model: mujoco.MjModel, robot: Robot) -> None:
    """Every joint has a ``dcmotor`` of gear 1 with the numbers of its servo at the voltage it is
    given.

    Stall torque ``K V / R`` and no-load speed ``V / K`` are compared with the servo's table, within
    a tenth.

    Raises:
        ModelError: one has not.
    """
    for joint in robot.joint:
        actuator = model.actuator(joint.name).id
        gains = model.actuator_gainprm[actuator]
        is_motor = model.actuator_gaintype[actuator] == mujoco.mjtGain.mjGAIN_DCMOTOR
        if not is_motor or gains[VOLTAGE] <= 0:
            raise ModelError(
                f"{robot.model_path}: {joint.name} needs a dcmotor with a voltage limit, such as "
                f"{_line(motor_of(joint))}"
            )
        if model.actuator_gear[actuator, 0] != 1.0:
            raise ModelError(
                f"{robot.model_path}: the dcmotor of {joint.name} has gear "
                f"{model.actuator_gear[actuator, 0]:g}; its servo's numbers are of the output "
                "shaft, use gear 1 and say `sign` in robot.toml"
            )
        voltage, constant = float(gains[VOLTAGE]), float(gains[CONSTANT])
        _compare(
            f"{robot.model_path}: the dcmotor of {joint.name}",
            (constant * voltage / float(gains[RESISTANCE]), voltage / constant),
            joint.servo,
            motor_of(joint).at(voltage),
        )


def _compare(who: str, got: tuple[float, float], servo: str, motor: Motor) -> None:
    expected = motor.stall_torque, motor.no_load_speed
    if all(abs(g - e) <= _SPREAD * e for g, e in zip(got, expected, strict=True)):
        return
    raise ModelError(
        f"{who} stalls at {got[0]:.4g} N·m and turns freely at {got[1]:.4g} rad/s on "
        f"{motor.voltage:g} V, a {servo} at {expected[0]:.4g} N·m and {expected[1]:.4g} rad/s; "
        f"write {_line(motor)}, or name the servo that it is in robot.toml"
    )


def _line(motor: Motor) -> str:
    numbers = f"{motor.voltage:g} {motor.stall_torque:.4g} {motor.no_load_speed:.4g}"
    return f'nominal="{numbers}" input="ff" controller="0 0 0 0 0 {motor.voltage:g}"'
