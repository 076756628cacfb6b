"""How long the robot's side takes to import, in fresh processes. Limit: 0.5 s (median)."""

from __future__ import annotations

import statistics
import subprocess
import sys

LIMIT = 0.5  # [s]
CODE = """
import time
start = time.perf_counter()
import retort.controller, retort.hardware
print(time.perf_counter() - start)
"""


def main() -> int:
    times = [
        float(subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True).stdout)
        for _ in range(7)
    ]
    median = statistics.median(times)
    print(
        f"import retort.controller, retort.hardware: median {median:.3f} s, "
        f"worst {max(times):.3f} s of {len(times)} (limit {LIMIT} s)"
    )
    return 0 if median <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
