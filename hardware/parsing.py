"""Dataclasses from parsed TOML or JSON, strictly: what every file of a user's is read by."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal

from .checks import RangeError, nearest

_SAID = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def parse(kind: Any, value: Any, where: str = "") -> Any:
    """Build ``kind`` (a dataclass, container or scalar type) from parsed TOML or JSON, strictly.

    Args:
        kind: the type to build.
        value: dicts, lists and scalars.
        where: the key's path, for messages.

    Raises:
        ValueError: an unknown or missing key, or a value of another type; the message lists what
            is allowed.
    """
    label = where or "the top level"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{label} must be a table, got {value!r}")
        return _parse_dataclass(kind, value, where)
    if origin is Literal:
        # By type, too: True is no 1.
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            allowed = ", ".join(repr(choice) for choice in arguments)
            raise ValueError(f"{label} is {value!r}; it must be one of {allowed}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        failures = []
        for choice in arguments:
            if choice is type(None):
                continue
            try:
                return parse(choice, value, where)
            except ValueError as error:
                failures.append(str(error))
        raise ValueError("; ".join(failures))
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{label} must be a list, got {value!r}")
        if arguments[1:] == (...,):
            return tuple(parse(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        if len(value) != len(arguments):
            raise ValueError(f"{label} must hold {len(arguments)} values, got {value!r}")
        return tuple(
            parse(item_kind, item, f"{where}[{i}]")
            for i, (item_kind, item) in enumerate(zip(arguments, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{label} must be a table, got {value!r}")
        return {key: parse(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise ValueError(f"{label} has too many digits for a number") from error
    if isinstance(kind, type) and isinstance(value, kind) and (kind, type(value)) != (int, bool):
        return value
    said = _SAID.get(kind, getattr(kind, "__name__", kind))
    raise ValueError(f"{label} must be {said}, got {value!r}")


def _parse_dataclass(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    label = where or "the top level"
    for key in value:
        if key not in fields:
            allowed = ", ".join(sorted(fields))
            near = nearest(key, fields)
            raise ValueError(f"unknown key {key!r} in {label}{near}; the keys are {allowed}")
    prefix = f"{where}." if where else ""
    made = {key: parse(hints[key], item, prefix + key) for key, item in value.items()}
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in made:
            raise ValueError(f"{label} lacks the key {name!r}")
    try:
        return kind(**made)
    except RangeError as error:  # it names the key only
        raise RangeError(f"{prefix}{error}") from error
