"""Recovery judged: when a policy was itself again after a change, from its result's rates.

A result has the series ``<change>, before``, ``after``, ``unswitched`` and ``from the start`` of
each change; ``tables/adaptation.py`` measures them, and says what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from retort.distill.adaptation import recovery_times
from retort.distill.adaptation.recovery import WINDOW

from .changing import MEMORYLESS, RECURRENT, Change
from .report import of_common_seeds, verdict
from .results import Result

BEFORE, UNSWITCHED = "before", "unswitched"  # series of rates
SEEDS = (1, 2, 3)
SOON = 1.0  # [s] within which the recurrent one must be back
LEAST = 0.1  # of the steady rate: a share of less than that says nothing


class Back(NamedTuple):
    """When a policy was itself again [s], median over seeds, of which some may have no steady rate
    to be back at: as if those had been at once, and as if never.
    """

    soonest: float
    latest: float
    unsteady: int  # seeds
    seeds: int

    def __str__(self) -> str:
        if self.unsteady == self.seeds:
            return "no steady rate"
        ends = [seconds_or_never(time) for time in dict.fromkeys((self.soonest, self.latest))]
        unknown = f" ({self.unsteady} of {self.seeds} without a steady rate)"
        return " to ".join(ends) + (unknown if self.unsteady else "")


def back_after(change: Change, group: Sequence[Result], against: str = UNSWITCHED) -> Back:
    """Median over a group's seeds, relative to the same policy unswitched or before; of no group
    nothing is known.
    """
    if not group:
        return Back(0.0, np.inf, 0, 0)
    known = times_back(change, [r for r in group if is_steady(r.series, change)], against)
    unsteady = len(group) - len(known)
    soonest, latest = (float(np.median([*known, *[end] * unsteady])) for end in (WINDOW, np.inf))
    return Back(soonest, latest, unsteady, len(group))


def judge(change: Change, groups: dict[str, list[Result]], against: str = UNSWITCHED) -> str:
    """Empty where it cannot be said; undefined where a seed without a steady rate would decide.

    A recurrent student that is not back is that, whatever the memoryless one does.
    """
    recurrent, memoryless = (groups.get(arm, []) for arm in (RECURRENT, MEMORYLESS))
    if not recurrent:
        return ""
    back = back_after(change, recurrent, against)
    if back.soonest > SOON:
        return verdict(False, recurrent, SEEDS)
    if back.latest > SOON:
        return "undefined: the recurrent one had no steady rate"
    _, beside = of_common_seeds(recurrent, memoryless)
    if not beside:
        return ""
    other = back_after(change, beside, against)
    if other.latest <= SOON:
        return "neither was thrown off"
    if other.soonest <= SOON:
        return "undefined: the memoryless one had no steady rate"
    return verdict(True, recurrent, SEEDS, memoryless)


def relative_rates(
    series: Mapping[str, list[float]], change: Change, against: str = UNSWITCHED
) -> np.ndarray:
    """Rates after a change over those of the same policy without it, (windows,), or over its mean
    one before it; nan where these are nothing.
    """
    after, steady = (np.array(series[f"{change.name}, {when}"]) for when in ("after", against))
    if against == BEFORE:
        steady = steady.mean()
    return after / steady if is_steady(series, change) else np.full(len(after), np.nan)


def is_steady(series: Mapping[str, list[float]], change: Change) -> bool:
    """There is a rate, and it lasts where nothing changes."""
    steady = float(np.mean(series[f"{change.name}, {BEFORE}"]))
    return min(series[f"{change.name}, {UNSWITCHED}"]) > LEAST * steady > 0.0


def steady_rate(result: Result, change: Change) -> float:
    """The policy's own rate before the change."""
    return float(np.mean(result.series[f"{change.name}, {BEFORE}"]))


def share_of_start(change: Change, group: Sequence[Result]) -> float:
    """Of what it earns where the robot is so from the start, median over seeds; nan of nearly
    nothing.
    """
    window, shares = round(SOON / WINDOW) - 1, []
    for result in group:
        after, always = (
            result.series[f"{change.name}, {when}"][window] for when in ("after", "from the start")
        )
        enough = always > max(0.0, LEAST * steady_rate(result, change))
        shares.append(after / always if enough else np.nan)
    return float(np.median(shares))


def late_rate(result: Result, change: Change) -> float:
    """The policy's rate from then on, when it must be back."""
    return float(np.mean(result.series[f"{change.name}, after"][round(SOON / WINDOW) :]))


def times_back(change: Change, group: Sequence[Result], against: str = UNSWITCHED) -> list[float]:
    """When each seed was back [s]; infinity where it never was."""
    return [
        float(recovery_times(relative_rates(r.series, change, against)[:, None])[0]) for r in group
    ]


def seconds_or_never(seconds: float) -> str:
    """In words."""
    return f"{seconds:.1f} s" if np.isfinite(seconds) else "never"
