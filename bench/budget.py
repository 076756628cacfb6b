"""Does --budget-us keep its word on this computer?

`retort bench host` measures the grid, students of every kind are picked for several budgets, and
each pick and the next larger width are measured again in the NumPy runtime, in turns. Met: the
pick's median step is within its budget, and the next larger one's is not, or by less than twice
the margin that `distill/budget.py` leaves for noise: one measurement says no more. Where nothing
fits, the same holds of the smallest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from retort.controller.host import Host, load_host, time_steps
from retort.controller.policy import Stack
from retort.distill.budget import MARGIN, BudgetError, Candidate, candidates, pick
from retort.distill.students import Interface, StudentConfig, make_student
from retort.launch.cli import main as retort

INTERFACE = Interface.plain(48, 12)
FAMILIES = {
    "mlp": StudentConfig(kind="mlp", hidden=(1, 1)),
    "gru": StudentConfig(kind="gru", hidden=(1,)),
    "tcn": StudentConfig(kind="tcn", hidden=(), channels=(1, 1)),
}
BUDGETS = (10.0, 12.0, 14.0, 16.0, 20.0, 50.0, 200.0)  # [us]
TIE = 2.0 * MARGIN
ROUNDS, STEPS = 20, 400


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", type=Path, help="a host file of this computer, made just now")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.host or Path(folder) / "host.json"
        if given.host is None and retort(["bench", "host", "--out", str(path)]):
            return 1
        host = load_host(path)
    size = INTERFACE.observation_size
    print(f"{host.machine['processor']}, {size} inputs; medians in microseconds:")
    print("kind budget | width parameters expected takes | next width takes | met")
    rows = [_row(host, kind, budget) for kind in FAMILIES for budget in BUDGETS]
    return 0 if all(rows) else 1


def _row(host: Host, kind: str, budget: float) -> bool:
    """Print what is picked for a budget and how long it takes; whether that is right."""
    family = FAMILIES[kind]
    try:
        chosen, larger = pick(host, family, INTERFACE, budget)
    except BudgetError:
        [takes] = medians([policy(candidates(host, family, INTERFACE)[0])])
        met = takes > budget * (1.0 - TIE)
        print(f"{kind:4} {budget:6.0f} | none fits, the smallest takes {takes:.1f} | {_said(met)}")
        return met
    measured = [chosen] if larger is None else [chosen, larger]
    takes, *more = medians([policy(candidate) for candidate in measured])
    met = takes <= budget and all(time > budget * (1.0 - TIE) for time in more)
    beyond = "there is none" if larger is None else f"{larger.width:4} {more[0]:7.1f}"
    print(
        f"{kind:4} {budget:6.0f} | {chosen.width:4} {chosen.parameters:8,} {chosen.p50:7.1f} "
        f"{takes:7.1f} | {beyond} | {_said(met)}"
    )
    return met


def policy(candidate: Candidate) -> Stack:
    """The candidate in the runtime, of random weights."""
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


def _said(met: bool) -> str:
    return "yes" if met else "NO"


if __name__ == "__main__":
    sys.exit(main())
