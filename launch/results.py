"""What a run folder holds, read back for the report. Whatever is missing is None or empty."""

from __future__ import annotations

import dataclasses
import json
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..controller import Flight, State, load_flight
from ..controller.program import projected_gravity
from ..controller.recorder import DIRECTIONS
from ..hardware.errors import RetortError
from . import shapes

Json = dict[str, Any]

SWEEPS = ("noise", "attack", "forgetting")  # measurements of one run beside its evaluation

# What reading arrays and facts of another shape raises.
_DAMAGED = (
    OSError,
    EOFError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


class ResultsError(RetortError):
    """A run folder is missing or cannot be read."""


@dataclasses.dataclass(frozen=True)
class BusRun:
    """The ticks in which the policy had authority; times count from its first tick [s]."""

    seconds: float
    time: np.ndarray  # (ticks,)
    pitch: np.ndarray  # (ticks,) [rad], nose down positive
    turn_rate: np.ndarray  # (ticks,) [rad/s] about the body's vertical
    joint_position: np.ndarray  # (ticks, joints) [rad]; as all readings nan where one was missed
    joint_velocity: np.ndarray  # (ticks, joints) [rad/s]
    command: np.ndarray  # (ticks, commands)
    lateness: np.ndarray  # (ticks,) [s]
    parts: dict[str, np.ndarray]  # read, compute, write: (ticks,) [s]
    overruns: int
    period: float  # [s]
    joints: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]  # name, unit
    start: float  # the clock's time of the first tick [s]
    result: Json  # controller's RunResult as JSON; empty when the run was cut off
    wire_bytes: tuple[int, ...]  # sent and received while running
    flight: Flight


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything a run folder holds."""

    folder: Path
    recipe: Json
    stages: Json
    teacher: list[Json]
    student: list[Json]
    evaluation: Json | None
    sweeps: dict[str, str]  # figures of further measurements, SVG by name
    bus: BusRun | None
    events: list[Json]  # of the virtual robot; empty for a real one
    notes: dict[str, str]  # why a part could not be read

    @property
    def environment(self) -> str | None:
        """The Gymnasium environment it was learnt in; None for a robot."""
        return self.recipe.get("environment")

    def event_times(self, kind: str) -> list[float]:
        """When ``kind`` happened, in the bus run's time [s]."""
        if self.bus is None:
            return []
        times = [float(event["time"]) for event in self.events if event["event"] == kind]
        return [time - self.bus.start for time in times]

    def endured_pushes(self) -> list[float]:
        """Pushes while the policy had authority [s]."""
        end = self.bus.seconds if self.bus else 0.0
        return [time for time in self.event_times("push") if 0.0 <= time <= end]

    def fell(self) -> bool:
        """Whether the virtual robot fell while the policy had authority."""
        end = self.bus.seconds if self.bus else 0.0
        return any(0.0 <= time <= end for time in self.event_times("fall"))


