"""The plant as the servos' own encoders see it: truthful, but for those that are broken."""

from __future__ import annotations

import math

from ..plant import Drive, ImuSample, Plant

FARTHEST = 1e12  # [rad] any shaft is told of; beyond, a count is no number any more


class Encoders:
    """A ``Plant`` for virtual servos, with encoders between them and the shafts of another.

    Args:
        plant: the truth.
    """

    def __init__(self, plant: Plant) -> None:
        self.time = plant.time
        self._plant = plant
        self._stuck: dict[int, float] = {}  # by joint: where it stays [rad]
        self._off: dict[int, float] = {}  # by joint: how far from the truth [rad]

    def stick(self, joint: int) -> None:
        """Let an encoder stay at what it says now."""
        self._stuck[joint] = self.motor(joint)[0]

    def offset(self, joint: int, angle: float) -> None:
        """Let an encoder be off by ``angle`` [rad]."""
        self._off[joint] = angle

    def mend(self, joint: int) -> None:
        """Let an encoder tell the truth again."""
        self._stuck.pop(joint, None)
        self._off.pop(joint, None)

    # Plant

    def drive(self, joint: int, kind: Drive, value: float) -> None:
        self._plant.drive(joint, kind, value)

    def advance(self, time: float) -> None:
        self._plant.advance(time)
        self.time = time

    def motor(self, joint: int) -> tuple[float, float, float]:
        angle, speed, current = self._plant.motor(joint)
        if joint in self._stuck:
            return self._stuck[joint], 0.0, current
        if joint in self._off:
            angle += self._off[joint]
        if not -FARTHEST <= angle <= FARTHEST:  # a NaN is nowhere, too
            angle = math.copysign(FARTHEST, angle)
        return angle, speed, current

    def supply(self) -> float:
        return self._plant.supply()

    def imu(self) -> ImuSample:
        return self._plant.imu()
