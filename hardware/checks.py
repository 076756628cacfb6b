"""Ranges that numbers must keep, said in one way: what it is, what it was given, what it may be."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any, cast

from .errors import RetortError


class RangeError(RetortError, ValueError):
    """A number is not in its range, or is not a number at all."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, both among them unless they are ``open``.

    NaN is in no range; an infinite end that is not open lets infinity in.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, numbers.Real):
            return False
        number = cast("float", value)  # NumPy's, too; not converted: an int may be any size
        above = self.low < number if self.open_low else self.low <= number
        below = number < self.high if self.open_high else number <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"more than {self.low:.15g}" if self.open_low else f"at least {self.low:.15g}"
        high = f"less than {self.high:.15g}" if self.open_high else f"at most {self.high:.15g}"
        if math.isinf(self.high):
            kind = "a finite number" if self.open_high else "a number"
            return kind if math.isinf(self.low) else f"{kind}, {low}"
        if not (self.open_low or self.open_high):
            return f"{self.low:.15g} to {self.high:.15g}"
        return f"{low}, {high}"


def at_least(low: float) -> Range:
    """Finite, ``low`` or more."""
    return Range(low, open_high=True)


def above(low: float) -> Range:
    """Finite, more than ``low``."""
    return Range(low, open_low=True, open_high=True)


def between(low: float, high: float) -> Range:
    """From ``low`` to ``high``, both included."""
    return Range(low, high)


FINITE = Range(open_low=True, open_high=True)
SHARE = between(0.0, 1.0)
POSITIVE = above(0.0)
NOT_NEGATIVE = at_least(0.0)
SECONDS = Range(0.0, 86_400.0, open_low=True)  # of an episode or a run: a day at most
SEED = between(0, 2**32 - 1)  # what every generator takes, with room for seeds derived from it


def check(name: str, value: object, allowed: Range) -> None:
    """``value`` must be a number in ``allowed``; of a list or tuple each must be.

    Raises:
        RangeError: it is not; the message has name, value and range.
    """
    if isinstance(value, tuple | list):
        for i, item in enumerate(value):
            check(f"{name}[{i}]", item, allowed)
    elif value not in allowed:
        raise RangeError(f"{name} is {value!r}; use {allowed}")


def check_fields(config: Any, **ranges: Range) -> None:
    """Every field of ``config`` that is named must be in its range; None passes.

    Raises:
        RangeError: one is not.
    """
    for name, allowed in ranges.items():
        value = getattr(config, name)
        if value is not None:
            check(name, value, allowed)


def check_unused(config: Any, names: Iterable[str], why: str, *, where: str = "") -> None:
    """Fields that would do nothing must hold what they hold where nothing is said.

    Args:
        config: a dataclass.
        names: of those fields.
        why: they would do nothing, as "schedule is 'constant'".
        where: stands before the name in the message.

    Raises:
        RangeError: one holds something else.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in names and value != field.default:
            raise RangeError(
                f"{where}{field.name} is {value!r} and does nothing where {why}; leave it out, or "
                "change that"
            )


def check_rising(name: str, pair: tuple[float, float], *, strictly: bool = False) -> None:
    """The two numbers of ``pair`` must rise, or not fall unless ``strictly``.

    Raises:
        RangeError: they do not.
    """
    low, high = pair
    if not (low < high or (low == high and not strictly)):
        raise RangeError(f"{name} is {pair}; give the lower one first")


def nearest(word: str, known: Iterable[str]) -> str:
    """What was perhaps meant by a ``word`` that is not ``known``, to stand behind it in a message;
    empty where nothing is near.
    """
    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
