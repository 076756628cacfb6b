"""What a servo's firmware lets its bridge do: PWM with a slope, or a regulated current."""

from __future__ import annotations

import math

from ..plant import Plant
from .loops import PERIOD
from .registers import RegisterFile

FULL_PWM = 885  # counts of the whole supply voltage
WATCHED = ("goal_pwm", "current_limit", "pwm_slope")


class Bridge:
    """Drives motor ``joint`` of ``plant``.

    Args:
        registers: the servo's; read when ``load`` is called.
        plant, joint: what it drives.

    Attributes:
        pwm: on the bridge [counts], in the registers' direction.
    """

    def __init__(self, registers: RegisterFile, plant: Plant, joint: int) -> None:
        assert registers.table.motor is not None
        self.pwm = 0.0
        self._registers, self._motor = registers, registers.table.motor
        self._plant, self._joint = plant, joint
        current = registers.table.registers.get("present_current")
        self.current_unit = current.unit if current else None  # [A]
        self.load()

    @property
    def watched(self) -> bool:
        """Whether Goal PWM limits the voltage, so that a current must be watched over."""
        return self._limit < FULL_PWM

    def load(self) -> None:
        """Take the limits over from the registers."""
        registers = self._registers
        self._limit = abs(registers["goal_pwm"])
        self._current_limit = registers["current_limit"] if self.current_unit else 0
        self._slope = math.inf  # [V] per period
        if "pwm_slope" in registers:
            unit = registers.table.registers["pwm_slope"].unit
            self._slope = registers["pwm_slope"] * unit * PERIOD

    def off(self) -> None:
        """Open."""
        self.pwm = 0.0
        self._plant.drive(self._joint, "off", 0.0)

    def apply_pwm(self, pwm: float, sense: float) -> None:
        """Move the PWM towards ``pwm`` [counts], as far as the slope allows in one period."""
        supply = max(self._plant.supply(), 0.1)
        step = self._slope / supply * FULL_PWM
        self.pwm = min(max(pwm, self.pwm - step), self.pwm + step)
        self._plant.drive(self._joint, "voltage", sense * self.pwm / FULL_PWM * supply)

    def apply_current(self, counts: float, sense: float) -> None:
        """Regulate to a current [counts], as far as Current Limit and Goal PWM allow."""
        assert self.current_unit is not None
        counts = min(max(counts, -self._current_limit), self._current_limit)
        current = sense * counts * self.current_unit
        if not self.watched:
            self._plant.drive(self._joint, "current", current)
            return
        limit = self._limit / FULL_PWM * self._plant.supply()
        voltage = self._voltage(current, self._plant.motor(self._joint)[1])
        self._plant.drive(self._joint, "voltage", min(max(voltage, -limit), limit))

    def measure_pwm(self, current: float, speed: float, sense: float) -> None:
        """Set ``pwm`` to what regulating ``current`` [A] at ``speed`` [rad/s] takes."""
        share = sense * self._voltage(current, speed) / max(self._plant.supply(), 0.1)
        self.pwm = min(max(share, -1.0), 1.0) * FULL_PWM

    def _voltage(self, current: float, speed: float) -> float:
        return self._motor.resistance * current + self._motor.back_emf * speed
