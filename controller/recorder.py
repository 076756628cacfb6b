"""The flight recorder: every tick and every byte, in preallocated files that survive kill -9.

``flight.npy`` holds one row per tick and ``wire.npy`` the raw bytes; both are rings over memory
maps, so a row is on its way to the disk the moment it is written. ``meta.json`` says what they are.
An earlier flight stays until the first tick of the next one. Reading is flight.py.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..hardware.errors import RetortError
from ..hardware.robot import Robot
from .contract import Contract
from .gate import tilt
from .tick import Tick

TICKS, WIRE, META = "flight.npy", "wire.npy", "meta.json"
CHUNK = 46  # bytes of data in one 64-byte row of wire.npy; longer pieces take several rows
DIRECTIONS = ("out", "in")


class RecorderError(RetortError):
    """A flight log cannot be written or read."""


def tick_dtype(contract: Contract) -> np.dtype:
    """One row of ``flight.npy``."""
    joints, commands = len(contract.joints), len(contract.command)
    return np.dtype(
        [
            ("sequence", "u8"),  # 0: empty; written last, so that a torn row is not believed
            ("tick", "i8"),  # slot, skipped ones counted
            ("time", "f8"),  # [s], when the tick began
            ("lateness", "f8"),  # [s]
            ("read_time", "f8"),  # [s]
            ("compute_time", "f8"),  # [s], from the reading to the checked target
            ("write_time", "f8"),  # [s]
            ("state", "u1"),  # machine.State
            ("overruns", "u4"),  # slots missed so far
            ("joint_position", "f4", (joints,)),  # the reading as it came
            ("joint_velocity", "f4", (joints,)),
            ("joint_effort", "f4", (joints,)),
            ("orientation", "f4", (4,)),
            ("angular_velocity", "f4", (3,)),
            ("linear_acceleration", "f4", (3,)),
            ("joint_valid", "?", (joints,)),
            ("imu_valid", "?"),
            ("voltage", "f4", (joints,)),
            ("temperature", "f4", (joints,)),
            ("tilt", "f4"),  # [rad], of the coasted orientation
            ("command", "f4", (commands,)),
            ("observation", "f4", (contract.observation_size,)),
            ("action", "f4", (joints,)),  # the policy's output; NaN where it had no say
            ("target", "f4", (joints,)),  # what was wanted; NaN where nothing was
            ("sent", "f4", (joints,)),  # what was sent; NaN where nothing was
            ("reasons", "u4"),  # gate.Reason
        ]
    )


WIRE_DTYPE = np.dtype(
    [
        ("sequence", "u8"),
        ("time", "f8"),
        ("direction", "u1"),  # index in DIRECTIONS
        ("size", "u1"),  # bytes used of data
        ("data", "u1", (CHUNK,)),
    ]
)


class FlightRecorder:
    """Records one run, which takes the place of an older flight in ``folder`` once it has begun.

    Until then it stands in ``FOLDER.partial``; if it never begins, nothing is left of it.

    Args:
        folder: where.
        contract: of the policy.
        robot: that is run.
        seconds: how much is kept; the oldest is overwritten by what comes later.
        begun: called when this flight takes its place.

    Attributes:
        folder: where the flight stands now.
        kept: whether it has taken its place.

    Raises:
        RecorderError: the folder cannot be written or the disk has not enough room for all of it.
    """

    def __init__(
        self,
        folder: str | Path,
        contract: Contract,
        robot: Robot,
        seconds: float = 600.0,
        begun: Callable[[], None] | None = None,
    ) -> None:
        self._place = Path(folder)
        self._begun = begun
        self.folder = self._place.with_name(f"{self._place.name}.partial")
        self.kept = False
        ticks = max(1, int(np.ceil(seconds * contract.control_rate)))
        try:
            _remove(self.folder)  # of a run that was killed before it began
            self.folder.mkdir(parents=True)
            self._ticks = _allocate(self.folder / TICKS, tick_dtype(contract), ticks)
            # A request and a write out, a reply in, each of a few rows.
            rows = ticks * (4 + 2 * len(robot.joint))
            self._wire = _allocate(self.folder / WIRE, WIRE_DTYPE, rows)
            self._meta: dict[str, Any] = {
                "contract": contract.to_dict(),
                "contract_hash": contract.hash(),
                "robot": robot.name,
                "period": contract.period,
                "result": None,
            }
            self.note()
        except (OSError, RecorderError) as error:
            _remove(self.folder)
            if isinstance(error, RecorderError):
                raise
            raise RecorderError(
                f"the flight log {self._place} of {seconds:g} s cannot be written: "
                f"{error.strerror}; free some space or name another folder"
            ) from error
        # A field's view is found once here instead of at every tick.
        assert self._ticks.dtype.names is not None
        self._column = {name: self._ticks[name] for name in self._ticks.dtype.names}
        self._nan = np.full(len(contract.joints), np.nan, dtype=np.float32)
        self._sequence = 0
        self._wire_column = {name: self._wire[name] for name in WIRE_DTYPE.names or ()}
        self._wire_bytes = self._wire["data"]
        self._wire_sequence = 0

    def begin(self) -> None:
        """Take the place of an older flight. Called before the first tick at the latest.

        Raises:
            RecorderError: the older one cannot be moved out of the way.
        """
        if self.kept:
            return
        older = self._place.with_name(f"{self._place.name}.older")
        try:
            _remove(older)
            if self._place.exists():
                self._place.rename(older)
            self.folder.rename(self._place)
            self.folder, self.kept = self._place, True
            if self._begun is not None:
                self._begun()
            _remove(older)
        except OSError as error:
            raise RecorderError(
                f"the flight log {self._place} cannot be replaced: {error.strerror}; allow "
                "writing there or name another folder"
            ) from error

    def note(self, **facts: Any) -> None:
        """Put ``facts`` (JSON data) into ``meta.json``. Not for use while ticking."""
        self._meta.update(facts)
        temporary = self.folder / (META + ".new")
        try:
            temporary.write_text(json.dumps(self._meta, indent=1, default=_plain) + "\n")
            os.replace(temporary, self.folder / META)
        except OSError as error:
            raise RecorderError(
                f"{self.folder / META} could not be written: {error.strerror}; free some space"
            ) from error

    def tick(self, tick: Tick) -> None:
        """Record one tick."""
        if not self.kept:
            self.begin()
        row = self._sequence % len(self._ticks)
        column, reading = self._column, tick.reading
        column["sequence"][row] = 0
        column["tick"][row] = tick.slot
        column["time"][row] = tick.time
        column["lateness"][row] = tick.lateness
        column["read_time"][row] = tick.read_time
        column["compute_time"][row] = tick.compute_time
        column["write_time"][row] = tick.write_time
        column["state"][row] = tick.state
        column["overruns"][row] = tick.overruns
        column["joint_position"][row] = reading.joint_position
        column["joint_velocity"][row] = reading.joint_velocity
        column["joint_effort"][row] = reading.joint_effort
        column["orientation"][row] = reading.orientation
        column["angular_velocity"][row] = reading.angular_velocity
        column["linear_acceleration"][row] = reading.linear_acceleration
        column["joint_valid"][row] = reading.joint_valid
        column["imu_valid"][row] = reading.imu_valid
        if reading.health is not None:
            column["voltage"][row] = reading.health.voltage
            column["temperature"][row] = reading.health.temperature
        column["tilt"][row] = tilt(tick.memory.orientation)
        column["command"][row] = tick.command
        column["observation"][row] = tick.observation
        column["action"][row] = self._nan if tick.action is None else tick.action
        column["target"][row] = self._nan if tick.target is None else tick.target
        column["sent"][row] = self._nan if tick.sent is None else tick.sent
        column["reasons"][row] = tick.reasons
        self._sequence += 1
        column["sequence"][row] = self._sequence

    def tap(self, time: float, direction: str, data: bytes) -> None:
        """Record raw bytes: ``out`` from the host, ``in`` to it, at ``time`` [s]."""
        column = self._wire_column
        code = DIRECTIONS.index(direction)
        for start in range(0, len(data), CHUNK):
            piece = data[start : start + CHUNK]
            row = self._wire_sequence % len(self._wire)
            column["sequence"][row] = 0
            column["time"][row] = time
            column["direction"][row] = code
            column["size"][row] = len(piece)
            self._wire_bytes[row, : len(piece)] = np.frombuffer(piece, dtype=np.uint8)
            self._wire_sequence += 1
            column["sequence"][row] = self._wire_sequence

    def close(self, result: Any) -> None:
        """Flush everything and note the result (a dataclass or JSON data), or leave no trace."""
        if not self.kept:
            _remove(self.folder)
            return
        self._ticks.flush()
        self._wire.flush()
        self.note(result=result)


def _allocate(path: Path, dtype: np.dtype, rows: int) -> np.memmap:
    """A zeroed structured .npy whose blocks exist, so that a full disk shows now and not as a
    SIGBUS in the middle of a run."""
    path.unlink(missing_ok=True)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(rows,))
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)
