"""The page on recipes has every key that a recipe can hold, with its default, and no other."""

import dataclasses
import inspect
import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retort.distill.terms import TERMS
from retort.launch.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
NEEDED = "needed"


def test_every_key_stands_on_the_page_with_its_default():
    told, known = dict(_told()), dict(_known(Recipe))
    assert sorted(told) == sorted(known)
    assert {key: (told[key], known[key]) for key in known if told[key] != known[key]} == {}


def test_every_option_of_a_term_stands_on_the_page_with_its_default():
    row = re.compile(r"^\| `([a-z_]+)` \| `([a-z_]+)` \| ([^|]*?) ?\| [^|]*\|$", re.M)
    told = {(term, option): _value(text) for term, option, text in row.findall(PAGE.read_text())}
    assert told == {
        (name, option): parameter.default
        for name, term in TERMS.items()
        for option, parameter in inspect.signature(term).parameters.items()
    }


def _told() -> Iterator[tuple[str, Any]]:
    """Keys of the page with what it says they are where nothing is said, None for nothing."""
    for section in re.split(r"^##+ ", PAGE.read_text(), flags=re.M)[1:]:
        table = re.match(r"`\[+([a-z.]+)\]+`", section)
        prefix = f"{table[1]}." if table else ""
        for key, default in re.findall(
            r"^\| `([a-z_.]+)` \| ([^|]*?) ?\| [^|]*\|$", section, flags=re.M
        ):
            yield f"{prefix}{key}", _value(default)


def _value(text: str) -> Any:
    if text in ("", NEEDED):
        return text or None
    return _as_tuples(tomllib.loads(f"value = {text.strip('`')}")["value"])


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _known(config: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of a config dataclass and all below it, with their defaults."""
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        key, below = f"{prefix}{field.name}", _config_in(hints[field.name])
        if below is not None:
            yield from _known(below, f"{key}.")
            if key != "run.command":  # a list within a table, which has a row of its own
                continue
        if field.default is not dataclasses.MISSING:
            yield key, field.default
        elif field.default_factory is not dataclasses.MISSING:
            yield key, field.default_factory()
        else:
            yield key, None if key == "name" else NEEDED  # the file's name stands in for that


def _config_in(kind: Any) -> type | None:
    """The config dataclass that a field holds, or a list of, if it does."""
    return next(
        (each for each in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(each)), None
    )
