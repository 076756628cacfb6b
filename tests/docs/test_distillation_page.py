"""The page on distillation has one row for everything a recipe can name."""

import re
import typing
from pathlib import Path

import pytest
from retort.distill.curriculum import CurriculumConfig
from retort.distill.distill_config import Mode
from retort.distill.mixture import MixtureConfig
from retort.distill.students import KINDS
from retort.distill.terms import TERMS

PAGE = Path(__file__).parents[2] / "docs" / "distillation.md"


def choices(config: type, name: str) -> tuple[str, ...]:
    return typing.get_args(typing.get_type_hints(config)[name])


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("Terms", tuple(TERMS)),
        ("Several teachers", choices(MixtureConfig, "weighting")),
        ("Modes", typing.get_args(Mode)),
        ("Students", tuple(KINDS)),
        ("Curriculum", choices(CurriculumConfig, "kind")),
    ],
)
def test_every_name_has_one_row_and_every_row_a_name(section, names):
    text = PAGE.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert sorted(rows) == sorted(names)
