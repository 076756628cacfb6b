"""What the tables are to show stands before them, with what falls short and why."""

from types import SimpleNamespace

import pytest

from .conftest import BENCH

pytestmark = pytest.mark.usefixtures("bench_on_path")


def claiming(name, *answers):
    """A table whose claims are met as ``answers`` say, each short for the same reason."""
    from harness.claims import Claim

    made = [
        Claim(what=f"thing {i}", wanted="1", found="2", met=met, why="it is hard")
        for i, met in enumerate(answers)
    ]
    return SimpleNamespace(TABLE=name, claims=lambda results: made)


def test_claims_are_counted_and_reasons_given_once(tmp_path):
    from harness.claims import scorecard

    text = scorecard([claiming("a", "yes", "no"), claiming("b", "yes, so far", "no, so far")], "")
    words = " ".join(text.split())
    assert "where the table says so: 1 of 4." in words
    assert "that are done so far: 1 more;" in words
    assert "| a | thing 0 | 1 | 2 | yes |" in text
    assert text.endswith("- it is hard: a, thing 1; b, thing 1.")


def test_what_is_met_or_neither_needs_no_reason():
    from harness.claims import scorecard

    assert "hard" not in scorecard([claiming("a", "yes", "neither was thrown off")], "")


def test_nothing_is_claimed_before_anything_is_done(tmp_path):
    from harness.claims import scorecard
    from harness.tables import CLAIMING

    assert scorecard(CLAIMING, tmp_path) == ""


def test_every_claim_is_one_of_its_own_table():
    """Of the results that are committed: each names its thing once, and says whether it is met."""
    from harness.tables import CLAIMING

    for table in CLAIMING:
        claims = table.claims(BENCH / "results")
        assert len({claim.what for claim in claims}) == len(claims)
        for claim in claims:
            assert claim.met.startswith(("yes", "no", "neither", "undefined", "one seed"))
