"""The robot of twelve servos on one line that the benchmarks of the bus share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retort.hardware.parsing import parse
from retort.hardware.robot import Robot

SERVOS = 12
IDS = tuple(range(1, SERVOS + 1))
BAUD = 1_000_000
MODELS = {"dynamixel2": "xl330-m288", "feetech": "sts3215"}


def twelve(
    protocol: str = "dynamixel2", mode: str = "position", fraction: float = 0.3, **read: Any
) -> Robot:
    """Servos ``joint_1`` to ``joint_12``, read at 100 Hz.

    Args:
        protocol: of the line.
        mode: of every servo.
        fraction: of the period, for one read.
        **read: further keys of ``[read]``.
    """
    names = [f"joint_{id}" for id in IDS]
    return parse(
        Robot,
        {
            "name": "twelve",
            "folder": Path("/nowhere"),
            "model": "none.xml",
            "control_rate": 100.0,
            "read_fraction": fraction,
            "watchdog": 0.1,
            "line": [{"name": "main", "protocol": protocol, "baud": BAUD}],
            "joint": [
                {"name": name, "line": "main", "id": id, "servo": MODELS[protocol], "mode": mode}
                for id, name in zip(IDS, names, strict=True)
            ],
            "read": {"order": names, **read},
            "ramp": {"kind": "pose"},
            "damp": {"kind": "hold"},
            "safety": {"tilt": 1.0, "stale_ticks": 5, "slew": 10.0},
        },
    )
