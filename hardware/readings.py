"""The last readings of a whole robot, filled by the lines' drivers, given outward in SI units."""

from __future__ import annotations

import math

import numpy as np

from .robot import Robot
from .state import Health, RobotState, made

EFFORT, VELOCITY, POSITION, VOLTAGE, TEMPERATURE = range(5)  # rows


def _constant(values: np.ndarray) -> np.ndarray:
    """``values``, to be shared by many states."""
    values.flags.writeable = False
    return values


_UPRIGHT, _NOTHING = _constant(np.array([1.0, 0.0, 0.0, 0.0])), _constant(np.zeros(3))


class Readings:
    """Counts as the devices gave them, and what makes them SI: ``counts * factor + bias``.

    A driver sets ``factor`` and ``bias`` of its own joints when it is built (``scale``) and, in
    ``collect``, writes ``counts``, ``alert`` and ``joint_fresh`` of its own joints, ``imu_counts``
    and ``imu_fresh`` if the sensor is on its line. What no device gives is NaN: leave its
    ``counts`` alone.

    Attributes:
        counts: (5, joints), rows ``EFFORT`` to ``TEMPERATURE``.
        alert: (joints,) bool, the servo's own error flag.
        joint_fresh: (joints,) bool, false at the start of every tick.
        imu_counts: (10,) orientation w x y z, angular velocity, linear acceleration.
        imu_fresh: false at the start of every tick.
    """

    def __init__(self, robot: Robot) -> None:
        n = len(robot.joint)
        self.counts = np.zeros((5, n))
        self.counts[VOLTAGE:] = math.nan
        self.factor, self.bias = np.ones((5, n)), np.zeros((5, n))
        self.alert = np.zeros(n, dtype=bool)
        self.joint_fresh = np.zeros(n, dtype=bool)
        self.imu_counts, self.imu_factor = np.zeros(10), np.ones(10)
        self.imu_counts[0] = 1.0
        self.imu_fresh = False
        self._imu = robot.imu is not None
        self._heard = np.full(n, -math.inf)  # [s] when the last fresh reading was asked for
        self._all_heard = -math.inf  # [s] the same of all at once
        self._imu_heard = -math.inf
        self._no_age = _constant(np.zeros(n))
        self._all_joints = slice(0, n)
        self._everyone = b"\1" * n  # ``joint_fresh`` if all are

    def scale(self, joint: int, row: int, factor: float, bias: float = 0.0) -> None:
        """Set what makes a row of a joint SI."""
        self.factor[row, joint], self.bias[row, joint] = factor, bias

    def begin(self) -> None:
        """A tick begins: nothing is fresh."""
        self.joint_fresh.fill(False)
        self.imu_fresh = False

    def all_well(self, joints: slice | np.ndarray) -> None:
        """Readings of ``joints`` are fresh, and no servo of theirs reports an error."""
        if isinstance(joints, slice) and joints == self._all_joints:
            self.joint_fresh.fill(True)  # faster than to pick all of them
            self.alert.fill(False)
        else:
            self.joint_fresh[joints] = True
            self.alert[joints] = False

    def state(self, time: float) -> RobotState:
        """Everything as last heard, in arrays of its own; constants are shared and read-only.

        Args:
            time: when this read began [s].
        """
        si = self.counts * self.factor
        si += self.bias
        fresh = self.joint_fresh
        if fresh.tobytes() == self._everyone:  # many times faster than `all` on so few
            self._all_heard = time
            age = self._no_age
        else:
            np.maximum(self._heard, self._all_heard, out=self._heard)
            self._heard[fresh] = time
            age = time - self._heard
        if self.imu_fresh:
            self._imu_heard = time
        if self._imu:
            imu = self.imu_counts * self.imu_factor
            orientation = imu[:4]
            orientation /= max(math.sqrt(orientation @ orientation), 1e-9)
            rate, acceleration = imu[4:7], imu[7:10]
        else:
            orientation, rate, acceleration = _UPRIGHT, _NOTHING, _NOTHING
        health = {
            "voltage": si[VOLTAGE],
            "temperature": si[TEMPERATURE],
            "alert": self.alert.copy(),
            "age": age,
            "imu_age": time - self._imu_heard,
        }
        fields = {
            "joint_position": si[POSITION],
            "joint_velocity": si[VELOCITY],
            "joint_effort": si[EFFORT],
            "orientation": orientation,
            "angular_velocity": rate,
            "linear_acceleration": acceleration,
            "joint_valid": fresh.copy(),
            "imu_valid": np.True_ if self.imu_fresh else np.False_,
            "time": time,
            "health": made(Health, health),
        }
        return made(RobotState, fields)
