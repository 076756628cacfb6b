"""Whether what stands in a run folder's files has the shape that the report shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

_NAMES = ("name", "robot", "task", "environment")
_INTERVAL = ("value", "low", "high")
_COUNTS = ("asked", "answered", "missing", "corrupt", "late", "lost_in_tail")


def is_recipe(data: dict[str, Any]) -> bool:
    """The parts of recipe.toml that are shown."""
    texts = all(isinstance(data.get(name, ""), str) for name in _NAMES)
    run, virtual = data.get("run", {}), data.get("virtual", {})
    if not (texts and isinstance(run, dict) and isinstance(virtual, dict)):
        return False
    return _number(run.get("seconds", 1.0)) and _numbers(virtual.get("push_times", []))


def is_stages(data: dict[str, Any]) -> bool:
    """stages.json: a record of each stage."""
    return all(isinstance(record, dict) for record in data.values())


def is_progress(row: dict[str, Any]) -> bool:
    """One line of a progress.jsonl. Figures may be missing or null."""
    if not _has(row, ("steps", "seconds")):
        return False
    terms, levels = row.get("terms", {}), row.get("levels", {})
    if not (isinstance(terms, dict) and isinstance(levels, dict) and _has(levels, levels)):
        return False
    names = ("score", "score_teacher", "score_student", "falls_per_minute")
    figures = [*(row.get(name) for name in names), *terms.values()]
    return all(value is None or _is_number(value) for value in figures)  # NaN is not drawn


def is_event(row: dict[str, Any]) -> bool:
    """One line of emulator.jsonl."""
    if not (_number(row.get("time")) and isinstance(row.get("event"), str)):
        return False
    if row["event"] != "pose":
        return True
    return _numbers(row.get("position"), 3) and _numbers(row.get("orientation"), 4)


def is_evaluation(data: dict[str, Any]) -> bool:
    """evaluation.json: levels, the hardest of them at length, and the sizes of the networks."""
    levels, hardest, parameters = (data.get(key) for key in ("levels", "hardest", "parameters"))
    if not (levels is None or (isinstance(levels, list) and all(map(_is_level, levels)))):
        return False
    errors = [_errors(row[who]) for row in levels or () for who in ("teacher", "student")]
    if any(names != errors[0] for names in errors):
        return False
    if parameters is not None and not (
        _has(parameters, ("student", "teacher_actor"))
        and min(parameters["student"], parameters["teacher_actor"]) > 0
    ):
        return False
    return hardest is None or _is_level(hardest)


def is_result(data: Any) -> bool:
    """A RunResult as meta.json keeps it; empty for a run that was cut off."""
    if not isinstance(data, dict):
        return False
    if not data:
        return True
    counters, reasons = data.get("counters") or {}, data.get("realtime") or []
    return (
        isinstance(data.get("outcome"), str)
        and isinstance(data.get("sentence") or "", str)
        and isinstance(counters, dict)
        and all(_has(counted, _COUNTS) for counted in counters.values())
        and isinstance(reasons, list)
        and all(isinstance(reason, str) for reason in reasons)
    )


def _is_level(row: Any) -> bool:
    if not _has(row, ("level", "episodes", "seconds")) or row["episodes"] < 1:
        return False
    sides = (row.get("teacher"), row.get("student"))
    for side in sides:
        if not _has(side, ("score", "score_low", "score_high", "falls")):
            return False
        if not _has(side, _errors(side)):
            return False
    shares = {"normalised": None, **row}  # evaluations from before there was one have none
    return all(
        name in shares and (shares[name] is None or _has(shares[name], _INTERVAL))
        for name in ("ratio", "normalised")  # None where they are undefined
    )


def _errors(side: dict[str, Any]) -> set[str]:
    return {name for name in side if name.endswith("_rmse")}


def _has(data: Any, names: Iterable[str]) -> bool:
    return isinstance(data, dict) and all(_number(data.get(name)) for name in names)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    """A finite one that a float can hold."""
    try:
        return _is_number(value) and math.isfinite(value)
    except OverflowError:
        return False


def _numbers(values: Any, count: int | None = None) -> bool:
    """A list of finite numbers, ``count`` of them if it is given."""
    right = isinstance(values, list) and count in (None, len(values))
    return right and all(_number(value) for value in values)
