"""The processor time of two ways of doing the same, compared so that a busy machine matters little.

Rounds of both take turns, a few milliseconds each. What slows the machine down slows two
neighbours alike, so the ratio is the median of the ratios of neighbours; the times printed beside
it are each side's best round.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable

ROUNDS = 60


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One call of either side."""

    ours: float  # [s] in the best round
    peer: float  # [s] in the best round
    ratio: float  # ours to peer, median over neighbouring rounds
    spread: tuple[float, float]  # the first and the ninth decile of those ratios


def compare(ours: Callable[[], object], peer: Callable[[], object], calls: int) -> Comparison:
    """Time ``calls`` of both, in ``ROUNDS`` that take turns."""
    each = max(1, calls // ROUNDS)
    _round(ours, 1)
    _round(peer, 1)  # both warm
    pairs = [(_round(ours, each), _round(peer, each)) for _ in range(ROUNDS)]
    ratios = [mine / theirs for mine, theirs in pairs]
    deciles = statistics.quantiles(ratios, n=10)
    mine, theirs = zip(*pairs, strict=True)
    spread = (deciles[0], deciles[-1])
    return Comparison(min(mine), min(theirs), statistics.median(ratios), spread)


def report(name: str, found: Comparison, peer: str, wire: int, baud: int, limit: float) -> bool:
    """Print ``found``; whether the limit holds.

    Args:
        name: what was measured.
        found: the figures.
        peer: what it was measured against.
        wire: bytes a tick needs on the wire.
        baud: [bit/s]
        limit: of the ratio.
    """
    low, high = found.spread
    print(f"{name}, CPU per tick:")
    print(f"  {'retort':<19} {1e6 * found.ours:8.1f} us")
    print(f"  {peer:<19} {1e6 * found.peer:8.1f} us")
    deciles = f"deciles {low:.3f} {high:.3f}"
    print(f"  {'ratio':<19} {found.ratio:8.3f}      (at most {limit}; {deciles})")
    print(f"  wire at {baud / 1e6:g} Mbit/s   {wire * 10e6 / baud:8.1f} us   ({wire} bytes)")
    return found.ratio <= limit


def _round(call: Callable[[], object], times: int) -> float:
    """Mean time of one call [s]."""
    began = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - began) / times
