"""Tables of keys on a page, and the keys of the config dataclasses they are about."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NEEDED = "needed"


def told(page: Path) -> dict[str, Any]:
    """Keys of the page with what it says they are where nothing is said, None for nothing."""
    return dict(_rows(page.read_text()))


def known(config: type, *rows: str) -> dict[str, Any]:
    """Keys of a config dataclass and all below it, with their defaults.

    Args:
        config: the dataclass.
        rows: lists within a table that have a row of their own beside those of their keys.
    """
    return dict(_keys(config, rows))


def value(text: str) -> Any:
    """A default as a page writes it."""
    if text in ("", NEEDED):
        return text or None
    return _as_tuples(tomllib.loads(f"value = {text.strip('`')}")["value"])


def _rows(text: str) -> Iterator[tuple[str, Any]]:
    for section in re.split(r"^##+ ", text, flags=re.M)[1:]:
        table = re.match(r"`\[+([a-z.]+)\]+`", section)
        prefix = f"{table[1]}." if table else ""
        for key, default in re.findall(
            r"^\| `([a-z_.]+)` \| ([^|]*?) ?\| [^|]*\|$", section, flags=re.M
        ):
            yield f"{prefix}{key}", value(default)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _keys(config: type, rows: tuple[str, ...], prefix: str = "") -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        key, below = f"{prefix}{field.name}", _config_in(hints[field.name])
        if below is not None:
            yield from _keys(below, rows, f"{key}.")
            if key not in rows:
                continue
        if field.default is not dataclasses.MISSING:
            yield key, field.default
        elif field.default_factory is not dataclasses.MISSING:
            yield key, field.default_factory()
        else:
            yield key, NEEDED


def _config_in(kind: Any) -> type | None:
    """The config dataclass that a field holds, or a list of, if it does."""
    return next(
        (each for each in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(each)), None
    )
