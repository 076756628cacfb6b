"""The table of ``--budget-us``: what was picked, measured again."""

import pytest

pytestmark = pytest.mark.usefixtures("bench_on_path")


def test_picks_are_measured_again(trial, monkeypatch):
    from harness.tables import budget

    monkeypatch.setattr(budget, "budgets", lambda sizes: [1.0, 10_000.0])
    monkeypatch.setattr(budget, "FAMILIES", {"mlp": budget.FAMILIES["mlp"]})
    text = trial.section(budget, budget.runs())
    too_little = trial.cells(text, "mlp", "1")
    assert too_little[2] == too_little[5] == ""  # nothing is as fast as that
    assert float(too_little[7]) > 1.0
    plenty = trial.cells(text, "mlp", "10000")
    assert float(plenty[5]) <= 10_000.0
    assert plenty[2] != ""
    assert plenty[6] == ""  # nothing is larger
    assert plenty[8:] == too_little[8:] == ["yes", "yes"]


def test_what_is_claimed_is_the_largest_that_keeps_the_whole_budget(trial, tmp_path):
    from harness.results import write_result
    from harness.tables import budget

    from .conftest import made_result

    picked = {"width": 8, "parameters": 1, "expected": 5.0, "takes": 5.0, "next_width": 16}
    figures = {
        f"mlp_{spent:g}_{name}": float(value)
        for spent in (10.0, 10.05)
        for name, value in {**picked, "next_takes": 10.01}.items()
    }
    series = {"mlp": [10.0, 10.05], "gru": [], "tcn": []}
    settings = {"passes": 1, "steps": 1}
    told = {"table": budget.TABLE, "task": "computer", "arm": "students", "final": []}
    result = made_result(**told, seed=1, figures=figures, series=series, settings=settings)
    write_result(tmp_path, "one", result)
    [claim] = budget.claims(tmp_path)
    assert (claim.found, claim.met) == ("1 of 2; 2 but for the 1% that stays free", "no")
    assert "in 1 of the 1" in claim.why
    text = budget.report(tmp_path, tmp_path)
    assert trial.cells(text, "mlp", "10")[8:] == ["yes", "yes"]
    assert trial.cells(text, "mlp", "10.05")[8:] == ["no", "yes"]


@pytest.mark.parametrize(
    ("row", "larger", "answer"),
    [
        ({"takes": 10.0}, [10.1], True),
        ({"takes": 10.01}, [12.0], False),  # it breaks its word
        ({"takes": 7.0}, [9.4], False),  # a larger one would have fitted
        ({"takes": 7.0}, [9.6], True),  # not with what stays free
        ({"takes": 7.0}, [9.6, 9.4], False),  # nor is it the next alone that counts
        ({"takes": 3.0}, [], True),
        ({}, [10.1], True),
        ({}, [5.0], False),
    ],
)
def test_a_word_is_kept_when_the_largest_that_fits_was_picked(trial, row, larger, answer):
    from harness.tables.budget import met

    times = {16.0 + number: took for number, took in enumerate(larger)}
    if row:
        row, times = {"width": 8.0, **row}, {8.0: row["takes"], **times}
    assert met(row, times, 10.0, margin=0.05) is answer


def test_budgets_stand_between_neighbours():
    from harness.tables.budget import budgets
    from retort.distill.students.budget import MARGIN, Candidate

    sizes = [Candidate(None, n, n, p50) for n, p50 in ((8, 5.0), (16, 5.0), (32, 10.0))]
    assert budgets(sizes) == [
        round(p50 / (1.0 - MARGIN), 2) for p50 in (4.5, 7.5, 20.0)
    ]  # two that take the same have nothing between them
