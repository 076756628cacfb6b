"""``retort bench host``: how fast this computer runs policies, as a file for ``retort distill``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..controller.host import Host, measure_host
from .files import require_writable, write_whole


def add_parser(verbs: Any) -> None:
    """Add ``bench`` with what can be measured."""
    bench = verbs.add_parser("bench", help="measure this computer", description="Measure.")
    what = bench.add_subparsers(dest="what", required=True, metavar="WHAT")
    host = what.add_parser(
        "host",
        help="time policies of every kind and size",
        description="Time a policy's step for every kind and size on this computer, the robot's. "
        "`retort launch RECIPE --budget-us 50 --host FILE --out FOLDER` then picks the largest "
        "student that keeps a budget. A measurement that is interrupted leaves nothing.",
    )
    host.add_argument(
        "--out",
        type=Path,
        default=Path("host.json"),
        metavar="FILE",
        help="what `--host` of launch and distill takes (default: %(default)s)",
    )
    host.add_argument(
        "--steps",
        type=_positive,
        default=400,
        help="timed of each policy in a pass (default: %(default)s)",
    )
    host.add_argument(
        "--passes", type=_positive, default=5, help="through all policies (default: %(default)s)"
    )
    host.set_defaults(act=_act)


def _act(options: argparse.Namespace) -> int:
    def show(done: int, total: int) -> None:
        if done % max(1, total // 10) == 0 or done == total:
            print(f"{done} of {total} measured", file=sys.stderr, flush=True)

    require_writable(options.out)
    host = measure_host(options.steps, options.passes, progress=show)
    write_whole(options.out, host.to_json())
    for line in _summary(host):
        print(line)
    print(f"host: made {options.out}")
    print(f"next: retort launch RECIPE --budget-us MICROSECONDS --host {options.out} --out FOLDER")
    return 0


def _summary(host: Host) -> list[str]:
    """For each kind, its smallest and its largest policy."""
    lines = []
    for kind in dict.fromkeys(row.kind for row in host.timings):
        rows = sorted((r for r in host.timings if r.kind == kind), key=lambda row: row.parameters)
        for row in (rows[0], rows[-1]):
            lines.append(
                f"{kind:4} {row.parameters:7,} parameters: p50 {row.p50:6.1f} us, "
                f"p99 {row.p99:6.1f} us"
            )
    return lines


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
