"""What a servo's firmware watches so that the servo survives: supply, temperature, load."""

from __future__ import annotations

from ..plant import Plant
from .heat import Winding
from .registers import RegisterFile

VOLTAGE_ERROR, OVERHEATING, ENCODER_ERROR, ELECTRICAL_SHOCK, OVERLOAD = 1, 4, 8, 16, 32
AIR = 30.0  # [°C] around the motor: the servo's own electronics warm it


class Protection:
    """Looks at motor ``joint`` of ``plant`` now and then.

    Attributes:
        winding: how warm the servo is; heat outlives a reboot.
    """

    def __init__(self, registers: RegisterFile, plant: Plant, joint: int) -> None:
        assert registers.table.motor is not None
        self.winding = Winding(registers.table, AIR)
        self._registers, self._plant, self._joint = registers, plant, joint
        self._stall_current = registers.table.motor.stall_current
        self._overload = registers.table.overload
        self._loaded = 0.0  # how long it has been overloaded [s]

    def reset(self) -> None:
        """The firmware starts anew."""
        self._loaded = 0.0

    def look(self, time: float) -> int:
        """Hardware errors found at ``time`` [s]: bits of Hardware Error Status."""
        registers, errors = self._registers, 0
        current = self._plant.motor(self._joint)[2]
        span = time - self.winding.time
        self.winding.advance(time, current)
        volts = round(self._plant.supply() * 10.0)
        if not registers["min_voltage_limit"] <= volts <= registers["max_voltage_limit"]:
            errors |= VOLTAGE_ERROR
        if self.winding.temperature > registers["temperature_limit"]:
            errors |= OVERHEATING
        rule = self._overload
        if rule is not None:
            over = abs(current) > rule.current * self._stall_current
            self._loaded = self._loaded + span if over else 0.0
            if self._loaded >= rule.seconds:
                errors |= OVERLOAD
        return errors
