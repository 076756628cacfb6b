"""Motion profiles: how the firmware's desired position runs to a goal instead of jumping there."""

from __future__ import annotations

import enum
import math
from typing import NamedTuple


class Shape(enum.IntEnum):
    """As bits 4 and 5 of Moving Status tell it."""

    STEP = 0
    RECTANGULAR = 1
    TRIANGULAR = 2
    TRAPEZOIDAL = 3


class Desired(NamedTuple):
    """What the trajectory asks for."""

    position: float  # [counts]
    velocity: float = 0.0  # [counts/s]
    acceleration: float = 0.0  # [counts/s²]


class Profile:
    """A run of constant accelerations from one desired state to rest at a goal.

    Args:
        start: desired state at time 0 of the profile.
        goal: [counts].
        shape: for Moving Status.
        phases: (duration [s], acceleration [counts/s²]) each.
    """

    def __init__(
        self, start: Desired, goal: float, shape: Shape, phases: list[tuple[float, float]]
    ) -> None:
        self.goal = goal
        self.shape = shape
        self.done = False
        self._phases = [phase for phase in phases if phase[0] > 0.0]
        self._time = 0.0  # within the first phase left
        self._position, self._velocity = start.position, start.velocity

    def shift(self, counts: float) -> None:
        """Everything that is still to come happens ``counts`` further on."""
        self.goal += counts
        self._position += counts

    def advance(self, seconds: float) -> Desired:
        """The desired state after ``seconds`` more."""
        while self._phases:
            duration, acceleration = self._phases[0]
            step = min(seconds, duration - self._time)
            self._position += (self._velocity + 0.5 * acceleration * step) * step
            self._velocity += acceleration * step
            self._time += step
            seconds -= step
            if self._time < duration - 1e-9:
                return Desired(self._position, self._velocity, acceleration)
            self._phases.pop(0)
            self._time = 0.0
        self.done = True
        return Desired(self.goal)


def by_velocity(start: Desired, goal: float, speed: float, acceleration: float) -> Profile:
    """Velocity-based: never faster than ``speed``, never changing it faster than ``acceleration``.

    Args:
        start: desired state now; its velocity is carried over.
        goal: [counts].
        speed: [counts/s]; 0 for no profile at all.
        acceleration: [counts/s²]; 0 for any.

    Source: e-manual, "What is the Profile".
    """
    distance = goal - start.position
    if speed <= 0.0:
        return Profile(start, goal, Shape.STEP, [])
    sense = math.copysign(1.0, distance)
    if acceleration <= 0.0:
        begin = start._replace(velocity=sense * speed)
        return Profile(begin, goal, Shape.RECTANGULAR, [(abs(distance) / speed, 0.0)])
    v0 = start.velocity * sense  # [counts/s] towards the goal
    left = abs(distance)
    if v0 > 0.0 and v0 * v0 / (2.0 * acceleration) > left:  # it cannot stop in time: overshoot
        halt = v0 / acceleration
        stop = Desired(start.position + sense * v0 * halt / 2.0)
        back = by_velocity(stop, goal, speed, acceleration)
        phases = [(halt, -sense * acceleration), *back._phases]
        return Profile(start, goal, back.shape, phases)
    # Peak of the triangle that fits: left = (peak² - v0²)/2a + peak²/2a, v0 counted with its sign.
    peak = math.sqrt(acceleration * left + 0.5 * v0 * v0)
    top = min(peak, speed)
    change = (top - v0) / acceleration  # negative: it is too fast and slows down to ``speed``
    ramp = (abs(change), sense * math.copysign(acceleration, change))
    covered = abs(change) * (top + v0) / 2.0 + top * top / (2.0 * acceleration)
    cruise = max(0.0, (left - covered) / top) if top > 0.0 else 0.0
    shape = Shape.TRAPEZOIDAL if cruise > 0.0 else Shape.TRIANGULAR
    phases = [ramp, (cruise, 0.0), (top / acceleration, -sense * acceleration)]
    return Profile(start, goal, shape, phases)


def by_time(start: Desired, goal: float, seconds: float, ramp: float) -> Profile:
    """Time-based: there after ``seconds``, the first and the last ``ramp`` of it changing speed.

    Args:
        start: desired state now; its velocity is carried over.
        goal: [counts].
        seconds: 0 for no profile at all.
        ramp: [s]; at most half of ``seconds`` counts.

    Source: e-manual, "What is the Profile".
    """
    if seconds <= 0.0:
        return Profile(start, goal, Shape.STEP, [])
    distance = goal - start.position
    ramp = min(ramp, seconds / 2.0)
    if ramp <= 0.0:
        begin = start._replace(velocity=distance / seconds)
        return Profile(begin, goal, Shape.RECTANGULAR, [(seconds, 0.0)])
    # distance = ramp (v0 + v)/2 + v (seconds - 2 ramp) + v ramp/2
    top = (distance - ramp * start.velocity / 2.0) / (seconds - ramp)
    shape = Shape.TRAPEZOIDAL if seconds > 2.0 * ramp else Shape.TRIANGULAR
    phases = [
        (ramp, (top - start.velocity) / ramp),
        (seconds - 2.0 * ramp, 0.0),
        (ramp, -top / ramp),
    ]
    return Profile(start, goal, shape, phases)
