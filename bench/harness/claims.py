"""What each table is to show and whether it does, gathered before the tables themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .report import markdown_table, paragraph


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing that is wanted of a table, beside what it shows so far."""

    what: str
    wanted: str
    found: str
    met: str  # "yes", "no", or in a few words why it is neither
    why: str = ""  # it falls short, as far as is known

    @property
    def short(self) -> bool:
        return self.met.startswith("no")


class Claiming(Protocol):
    """A table that is to show something."""

    @property
    def TABLE(self) -> str:
        """Its name, and of the folder of its results."""
        ...

    def claims(self, results: Path) -> list[Claim]:
        """In the order of the table; none of what no run has shown yet."""
        ...


def scorecard(tables: Sequence[Claiming], results: Path) -> str:
    """All claims as one section of the page; empty while there is nothing to say."""
    found = [(table.TABLE, claim) for table in tables for claim in table.claims(results)]
    if not found:
        return ""
    met = sum(claim.met == "yes" for _, claim in found)
    so_far = sum(claim.met.startswith("yes,") for _, claim in found)
    rows = [[name, c.what, c.wanted, c.found, c.met] for name, c in found]
    reasons: dict[str, list[str]] = {}
    for name, claim in found:
        if claim.short and claim.why:
            reasons.setdefault(claim.why, []).append(f"{name}, {claim.what}")
    parts = [
        "## Wanted and found",
        paragraph(
            "A row is met when all seeds named are done and the middle value over seeds passes, or "
            f"the interval where the table says so: {met} of {len(found)}. Single seeds may still "
            f"fall short. Passing by the seeds that are done so far: {so_far} more; what rests on "
            "an interval is open while there is one seed, and what no run has shown yet has no "
            "row. `not shown`: the middle value passes and its interval does not; `neither was "
            "thrown off`: there was nothing to come back from. The tables below say how each was "
            "measured. A task, or a difficulty of it, has a row of its own; where several arms or "
            "libraries would do, the table says which one is judged."
        ),
        markdown_table(["table", "what", "wanted", "found", "met"], rows),
    ]
    if reasons:
        parts += ["Why some fall short, as far as is known, and which:"]
        items = (f"- {why}: {'; '.join(what)}." for why, what in reasons.items())
        parts += ["\n".join(paragraph(item, "  ") for item in items)]
    return "\n\n".join(parts)
