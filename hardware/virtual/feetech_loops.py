"""The control loops of an STS servo's firmware: motion profile, position PID, speed PI.

One call is one period. Positions are in counts, speeds in counts/s, duties in 0.1 %. The position
loop's scale is measured: with P = 1 an error of 4000 counts asks for full duty (0.163 per radian;
measurements lie between 0.161 and 0.166). The maker publishes no scale for D, I and the speed loop;
here D and I have that of P, per millisecond.
"""

from __future__ import annotations

import math

from .feetech_settings import FULL, POSITION, Settings
from .profile import Desired, by_time, by_velocity

PERIOD = 1e-3  # [s]


class FeetechLoops:
    """What the firmware computes every ``PERIOD``.

    Attributes:
        desired: where the trajectory stands.
        goal: where it leads [counts].
    """

    def __init__(self) -> None:
        self.desired = Desired(0.0)
        self.goal = 0.0
        self._profile = by_velocity(self.desired, 0.0, 0.0, 0.0)
        self._integral = self._speed_goal = 0.0
        self._last_error = 0

    def begin(self, position: int) -> None:
        """Begin anew where the servo stands."""
        self.goal = float(position)
        self.desired = Desired(self.goal)
        self._integral = self._speed_goal = 0.0
        self._last_error = 0

    def plan(self, settings: Settings) -> None:
        """The way from the desired position to the goal, as speed, time and acceleration say."""
        if settings.mode == POSITION and settings.goal_time:
            self._profile = by_time(self.desired, self.goal, settings.goal_time, 0.0)
        elif settings.profile_velocity:
            self._profile = by_velocity(
                self.desired, self.goal, settings.profile_velocity, settings.acceleration
            )
        else:  # a speed of 0 may mean: stay
            self._profile = by_velocity(self.desired, self.desired.position, 0.0, 0.0)

    def position_duty(self, settings: Settings, position: int) -> float:
        """``(P e + D (e - e_last) + I sum(e) / 1000) / 4``, e = desired - present."""
        self.desired = desired = self._profile.advance(PERIOD)
        error = round(desired.position) - position
        below, above = settings.dead_zone
        if -below <= error <= above:
            error = 0
        change, self._last_error = error - self._last_error, error
        duty = (settings.p * error + settings.d * change) / 4.0
        if settings.i:
            bound = 4.0 * settings.integral_bound / settings.i
            self._integral += error * PERIOD
            self._integral = min(max(self._integral, -bound), bound)
            duty += settings.i * self._integral / 4.0
        if error and duty:
            return math.copysign(max(abs(duty), settings.least_duty), duty)
        return duty

    def velocity_duty(self, settings: Settings, velocity: float) -> float:
        """``(P e + 10 I sum(e) / 1000) / 100``, e = goal - present; I counts in tenths."""
        change = settings.goal_velocity - self._speed_goal
        if settings.acceleration:
            rise = settings.acceleration * PERIOD
            change = min(max(change, -rise), rise)
        self._speed_goal += change
        error = self._speed_goal - velocity
        duty = settings.velocity_p * error / 100.0
        if settings.velocity_i:
            bound = 10.0 * FULL / settings.velocity_i
            self._integral += error * PERIOD
            self._integral = min(max(self._integral, -bound), bound)
            duty += settings.velocity_i * self._integral / 10.0
        return duty