def load_results(folder: Path) -> Results:
    """Read what ``folder`` holds.

    Raises:
        ResultsError: no such folder. A part that cannot be read becomes a note instead.
    """
    if not folder.is_dir():
        raise ResultsError(f"there is no run folder {folder}; `retort launch RECIPE` makes one")
    notes: dict[str, str] = {}

    def lines(name: str, whole: Callable[[Json], bool]) -> list[Json]:
        path = folder / name
        if not path.is_file():
            return []
        rows = []
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            row = _object(line)
            if row is None or not whole(row):
                notes[name] = f"{name}: line {number} is not complete and was left out."
            else:
                rows.append(row)
        return rows

    def json_file(name: str, whole: Callable[[Json], bool], remedy: str = "") -> Json | None:
        path = folder / name
        if not path.is_file():
            return None
        data = _object(path.read_text(errors="replace"))
        if data is None or not whole(data):
            notes[name] = f"{name} is damaged and was left out{remedy}."
            return None
        return data

    def recipe() -> Json:
        path = folder / "recipe.toml"
        try:
            data = tomllib.loads(path.read_text()) if path.is_file() else {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            data = None
        if data is None or not shapes.is_recipe(data):
            notes[path.name] = f"{path.name} is damaged and was left out."
            return {}
        return data

    bus = None
    if (folder / "flight").is_dir():
        try:
            bus = _bus_run(load_flight(folder / "flight"))
            if bus is None:
                notes["flight"] = "The policy never had authority in the recorded flight."
        except RetortError as error:
            notes["flight"] = f"The flight log cannot be read: {error}"
        except _DAMAGED as error:
            notes["flight"] = f"The flight log is damaged and was left out ({error!r})."
    stages = json_file("stages.json", shapes.is_stages) or {}
    student = lines("distillation/progress.jsonl", shapes.is_progress)
    measure = f"retort eval {shlex.quote(str(folder))}"
    remedy = f"; `{measure} --fresh` measures anew"
    evaluation = json_file("evaluation.json", shapes.is_evaluation, remedy)
    if stages and student and "distill" not in stages:
        student = []
        notes["distillation"] = (
            "The student of an earlier teacher was left out; `retort distill` makes one of this."
        )
    if stages and evaluation is not None and not stages.get("eval", {}).get("complete"):
        evaluation = None
        notes["evaluation"] = (
            "evaluation.json is of an earlier teacher or student and was left out; `retort eval` "
            "measures those that stand here now."
        )
    sweeps = {}
    for name in SWEEPS:
        data, figure = json_file(f"{name}.json", lambda _: True), folder / f"{name}.svg"
        if data is None or not figure.is_file():
            continue
        if data.get("of") == stages.get("eval", {}).get(name, ""):
            sweeps[name] = figure.read_text(errors="replace")
        else:
            notes[name] = (
                f"{name}.json is of an earlier teacher, student or evaluation and was left out; "
                f"`{measure} --{name}` measures those that stand here now."
            )
    return Results(
        folder=folder,
        recipe=recipe(),
        stages=stages,
        teacher=lines("teacher/progress.jsonl", shapes.is_progress),
        student=student,
        evaluation=evaluation,
        sweeps=sweeps,
        bus=bus,
        events=lines("emulator.jsonl", shapes.is_event),
        notes=notes,
    )


def _object(text: str) -> Json | None:
    """A JSON object; None if ``text`` is not one."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _bus_run(flight: Flight) -> BusRun | None:
    """The part of a flight in which the policy had authority."""
    running = flight.ticks["state"] == State.RUN
    if not running.any():
        return None
    ticks = flight.ticks[running]
    time = ticks["time"].astype(float)
    start, end = float(time[0]), float(time[-1])
    gravity = np.asarray(projected_gravity(ticks["orientation"].astype(float)))
    pitch = np.arctan2(gravity[:, 0], -gravity[:, 2])
    pitch[~ticks["imu_valid"]] = np.nan
    turn_rate = ticks["angular_velocity"][:, 2].astype(float)
    turn_rate[~ticks["imu_valid"]] = np.nan
    position = ticks["joint_position"].astype(float)
    velocity = ticks["joint_velocity"].astype(float)
    position[~ticks["joint_valid"]] = velocity[~ticks["joint_valid"]] = np.nan
    contract = flight.meta["contract"]
    period = float(flight.meta["period"])
    result = flight.meta.get("result") or {}
    if not (period > 0.0 and np.isfinite([start, end]).all() and shapes.is_result(result)):
        raise ValueError("its times or its result are not what a run leaves")
    wire: dict[str, int] = {name: 0 for name in DIRECTIONS}
    for when, direction, data in flight.wire():
        if start <= when <= end:
            wire[direction] += len(data)
    return BusRun(
        seconds=end - start + period,
        time=time - start,
        pitch=pitch,
        turn_rate=turn_rate,
        joint_position=position,
        joint_velocity=velocity,
        command=ticks["command"].astype(float),
        lateness=ticks["lateness"].astype(float),
        parts={name: ticks[f"{name}_time"].astype(float) for name in ("read", "compute", "write")},
        overruns=int(ticks["overruns"][-1]) - int(ticks["overruns"][0]),
        period=period,
        joints=tuple(contract["joints"]),
        commands=tuple((spec["name"], spec["unit"]) for spec in contract["command"]),
        start=start,
        result=result,
        wire_bytes=tuple(wire.values()),
        flight=flight,
    )
