"""Reading a flight log, also that of a run that was killed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from .recorder import DIRECTIONS, META, TICKS, WIRE, RecorderError


@dataclasses.dataclass(frozen=True)
class Flight:
    """A recorded run, in order of time."""

    folder: Path
    meta: dict[str, Any]  # contract, contract_hash, robot, period, realtime, result (None: killed)
    ticks: np.ndarray  # (ticks,) structured, see recorder.tick_dtype
    wire_rows: np.ndarray  # (rows,) structured, see recorder.WIRE_DTYPE

    def __len__(self) -> int:
        return len(self.ticks)

    def __getitem__(self, field: str) -> np.ndarray:
        """One field of every tick, (ticks, ...)."""
        try:
            return self.ticks[field]
        except ValueError:
            raise KeyError(
                f"a flight has no field {field!r}; it has {', '.join(self.ticks.dtype.names or ())}"
            ) from None

    def wire(self) -> list[tuple[float, str, bytes]]:
        """Every piece of raw bytes: time [s], ``out`` or ``in``, data (at most 46 bytes)."""
        return [
            (float(row["time"]), DIRECTIONS[row["direction"]], row["data"][: row["size"]].tobytes())
            for row in self.wire_rows
        ]


def load_flight(folder: str | Path) -> Flight:
    """Read what a run recorded; works on a run that is still going or was killed.

    Raises:
        RecorderError: there is no flight log, or it cannot be read.
    """
    folder = Path(folder)
    try:
        meta = json.loads((folder / META).read_text())
        ticks, wire = (_in_order(np.load(folder / name, mmap_mode="r")) for name in (TICKS, WIRE))
    except FileNotFoundError as error:
        raise RecorderError(f"{folder} holds no flight log: {error.filename} is missing") from error
    except (OSError, ValueError) as error:
        raise RecorderError(f"the flight log {folder} cannot be read: {error}") from error
    return Flight(folder, meta, ticks, wire)


def _in_order(ring: np.ndarray) -> np.ndarray:
    rows = np.array(ring[ring["sequence"] > 0])
    return rows[np.argsort(rows["sequence"])]
