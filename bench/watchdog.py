"""Kill -9 of ``retort run`` while it balances, in real time: when do the servos stop by themselves?

    python bench/watchdog.py [--bundle runs/balancer/student] [--times 3]

Needs a bundle (``make demo``, or ``retort launch``). The virtual robot runs in a process of its own
and writes down when each servo's bus watchdog trips; it looks every 10 ms, which is in the figure.
Limit: both servos within 120 ms of the kill, every time. Every wait here ends by itself.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from retort.hardware import RealClock
from retort.launch.emulate import emulator_process
from retort.launch.virtual import VirtualConfig

LIMIT = 0.12  # [s]
START = 40.0  # [s] for the run to take over
BALANCE = 2.0  # [s] before the kill
AFTER = 2.0  # [s] for the watchdogs to trip
LOOK = 0.02  # [s]
CLOCK = RealClock()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=Path("runs/balancer/student"))
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    if not (arguments.bundle / "manifest.json").is_file():
        print(f"there is no bundle {arguments.bundle}; `make demo` makes one", file=sys.stderr)
        return 1
    worst = 0.0
    for number in range(arguments.times):
        with tempfile.TemporaryDirectory() as folder:
            tripped = kill_and_wait(arguments.bundle, Path(folder))
        for servo, seconds in tripped.items():
            print(f"kill {number + 1}: {servo:12} stopped after {seconds * 1e3:6.1f} ms")
        worst = max(worst, *tripped.values())
    print(f"worst {worst * 1e3:.1f} ms (at most {LIMIT * 1e3:.0f})")
    return 0 if worst <= LIMIT else 1


def kill_and_wait(bundle: Path, folder: Path) -> dict[str, float]:
    """Seconds from the kill to the trip of each servo; inf where it did not."""
    log = folder / "emulator.jsonl"
    with emulator_process("balancer", VirtualConfig(), log) as (port,):
        command = [sys.executable, "-m", "retort.launch", "run", str(bundle)]
        command += [f"--port={port}", f"--out={folder / 'out'}"]
        with (folder / "run.txt").open("wb") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            if not wait_for(lambda: bool(times(log, "hand lets go")), START):
                text = (folder / "run.txt").read_text()
                raise SystemExit(f"the run did not take over within {START:g} s: {text}")
            CLOCK.sleep_until(CLOCK.now() + BALANCE)
            if process.poll() is not None or times(log, "fall"):
                raise SystemExit("the robot was not balancing when it should have been")
            killed = CLOCK.now()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=5.0)
        wait_for(lambda: len(times(log, "watchdog trips")) >= 2, AFTER)
        found = {servo: time - killed for servo, time in times(log, "watchdog trips").items()}
    return {name: found.get(name, float("inf")) for name in ("left_wheel", "right_wheel")}


def times(log: Path, event: str) -> dict[str, float]:
    """When ``event`` happened, by servo ("" for events of the robot)."""
    if not log.is_file():
        return {}
    rows = [
        json.loads(line) for line in log.read_text().splitlines(keepends=True) if line[-1:] == "\n"
    ]
    return {row.get("servo", ""): row["time"] for row in rows if row["event"] == event}


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether ``condition`` came true within ``seconds``."""
    deadline = CLOCK.now() + seconds
    while CLOCK.now() < deadline:
        if condition():
            return True
        CLOCK.sleep_until(CLOCK.now() + LOOK)
    return condition()


if __name__ == "__main__":
    raise SystemExit(main())
