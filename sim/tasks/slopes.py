"""The balancer's task on floors that lean: ``task = "slopes"`` in a recipe."""

from __future__ import annotations

import numpy as np
from retort.sim.physics import Physics
from retort.sim.randomisation import Slope, downhill
from retort.sim.task import AXES, Rows
from retort.sim.tasks.balancer import Balancer, Measured, along_and_across


class Slopes(Balancer):
    """As ``Balancer``, with the axis ``terrain``: the floor's slope, uphill in any direction.

    Speeds are along the floor and turns about the vertical, from which a fall is measured too.
    """

    name = "slopes"
    axes = (*AXES, "terrain")

    def __init__(self) -> None:
        super().__init__()
        self.randomisations |= {"terrain": (Slope(angle=0.15),)}

    def privileged(
        self, physics: Physics, rows: Rows, measured: Measured, command: np.ndarray
    ) -> np.ndarray:
        falls = along_and_across(measured, downhill(physics, rows).astype(np.float32))
        plain = super().privileged(physics, rows, measured, command)
        return np.concatenate([plain, falls * np.float32(5.0)], axis=1)


TASK = Slopes()
