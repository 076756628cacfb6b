"""What is known about a run: while it goes on, and when it has ended."""

from __future__ import annotations

import dataclasses
from typing import Literal

from ..hardware.bus import DeviceCounters
from .contract import Mismatch
from .machine import State
from .timing import Spread

Outcome = Literal["completed", "stopped", "fault", "refused", "error"]


@dataclasses.dataclass(frozen=True)
class Progress:
    """How a run stands, once per second."""

    state: State
    time: float  # [s] since the run began
    ticks: int
    overruns: int
    lateness_max: float  # [s] in the last second
    tilt: float  # [rad]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended.

    ``completed``: the time was up. ``stopped``: a person or a signal. ``fault``: the gate or the
    servos called for a stop. ``refused``: the policy never had authority. ``error``: the port or a
    device failed outright.
    """

    outcome: Outcome
    sentence: str  # why, for a person
    fault: str | None = None  # names of the gate's reasons, "TILT" or "STALE|TILT"; or "TORQUE"
    mismatches: tuple[Mismatch, ...] = ()
    ticks: int = 0
    run_ticks: int = 0  # with the policy in authority
    run_seconds: float = 0.0
    overruns: int = 0  # slots missed
    lateness: Spread  # [s], like the following over the ticks with authority
    read: Spread
    compute: Spread
    write: Spread
    counters: dict[str, DeviceCounters] = dataclasses.field(default_factory=dict)
    torque_off: dict[str, bool] = dataclasses.field(default_factory=dict)  # confirmed, per servo
    energised: bool = False  # torque was switched on, or found on
    realtime: tuple[str, ...] = ()  # what was not granted and why

    @property
    def ok(self) -> bool:
        """Nothing went wrong, and every servo confirmed that its torque is off."""
        return self.outcome in ("completed", "stopped") and all(self.torque_off.values())
