"""The figures a run is judged by: target, measured, met or missed."""

from __future__ import annotations

import dataclasses

import numpy as np

from .results import Json, Results
from .share import SHARES, share_of

TRAINING_SECONDS = 90.0
TEACHER_FALLS, STUDENT_FALLS = 0.01, 0.02
RETURN_RATIO = 0.97
PARAMETERS, PARAMETER_SHARE = 5000, 0.1
RUN_SECONDS, PUSHES = 30.0, 5  # where the recipe does not say
_SHARES = {key: f"{name[0].upper()}{name[1:]} (95 % interval)" for key, name in SHARES.items()}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line of the table.

    ``met`` is None for what is reported without a target. A missed figure that ``decides`` makes
    ``retort launch`` fail; others depend on machine and seed, and are shown as missed.
    """

    name: str
    target: str
    measured: str
    met: bool | None
    decides: bool = False


def figures(results: Results) -> list[Figure]:
    """Every figure, in the order of the stages; what was not measured counts as missed.

    Without a robot there is no bus, what ends an episode need not be a fall, and only the student's
    share of its teacher has a target.
    """
    rows = [*_learning(results), *_evaluation(results.evaluation)]
    if results.environment is None:
        return [*rows, *_bus(results)]
    return [
        row
        if row.name in _SHARES.values()
        else dataclasses.replace(row, target="reported", met=None)
        for row in rows
        if "falls" not in row.name
    ]


def missed(results: Results) -> list[Figure]:
    """The figures that have a target and do not meet it."""
    return [figure for figure in figures(results) if figure.met is False]


def _learning(results: Results) -> list[Figure]:
    return [
        _at_most(f"{name} time", progress[-1]["seconds"] if progress else None, limit, "{:.0f} s")
        for name, progress, limit in (
            ("Teacher's training", results.teacher, TRAINING_SECONDS),
            ("Distillation", results.student, TRAINING_SECONDS),
        )
    ]


def _evaluation(evaluation: Json | None) -> list[Figure]:
    hardest = (evaluation or {}).get("hardest") or {}
    where = "at the hardest level"
    if hardest:
        where += f", {hardest['episodes']} episodes of {hardest['seconds']:g} s"

    def falls(who: str) -> float | None:
        return hardest[who]["falls"] / hardest["episodes"] if hardest else None

    measure = share_of([hardest]) if hardest else "ratio"
    share = hardest.get(measure)
    result = [
        _at_most(f"Teacher's falls {where}", falls("teacher"), TEACHER_FALLS, "{:.1%}"),
        _at_most(f"Student's falls {where}", falls("student"), STUDENT_FALLS, "{:.1%}"),
        Figure(
            _SHARES[measure],
            f"at least {RETURN_RATIO}",
            _interval(share) if measure in hardest else "not measured",
            bool(share) and share["value"] >= RETURN_RATIO,
        ),
    ]
    parameters = (evaluation or {}).get("parameters") or {}
    part = parameters["student"] / parameters["teacher_actor"] if parameters else None
    result.append(
        _at_most("Student's parameters", parameters.get("student"), PARAMETERS, "{:,.0f}")
    )
    result.append(
        _at_most("Student's parameters / teacher's actor", part, PARAMETER_SHARE, "{:.1%}")
    )
    return result


def _interval(share: Json | None) -> str:
    if share is None:
        return "undefined: the teacher is not surely better than a random policy"
    return f"{share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f})"


def _bus(results: Results) -> list[Figure]:
    bus = results.bus
    seconds = float(results.recipe.get("run", {}).get("seconds", RUN_SECONDS))
    # They count from here, which may be before the policy has authority.
    let_go = [*results.event_times("hand lets go"), *results.event_times("has torque")]
    begins = let_go[0] if let_go else 0.0
    times = results.recipe.get("virtual", {}).get("push_times", ())
    wanted = [t for t in times if 0.0 <= begins + t < seconds]
    least = len(wanted) if "virtual" in results.recipe else PUSHES
    lasted = ("Under the policy on the bus", f"at least {seconds:g} s")
    pushed = ("Pushes endured on the bus", f"at least {least}")
    if bus is None:
        calm = ("Falls and aborts on the bus", "none")
        return [Figure(*row, "not measured", False, True) for row in (lasted, pushed, calm)]
    took = f"{bus.seconds:.2f} s at {1 / bus.period:g} Hz"
    result = [Figure(*lasted, took, bus.seconds >= seconds - 1.5 * bus.period, True)]
    if results.events:
        pushes = len(results.endured_pushes())
        result.append(Figure(*pushed, str(pushes), pushes >= least, True))
    result.append(_incidents(results))
    counters = bus.result.get("counters") or {}
    asked = sum(device["asked"] for device in counters.values())
    lost = asked - sum(device["answered"] for device in counters.values())
    if asked:
        share = f"{lost / asked:.2%} ({lost:,} of {asked:,})"
        result.append(Figure("Readings lost on the bus", "reported", share, None))
    late = " / ".join(f"{np.percentile(bus.lateness, q) * 1e6:.0f}" for q in (50, 99, 100))
    result.append(Figure("Lateness p50 / p99 / max [µs]", "reported", late, None))
    overruns = f"{bus.overruns} of {len(bus.time):,} ticks"
    result.append(Figure("Overruns", "reported", overruns, None))
    return result


def _incidents(results: Results) -> Figure:
    assert results.bus is not None
    result = results.bus.result
    if not result:
        said, calm = "the run was cut off before it could end", False
    elif result["outcome"] in ("completed", "stopped"):
        said, calm = "none", True
    else:
        said, calm = result.get("sentence") or result["outcome"], False
    if results.fell():
        said, calm = "the robot fell" if calm else f"the robot fell; {said}", False
    return Figure("Falls and aborts on the bus", "none", said, calm, True)


def _at_most(name: str, value: float | None, limit: float, form: str) -> Figure:
    if value is None:
        return Figure(name, f"at most {form.format(limit)}", "not measured", False)
    return Figure(name, f"at most {form.format(limit)}", form.format(value), value <= limit)
