"""Ranges: which numbers are in, and how one that is not is said."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from retort.hardware.checks import (
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    RangeError,
    between,
    check,
    check_fields,
    check_rising,
)
from retort.hardware.parsing import parse

UNTIL_ONE = Range(0.0, 1.0, open_high=True)
ABOVE_ZERO = Range(0.0, 1.0, open_low=True)
LIMIT = Range(0.0, open_low=True)  # infinity: no limit


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (SHARE, (0, 0.0, 1, 1.0, np.float32(0.5), np.int64(1)), (-1e-9, 1.0 + 1e-9, math.inf)),
        (UNTIL_ONE, (0.0, 0.999), (1.0, -0.001)),
        (ABOVE_ZERO, (1e-300, 1.0), (0.0, 1.001)),
        (POSITIVE, (1e-300, 1e300), (0.0, -1.0, math.inf)),
        (NOT_NEGATIVE, (0.0, 1e300), (-1e-300, math.inf)),
        (FINITE, (-1e300, 0, 1e300), (math.inf, -math.inf)),
        (LIMIT, (0.1, math.inf), (0.0, -math.inf)),
        (between(1, 8), (1, 8), (0, 9)),
    ],
)
def test_a_range_holds_what_it_says_and_never_nan(
    allowed: Range, inside: tuple[Any, ...], outside: tuple[Any, ...]
) -> None:
    for value in inside:
        check("x", value, allowed)
    for value in (*outside, math.nan, None, "1"):
        with pytest.raises(RangeError, match=r"^x is .*; use "):
            check("x", value, allowed)


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (SHARE, "0 to 1"),
        (UNTIL_ONE, "at least 0, less than 1"),
        (ABOVE_ZERO, "more than 0, at most 1"),
        (POSITIVE, "a finite number, more than 0"),
        (NOT_NEGATIVE, "a finite number, at least 0"),
        (FINITE, "a finite number"),
        (LIMIT, "a number, more than 0"),
    ],
)
def test_a_range_says_what_is_allowed(allowed: Range, words: str) -> None:
    assert str(allowed) == words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    share: float = 0.0
    widths: tuple[int, ...] = ()
    limit: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, share=SHARE, widths=between(1, 9), limit=POSITIVE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"inner": {"share": 2}}, r"^inner\.share is 2\.0; use 0 to 1$"),
        ({"inner": {"widths": [3, 0]}}, r"^inner\.widths\[1\] is 0; use 1 to 9$"),
        ({"several": [{}, {"limit": 0.0}]}, r"^several\[1\]\.limit is 0\.0; use a finite number"),
    ],
)
def test_what_is_parsed_is_named_by_the_whole_key(data: dict[str, Any], words: str) -> None:
    with pytest.raises(RangeError, match=words):
        parse(Outer, data)


def test_an_absent_value_is_in_every_range() -> None:
    assert Inner(limit=None).limit is None


def test_a_pair_must_rise() -> None:
    check_rising("x", (1.0, 1.0))
    check_rising("x", (1.0, 2.0), strictly=True)
    with pytest.raises(RangeError, match=r"x is \(2\.0, 1\.0\); give the lower one first"):
        check_rising("x", (2.0, 1.0))
    with pytest.raises(RangeError):
        check_rising("x", (1.0, 1.0), strictly=True)
