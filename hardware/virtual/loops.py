"""The control loops of an X-series servo's firmware: profile, position PID, velocity PI.

One call is one period. Positions are in encoder counts, velocities in register units, outputs in
PWM counts (or current counts, where the position loop asks for current).
"""

from __future__ import annotations

import math

from .profile import Desired, Profile, Shape, by_time, by_velocity
from .registers import RegisterFile

PERIOD = 1e-3  # [s]; the maker does not say, users measure about this
TIME_BASED = 4  # bit of Drive Mode
GAINS = (
    "velocity_i",
    "velocity_p",
    "position_d",
    "position_i",
    "position_p",
    "feedforward_acceleration",
    "feedforward_velocity",
)
PROFILE = ("profile_acceleration", "profile_velocity")
WATCHED = (*GAINS, *PROFILE, "drive_mode")


class Loops:
    """What the firmware computes every ``PERIOD``.

    ``u = P e + I sum(e) + D (e - e_last) + FF1 (r - r_last) + FF2 (r - 2 r_last + r_last2)`` with
    ``e = r - position`` and ``r`` the profile's desired position; velocity: ``u = P e + I sum(e)``.
    The gains are the registers times their unit. Differences come from velocities, so that the
    encoder's steps do not show in them.

    Args:
        registers: the servo's; read when ``load`` is called.

    Attributes:
        desired: where the trajectory stands [counts, counts/s, counts/s²].
        desired_velocity: where the velocity trajectory stands [register units].
    """

    def __init__(self, registers: RegisterFile) -> None:
        self.desired = Desired(0.0)
        self.desired_velocity = 0.0
        self._registers = registers
        self._profile: Profile | None = None
        self._shape = Shape.STEP
        self._integral = 0.0
        self._goal_velocity = 0.0
        self._velocity_step = math.inf  # per period [register units]
        table = registers.table
        counts = table.turn / math.tau
        self.velocity_counts = table.registers["present_velocity"].unit * counts  # of one unit
        self._acceleration_counts = table.registers["profile_acceleration"].unit * counts
        self.load()

    @property
    def ongoing(self) -> bool:
        """Whether a profile is under way."""
        return self._profile is not None

    @property
    def shape(self) -> Shape:
        """Of the last profile."""
        return self._shape

    def load(self) -> None:
        """Take the gains over from the registers."""
        units = self._registers.table.registers
        gains = {name: self._registers[name] * units[name].unit for name in GAINS}
        self._vi, self._vp, self._d, self._i, self._p, self._ff2, self._ff1 = (
            gains[name] for name in GAINS
        )

    def rest(self, position: float) -> None:
        """Desired is to stand at ``position`` [counts]; nothing has been summed up."""
        self.desired = Desired(position)
        self.desired_velocity = self._goal_velocity = 0.0
        self._integral = 0.0
        self._profile = None
        self._shape = Shape.STEP

    def shift(self, counts: float) -> None:
        """All positions have been renumbered by ``counts``."""
        self.desired = self.desired._replace(position=self.desired.position + counts)
        if self._profile is not None:
            self._profile.shift(counts)

    def aim(self, goal: float) -> None:
        """A new goal position [counts], on the profile the registers ask for."""
        registers = self._registers
        speed, ramp = registers["profile_velocity"], registers["profile_acceleration"]
        if registers["drive_mode"] & TIME_BASED:
            profile = by_time(self.desired, goal, speed * 1e-3, ramp * 1e-3)
        else:
            profile = by_velocity(
                self.desired, goal, speed * self.velocity_counts, ramp * self._acceleration_counts
            )
        self._profile, self._shape = profile, profile.shape

    def aim_velocity(self, goal: float) -> None:
        """A new goal velocity [register units], on the ramp the registers ask for."""
        self._goal_velocity = goal
        ramp = self._registers["profile_acceleration"]
        if ramp == 0:
            self._velocity_step = math.inf
        elif self._registers["drive_mode"] & TIME_BASED:
            self._velocity_step = abs(goal - self.desired_velocity) * PERIOD / (ramp * 1e-3)
        else:
            step = ramp * self._acceleration_counts * PERIOD
            self._velocity_step = step / self.velocity_counts

    def position(self, position: int, velocity: float, limit: float) -> float:
        """One period of the position loop.

        Args:
            position: as the encoder has it [counts].
            velocity: [counts/s].
            limit: of the output.

        Returns:
            The output, within ``limit``.
        """
        if self._profile is not None:
            self.desired = self._profile.advance(PERIOD)
            if self._profile.done:
                self._profile = None
        desired = self.desired
        error = desired.position - position
        output = (
            self._p * error
            + self._i * self._integral
            + (self._d * (desired.velocity - velocity) + self._ff1 * desired.velocity) * PERIOD
            + self._ff2 * desired.acceleration * PERIOD * PERIOD
        )
        return self._limited(output, error, limit)

    def velocity(self, velocity: float, limit: float) -> float:
        """One period of the velocity loop; ``velocity`` in register units."""
        change = self._goal_velocity - self.desired_velocity
        step = self._velocity_step
        self.desired_velocity += min(max(change, -step), step)
        error = self.desired_velocity - velocity
        output = self._vp * error + self._vi * self._integral
        return self._limited(output, error, limit)

    def _limited(self, output: float, error: float, limit: float) -> float:
        """``output`` within ``limit``; the integral grows only while that does not cut it off."""
        if output > limit:
            if error < 0.0:
                self._integral += error
            return limit
        if output < -limit:
            if error > 0.0:
                self._integral += error
            return -limit
        self._integral += error
        return output
