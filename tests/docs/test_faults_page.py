"""The page on faults has every kind with its keys, and every key with its default."""

import dataclasses
import re
from pathlib import Path

from retort.hardware.virtual import load_faults
from retort.hardware.virtual.faults import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
NEEDED = "needed"


def _fields(kind: type) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(kind) if field.name != "at"]


def test_every_kind_stands_on_the_page_with_its_keys():
    rows = re.findall(r"^\| `([a-z_]+)` \| (`[a-z]+`[^|]*) \| [^|]+ \|$", PAGE, re.M)
    told = {kind: keys for kind, keys in rows if kind in KINDS}
    expected = {}
    for name, kind in KINDS.items():
        needed = {f.name for f in _fields(kind) if f.default is dataclasses.MISSING}
        said = (f"`{f.name}`{' (needed)' * (f.name in needed)}" for f in _fields(kind))
        expected[name] = ", ".join(said)
    assert told == expected


def test_every_key_stands_on_the_page_with_its_default():
    rows = re.findall(r"^\| `([a-z]+)` \| ([^|]+) \| [^|]+ \|$", PAGE.split("| key |")[1], re.M)
    told = {key: text.strip("`") for key, text in rows}
    known: dict[str, str] = {}
    for kind in KINDS.values():
        for field in dataclasses.fields(kind):
            if field.default is not dataclasses.MISSING:
                known[field.name] = str(field.default) or "all"
            known.setdefault(field.name, NEEDED)
    assert told == known


def test_the_example_is_a_profile(tmp_path):
    (tmp_path / "faults.toml").write_text(re.findall(r"```toml\n(.*?)```", PAGE, re.S)[0])
    assert [type(fault) for fault in load_faults(tmp_path / "faults.toml")] == [
        KINDS["drop"],
        KINDS["silence"],
    ]
