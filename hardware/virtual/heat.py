"""How warm a servo gets: the heat of its winding on its way through the case into the air."""

from __future__ import annotations

import math

from ..model_table import ModelTable

AIR = 25.0  # [°C]
_STEP = 0.25  # [s] longest step; every time constant is far longer


class Winding:
    """Two heat stores, winding ``w`` and case ``c``, warmed by the current.

    ``Cw dTw/dt = R i^2 - (Tw - Tc)/Rwc``, ``Cc dTc/dt = (Tw - Tc)/Rwc - (Tc - Tair)/Rca``. The
    servo's own sensor sits at the case.

    Args:
        table: a servo's, with motor and thermal data.
        air: temperature around it, and of everything at first [°C].

    Attributes:
        winding, case: [°C].
        air: [°C]; may be set at any time.
        time: advanced to [s].

    Raises:
        ValueError: the table has no motor or no thermal data.
    """

    def __init__(self, table: ModelTable, air: float = AIR) -> None:
        if table.motor is None or table.thermal is None:
            raise ValueError(f"{table.name} needs [motor] and [thermal] in its table to get warm")
        self._resistance, self._thermal = table.motor.resistance, table.thermal
        self.winding = self.case = self.air = air
        self.time = 0.0

    @property
    def temperature(self) -> float:
        """What the servo's sensor measures [°C]."""
        return self.case

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.case = value
        self.winding = max(self.winding, value)

    def advance(self, time: float, current: float) -> None:
        """Let ``current`` [A] have flowed since the last call, until ``time`` [s]."""
        span = time - self.time
        if span <= 0.0:
            return
        self.time = time
        thermal, heat = self._thermal, self._resistance * current * current
        steps = math.ceil(span / _STEP)
        step = span / steps
        for _ in range(steps):
            inward = (self.winding - self.case) / thermal.winding_to_case
            outward = (self.case - self.air) / thermal.case_to_air
            self.winding += step * (heat - inward) / thermal.winding_capacity
            self.case += step * (inward - outward) / thermal.case_capacity

    def cool(self) -> None:
        """As warm as the air again."""
        self.winding = self.case = self.air
