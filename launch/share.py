"""Which of two measures a student's share of its teacher is told by: the ratio of their returns, or
the normalised one where a teacher's return is not above 0 and that ratio means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]  # of evaluation.json, as ``compare`` of distill/evaluation makes them

SHARES = {
    "ratio": "student's return over its teacher's",
    "normalised": "student's return over its teacher's, both above a random policy's",
}


def share_of(rows: Sequence[Row]) -> str:
    """The key of ``SHARES`` that all ``rows`` can be told by together."""
    return "ratio" if all(row["ratio"] is not None for row in rows) else "normalised"


def said(row: Row) -> str:
    """The share in a row, by its own measure."""
    found = row.get(share_of([row]))
    return "undefined" if found is None else f"{found['value']:.3f}"
