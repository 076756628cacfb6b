"""What an STS servo's firmware watches so that the servo survives."""

from __future__ import annotations

import math

from ..feetech.codec import Error
from ..model_table import ModelTable
from ..plant import Plant
from .feetech_loops import PERIOD
from .feetech_settings import Settings
from .heat import Winding


class FeetechProtection:
    """Looks at motor ``joint`` of ``plant``.

    Overload is much duty without motion for the protection time; it ends with a goal on the other
    side, or when torque is switched. Overcurrent lasts until torque is switched. Voltage, encoder
    and temperature tell of themselves as long as they last.

    Attributes:
        winding: how warm the servo is; heat outlives a power cycle.
        encoder_fault: set it to break the encoder.
        latched: faults that last.
    """

    def __init__(self, table: ModelTable, plant: Plant, joint: int) -> None:
        self.winding = Winding(table)
        self.encoder_fault = False
        self._plant, self._joint = plant, joint
        self.reset()

    def reset(self) -> None:
        """Torque was switched: nothing is latched."""
        self.latched = 0
        self._loaded = self._flowed = 0.0  # how long already [s]
        self._sense = 0.0  # which way the overload pushed

    def look(self, settings: Settings, time: float) -> int:
        """Faults at ``time`` [s]; heat has flowed since the last look."""
        self.winding.advance(time, self._plant.motor(self._joint)[2])
        low, high = settings.voltage_limits
        found = self.latched
        if not low <= round(10.0 * self._plant.supply()) <= high:
            found |= Error.VOLTAGE
        if self.encoder_fault:
            found |= Error.ENCODER
        if self.winding.temperature > settings.temperature_limit:
            found |= Error.OVERHEAT
        return found

    def count(self, settings: Settings, duty: float, velocity: float, current: float) -> None:
        """One period more with this duty [0.1 %], velocity [counts/s] and current [A]."""
        heavy = abs(duty) >= settings.overload_duty
        if heavy and abs(velocity) <= settings.moving_threshold:
            self._loaded += PERIOD
            if self._loaded > settings.protection_time:
                self.latched |= Error.OVERLOAD
                self._sense = math.copysign(1.0, duty)
        else:
            self._loaded = 0.0
        if abs(current) > settings.protection_current:
            self._flowed += PERIOD
            if self._flowed > settings.overcurrent_time:
                self.latched |= Error.CURRENT
        else:
            self._flowed = 0.0

    def heads(self, way: float) -> None:
        """A new goal lies ``way`` [counts] from here; away from what blocks ends an overload."""
        if self.latched & Error.OVERLOAD and way * self._sense < 0.0:
            self.latched &= ~Error.OVERLOAD
            self._loaded = 0.0
