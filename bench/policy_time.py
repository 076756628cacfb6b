"""Microseconds of a policy step by kind and size, and whether --budget-us keeps its word here.

The grid of `retort bench host` is measured, students are picked for several budgets, and each pick
and the next larger width are measured again, in turns. Limit: every pick's median within its budget
and that of the next larger one above it. Budgets lie between widths that differ by more than 5 %.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
from retort.controller.host import measure_host, time_steps
from retort.controller.policy import Stack
from retort.distill.budget import Candidate, candidates, pick
from retort.distill.students import Interface, StudentConfig, make_student

INTERFACE = Interface.plain(48, 12)
FAMILIES = {
    "mlp": StudentConfig(kind="mlp", hidden=(1, 1)),
    "gru": StudentConfig(kind="gru", hidden=(1,)),
    "tcn": StudentConfig(kind="tcn", hidden=(), channels=(1, 1)),
}
ROUNDS, STEPS = 10, 400
MARGIN = 1.05  # below this a step up in width is lost in the noise of measuring


def policy(candidate: Candidate) -> Stack:
    meta, tensors = make_student(candidate.config, INTERFACE).eval().export()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    columns = INTERFACE.columns(candidate.config.kind)
    return Stack(meta, arrays, columns=columns, outputs=INTERFACE.outputs, limit=INTERFACE.limit)


def medians(several: list[Stack]) -> list[float]:
    """Of a step of each in its quietest round, as in the host file; in turns."""
    size = INTERFACE.observation_size
    times: list[list[np.ndarray]] = [[] for _ in several]
    for _ in range(ROUNDS):
        for one, kept in zip(several, times, strict=True):
            kept.append(time_steps(one, size, STEPS))
    return [float(min(map(np.median, kept))) for kept in times]


def main() -> int:
    host = measure_host(activations=("elu",))
    print(f"{host.machine['processor']}, {INTERFACE.observation_size} inputs; microseconds:")
    kept = True
    for kind, family in FAMILIES.items():
        sizes = candidates(host, family, INTERFACE)
        for size in sizes:
            print(
                f"  {kind} width {size.width:4}, {size.parameters:7,} parameters: {size.p50:6.1f}"
            )
        reachable = [
            (a.p50 + b.p50) / 2 for a, b in itertools.pairwise(sizes) if b.p50 > MARGIN * a.p50
        ]
        for budget in reachable[:: max(1, len(reachable) // 4)]:
            chosen, larger = pick(host, family, INTERFACE, budget)
            assert larger is not None  # budgets lie between two sizes
            got, more = medians([policy(chosen), policy(larger)])
            good = got <= budget < more
            kept &= good
            print(
                f"  budget {budget:5.1f}: width {chosen.width} ({chosen.parameters:,}) takes "
                f"{got:.1f}, width {larger.width} would take {more:.1f}: {'yes' if good else 'NO'}"
            )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
