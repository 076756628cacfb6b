"""What a run leaves behind: one small JSON file, complete in itself."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from retort.launch.files import write_whole

_ROOT = Path(__file__).parents[2]
# Of the project, and of the peers it is timed against.
_PACKAGES = (
    "retort", "torch", "numpy", "mujoco", "gymnasium", "stable-baselines3", "rsl-rl-lib", "envpool",
    "rltools", "minatar", "minari",
)  # fmt: skip


class Point(NamedTuple):
    """One evaluation in the course of a run."""

    steps: int  # environment steps the learner took
    seconds: float  # it learnt for, evaluation off the clock
    mean_return: float  # over deterministic episodes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run."""

    table: str
    task: str
    arm: str
    seed: int
    budget: int  # environment steps
    settings: dict[str, Any]
    curve: list[Point]
    final: list[float]  # returns of held-out deterministic episodes, by the last parameters
    figures: dict[str, float]  # parameters, seconds, teacher queries, ...
    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str
    date: str
    series: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # more than a number
    checkpoints: dict[str, str] = dataclasses.field(default_factory=dict)  # digests of those read

    @property
    def mean_return(self) -> float:
        """Of the held-out episodes."""
        return sum(self.final) / len(self.final)


def write_result(folder: Path, name: str, result: Result) -> Path:
    """Write ``<folder>/<table>/<name>.json``; a reader sees all of it or nothing."""
    path = folder / result.table / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _text(dataclasses.asdict(result)))
    return path


def _text(data: dict[str, Any]) -> str:
    """JSON with a line per field, and per point of the curve, so that a change can be read."""
    rows = []
    for name, value in data.items():
        text = json.dumps(value)
        if name == "curve" and value:
            text = "[\n  " + ",\n  ".join(json.dumps(point) for point in value) + "\n ]"
        rows.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(rows) + "\n}\n"


def read_result(path: Path) -> Result:
    """The inverse of ``write_result``.

    Raises:
        ValueError: it is not a result.
    """
    try:
        data = json.loads(path.read_text())
        data["curve"] = [Point(*point) for point in data["curve"]]
        return Result(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a result of this harness ({error}); delete it and run again"
        ) from error


def read_results(folder: Path, table: str) -> list[Result]:
    """All results of a table, by file name and there by seed."""
    return [read_result(path) for path in sorted((folder / table).glob("*.json"), key=_by_seed)]


def _by_seed(path: Path) -> tuple[str, int]:
    """A name ends with its seed, of which the tenth comes after the second."""
    name, _, seed = path.stem.rpartition("_s")
    return (f"{name}_s", int(seed)) if seed.isdecimal() else (path.stem, 0)


def machine() -> dict[str, Any]:
    """Where this runs, and its load average: processes that wanted to run in the last minute."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def versions() -> dict[str, str]:
    """Of what a result depends on, as far as it is installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit at work, with ``+`` where the tree differs from it in more than what runs leave
    and the page made of that.
    """
    name = _git("rev-parse", "--short=12", "HEAD").stdout.strip()
    if not name:
        return "unknown"
    folders = ("bench/results*", "bench/checkpoints*", "docs")  # of every scale
    made = (f":(exclude){folder}" for folder in folders)
    same = _git("diff", "--quiet", "HEAD", "--", ".", *made).returncode == 0
    return name if same else f"{name}+"


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, text=True, check=False)


def today() -> str:
    """Date, UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    rows = info.read_text().splitlines() if info.exists() else []
    names = [row.split(":", 1)[1].strip() for row in rows if row.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
