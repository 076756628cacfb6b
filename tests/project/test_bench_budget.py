"""The table of ``--budget-us``: what was picked, measured again."""

import pytest


def test_picks_are_measured_again(trial, monkeypatch):
    from harness.tables import budget

    monkeypatch.setattr(budget, "BUDGETS", (1, 10_000))
    monkeypatch.setattr(budget, "FAMILIES", {"mlp": budget.FAMILIES["mlp"]})
    text = trial.section(budget, budget.runs())
    too_little = trial.cells(text, "mlp", "1")
    assert too_little[2] == too_little[5] == ""  # nothing is as fast as that
    assert float(too_little[7]) > 1.0
    plenty = trial.cells(text, "mlp", "10000")
    assert float(plenty[5]) <= 10_000.0
    assert plenty[2] != ""
    assert plenty[6] == ""  # nothing is larger
    assert plenty[8] == too_little[8] == "yes"


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"takes": 10.0, "next_takes": 10.1}, True),
        ({"takes": 10.01, "next_takes": 12.0}, False),  # it breaks its word
        ({"takes": 7.0, "next_takes": 9.3}, False),  # a larger one would have fitted
        ({"takes": 7.0, "next_takes": 9.5}, True),  # which nobody could tell
        ({"takes": 3.0}, True),
        ({"next_takes": 10.1}, True),
        ({"next_takes": 5.0}, False),
    ],
)
def test_a_word_is_kept_when_the_largest_that_fits_was_picked(trial, row, answer):
    from harness.tables.budget import met

    assert met(row, 10.0) is answer
