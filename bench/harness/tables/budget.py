"""Budget: does ``--budget-us`` keep its word on this computer?

The grid of ``retort bench host`` is measured, students of every kind are picked for budgets between
any two neighbours in it, and all widths are measured themselves in the NumPy runtime, in turns with
the grid.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from retort.controller.host import LARGEST, grid, make_host, make_policy, measure_steps
from retort.controller.policy import Policy, Stack
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.students.budget import MARGIN, BudgetError, Candidate, candidates, pick

from ..claims import Claim
from ..report import markdown_table, paragraph
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run

TABLE = "budget"
SEEDS = (1,)  # of a student's random weights, on which its time does not depend
INTERFACE = Interface.plain(48, 12)
FAMILIES = {
    "mlp": StudentConfig(kind="mlp", hidden=(1, 1)),
    "gru": StudentConfig(kind="gru", hidden=(1,)),
    "tcn": StudentConfig(kind="tcn", hidden=(), channels=(1, 1)),
}
_WHY = (
    "a pick leaves {margin:.0%} of its budget free, and in {free} of the {short} that is where the "
    "larger one stands that would have fitted; the rest are measurement: neighbouring widths "
    "differ by as little as the grid's and the student's own, one or two in a hundred"
)
_BOTH = (("width", "takes"), ("next_width", "next_takes"))
_COLUMNS = ("width", "parameters", "expected", "takes", "next_width", "next_takes")
_PASSES, _STEPS = 5, 400  # as `retort bench host` if nothing else is said
_OFTEN = 4  # times in each pass that students are timed, who are to be known better than the grid


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """One, whatever the seeds: all kinds and budgets."""
    rest = {"table": TABLE, "task": "computer", "arm": "students", "budget": 0}
    return [Run(**rest, seed=seed, execute=_measure) for seed in SEEDS]


def _measure(run: Run, place: Place, log: Log) -> Made:
    steps = max(20, round(_STEPS * place.look))
    passes = max(2, round(_PASSES * place.look))
    activations = tuple(sorted({family.activation for family in FAMILIES.values()}))
    rows = grid(activations)
    blank = make_host(rows, np.zeros(len(rows)), np.zeros(len(rows)), 0)
    sizes = {kind: candidates(blank, family, INTERFACE) for kind, family in FAMILIES.items()}
    students = [_policy(size.config) for kind in FAMILIES for size in sizes[kind]]
    every: list[tuple[Callable[[], Policy], int]] = [
        (functools.partial(make_policy, row), row.inputs) for row in rows
    ]
    for student in students * _OFTEN:
        every.append((lambda student=student: student, INTERFACE.observation_size))
    p50, p99 = measure_steps(every, steps, passes)
    host = make_host(rows, p50[: len(rows)], p99[: len(rows)], steps * passes)
    measured = iter(np.median(p50[len(rows) :].reshape(_OFTEN, len(students)), axis=0))
    figures: dict[str, float] = {}
    series: dict[str, list[float]] = {}
    for kind, family in FAMILIES.items():
        known = candidates(host, family, INTERFACE)
        takes = {size.width: float(next(measured)) for size in known}
        series[kind] = budgets(known)
        for budget in series[kind]:
            try:
                chosen, larger = pick(host, family, INTERFACE, budget)
            except BudgetError:  # nothing fits
                chosen, larger = None, known[0]
            row = _row(chosen, larger, takes)
            log(f"{kind} {budget} us: " + ", ".join(f"{k} {v:g}" for k, v in row.items()))
            figures |= {f"{kind}_{budget:g}_{name}": value for name, value in row.items()}
    settings = {
        **{kind: dataclasses.asdict(family) for kind, family in FAMILIES.items()},
        "inputs": INTERFACE.observation_size,
        "outputs": INTERFACE.outputs,
        "steps": steps,
        "passes": passes,
    }
    return Made(settings, [], [], figures, series)


def budgets(sizes: Sequence[Candidate]) -> list[float]:
    """Too little for any, half way between neighbours with the margin, and plenty [us]."""
    p50 = [candidate.p50 / (1.0 - MARGIN) for candidate in sizes]
    between = [(a + b) / 2.0 for a, b in itertools.pairwise(p50) if b > a]
    return [round(budget, 2) for budget in (0.9 * p50[0], *between, 2.0 * p50[-1])]


def _row(
    chosen: Candidate | None, larger: Candidate | None, takes: Mapping[int, float]
) -> dict[str, float]:
    """What was picked, what is next larger, and how long they take."""
    found: dict[str, float] = {}
    if chosen is not None:
        found = {
            "width": chosen.width,
            "parameters": chosen.parameters,
            "expected": round(chosen.p50, 2),
            "takes": round(takes[chosen.width], 2),
        }
    if larger is not None:
        found |= {"next_width": larger.width, "next_takes": round(takes[larger.width], 2)}
    return found


def _policy(config: StudentConfig) -> Stack:
    """A student in the runtime, of random weights."""
    meta, tensors = make_student(config, INTERFACE).eval().export()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    columns = INTERFACE.columns(config.kind)
    return Stack(meta, arrays, columns=columns, outputs=INTERFACE.outputs, limit=INTERFACE.limit)


def met(
    row: dict[str, float], times: Mapping[float, float], budget: float, margin: float = 0.0
) -> bool:
    """The pick keeps the budget, and no larger one does with the margin left.

    Args:
        row: what was picked.
        times: what each width takes [us].
        budget: [us].
        margin: of the budget that is to stay free.
    """
    larger = (took for width, took in times.items() if width > row.get("width", 0.0))
    kept = row.get("takes", 0.0) <= budget
    return kept and all(took > budget * (1.0 - margin) for took in larger)


def claims(results: Path) -> list[Claim]:
    """All budgets of all kinds together that leave a choice: something fits, and not everything."""
    made = []
    for result in read_results(results, TABLE):
        whole, largest, but_for_margin = _counts(result)
        short, free = whole - largest, but_for_margin - largest
        beside = f"{but_for_margin} but for the {MARGIN:.0%} that stays free"
        made.append(
            Claim(
                what="largest student within the budget, by kind and budget",
                wanted=f"{whole} of {whole}",
                found=f"{largest} of {whole}; {beside}",
                met="no" if short else "yes",
                why=_WHY.format(margin=MARGIN, free=free, short=short) if short else "",
            )
        )
    return made


def _counts(result: Result) -> tuple[int, int, int]:
    """Budgets that leave a choice, those of which the very largest that keeps them was picked, and
    those of which it was but for the margin that a pick leaves.
    """
    choices = [(k, budget, row) for k, budget, row in _measured(result) if _is_choice(row)]
    largest, but_for_margin = (
        sum(met(row, _times(result, kind), budget, margin) for kind, budget, row in choices)
        for margin in (0.0, MARGIN)
    )
    return len(choices), largest, but_for_margin


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    [result] = every
    header = ["kind", "budget", "width", "parameters", "expected", "takes"]
    return "\n\n".join(
        [
            "## Budget",
            paragraph(
                "What `--budget-us` picks by what `retort bench host` measures, among widths from "
                "8 up of two layers (`gru`: one), as far as students have at most "
                f"{LARGEST / 1e3:g} thousand parameters, {INTERFACE.observation_size} inputs and "
                f"{INTERFACE.outputs} outputs, and the next larger width, in microseconds: medians "
                f"of {result.settings['passes']} passes of {result.settings['steps']} steps in the "
                "NumPy runtime, as by default, `expected` from the host file's grid and `takes` of "
                f"the student itself, {_OFTEN} times in each pass. Both are by `measure_steps`, "
                "which takes out how fast the computer happens to be at the moment. The budgets "
                "are half way between neighbouring widths of which the grid says that the larger "
                "is slower, one too little for any, and one that is enough for all. Met: the pick "
                "keeps the budget, and no larger one of the table does. A pick leaves "
                f"{MARGIN:.0%} of its budget free; with the margin: no larger one takes less than "
                f"{1.0 - MARGIN:.0%} of the budget. Where nothing fits, the next larger one is the "
                "smallest there is."
            ),
            markdown_table(
                [*header, "next larger", "takes", "met", "with the margin"], _rows(result)
            ),
            paragraph(_strictly(result)),
            paragraph(
                f"{result.machine['processor']}, {result.machine['cores']} cores, load average "
                f"{result.machine['load']:.1f} when it began; {result.date}."
            ),
        ]
    )


def _strictly(result: Result) -> str:
    """How many of the budgets that leave a choice are met, with and without the margin."""
    whole, largest, but_for_margin = _counts(result)
    return (
        f"Of the {whole} budgets that leave a choice, {largest} got the very largest that keeps "
        f"them, which is what is wanted, and {but_for_margin} the largest but for the margin."
    )


def _is_choice(row: dict[str, float]) -> bool:
    """Something fits, and not everything."""
    return {"width", "next_width"} <= row.keys()


def _times(result: Result, kind: str) -> dict[float, float]:
    """What every width of a kind takes [us]."""
    found = {}
    for named, _, row in _measured(result):
        if named == kind:
            found |= {row[w]: row[t] for w, t in _BOTH if w in row}
    return found


def _measured(result: Result) -> list[tuple[str, float, dict[str, float]]]:
    """Kind, budget and what was measured, one after the other."""
    found = []
    for kind in FAMILIES:
        for budget in result.series[kind]:
            names = {name: f"{kind}_{budget:g}_{name}" for name in _COLUMNS}
            row = {n: result.figures[key] for n, key in names.items() if key in result.figures}
            found.append((kind, budget, row))
    return found


def _rows(result: Result) -> list[list[str]]:
    rows = []
    for kind, budget, row in _measured(result):
        cells = [_cell(name, row[name]) if name in row else "" for name in _COLUMNS]
        answers = (met(row, _times(result, kind), budget, margin) for margin in (0.0, MARGIN))
        rows.append(
            [kind, f"{budget:g}", *cells, *("yes" if answer else "no" for answer in answers)]
        )
    return rows


def _cell(name: str, value: float) -> str:
    """A time with its hundredths, which are what neighbours differ by; a count without."""
    counts = name.endswith("width") or name == "parameters"
    return f"{value:,.0f}".replace(",", " ") if counts else f"{value:.2f}"
