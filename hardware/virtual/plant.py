"""Motors that each turn a flywheel: the smallest plant, for tests and for trying a bus."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..model_table import Motor, load_model
from ..plant import Drive, ImuSample
from ..robot import Robot

STEP = 5e-4  # [s]
GRAVITY = 9.81  # [m/s²]


class RigidPlant:
    """A flywheel with friction on every servo, and a body that stands still and upright.

    ``inertia * dw/dt = torque_constant * i + load - damping * w - friction * sign(w)``, the current
    ``i`` within what the supply can push against the back-EMF.

    Args:
        robot: gives the motors.
        inertia: [kg·m²] at each output shaft.
        friction: Coulomb friction [N·m].
        damping: [N·m·s/rad].
        supply: on the servos' supply line, nothing flowing [V]; by default what the motors are
            made for.
        supply_resistance: the supply sags by this times the motors' total current [ohm].
    """

    def __init__(
        self,
        robot: Robot,
        inertia: float = 2e-4,
        friction: float = 0.004,
        damping: float = 5e-5,
        supply: float | None = None,
        supply_resistance: float = 0.0,
    ) -> None:
        self.time = 0.0
        self.inertia, self.friction, self.damping = inertia, friction, damping
        self.imu_sample = ImuSample(
            np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(3), np.array([0.0, 0.0, GRAVITY])
        )
        motors = [_motor_of(joint.servo) for joint in robot.joint]
        nominal = max(motor.voltage for motor in motors)
        self.supply_voltage = nominal if supply is None else supply
        self._shafts = [_Shaft(motor.at(self.supply_voltage)) for motor in motors]
        self.supply_resistance = supply_resistance

    def drive(self, joint: int, kind: Drive, value: float) -> None:
        self._shafts[joint].kind = kind
        self._shafts[joint].value = value

    def advance(self, time: float) -> None:
        while time - self.time > 1e-9:
            step = min(STEP, time - self.time)
            for shaft in self._shafts:
                self._turn(shaft, step)
            self.time += step

    def motor(self, joint: int) -> tuple[float, float, float]:
        shaft = self._shafts[joint]
        return shaft.angle, shaft.speed, shaft.current

    def supply(self) -> float:
        if not self.supply_resistance:
            return self.supply_voltage
        drawn = sum(abs(shaft.current) for shaft in self._shafts)
        return max(0.0, self.supply_voltage - self.supply_resistance * drawn)

    def imu(self) -> ImuSample:
        return self.imu_sample

    def turn(self, joint: int, angle: float, speed: float = 0.0) -> None:
        """Put a shaft at ``angle`` [rad] with ``speed`` [rad/s], as a hand would."""
        self._shafts[joint].angle, self._shafts[joint].speed = angle, speed

    def load(self, joint: int, torque: float) -> None:
        """Let a torque [N·m] pull at a shaft until told otherwise."""
        self._shafts[joint].load = torque

    def block(self, joint: int, blocked: bool = True) -> None:
        """Hold a shaft where it is, whatever pulls at it; or let go."""
        self._shafts[joint].blocked = blocked

    def _turn(self, shaft: _Shaft, step: float) -> None:
        motor, supply = shaft.motor, self.supply()
        if shaft.blocked:
            shaft.speed = 0.0
        resistance = motor.resistance
        emf = motor.back_emf * shaft.speed
        if shaft.kind == "current":
            low, high = (-supply - emf) / resistance, (supply - emf) / resistance
            shaft.current = min(max(shaft.value, low), high)
        elif shaft.kind == "voltage":
            voltage = min(max(shaft.value, -supply), supply)
            # Implicit in the speed, or the back-EMF would overshoot at this step.
            gain = 0.0 if shaft.blocked else step * motor.torque_constant / self.inertia
            if not shaft.blocked:
                emf += motor.back_emf * step * shaft.load / self.inertia
            shaft.current = (voltage - emf) / (resistance + gain * motor.back_emf)
        else:
            shaft.current = 0.0
        if shaft.blocked:
            return
        torque = motor.torque_constant * shaft.current + shaft.load
        driven = shaft.speed + step * torque / self.inertia
        loss = step * (self.friction + self.damping * abs(driven)) / self.inertia
        shaft.speed = math.copysign(max(0.0, abs(driven) - loss), driven)
        shaft.angle += step * shaft.speed


@dataclasses.dataclass
class _Shaft:
    motor: Motor
    angle: float = 0.0  # [rad]
    speed: float = 0.0  # [rad/s]
    current: float = 0.0  # [A]
    kind: Drive = "off"
    value: float = 0.0
    load: float = 0.0  # [N·m]
    blocked: bool = False


def _motor_of(name: str) -> Motor:
    motor = load_model(name).motor
    if motor is None:
        raise ValueError(f"{name} is not a servo")
    return motor
