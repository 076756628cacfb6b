"""The page on recipes has every key that a recipe can hold, with its default, and no other."""

import inspect
import re
from pathlib import Path

from retort.distill.terms import TERMS
from retort.launch.recipe import Recipe

from .tables import known, told, value

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_every_key_stands_on_the_page_with_its_default():
    page, keys = told(PAGE), known(Recipe, "run.command")
    keys["name"] = None  # the file's name stands in for it
    assert sorted(page) == sorted(keys)
    assert {key: (page[key], keys[key]) for key in keys if page[key] != keys[key]} == {}


def test_every_option_of_a_term_stands_on_the_page_with_its_default():
    row = re.compile(r"^\| `([a-z_]+)` \| `([a-z_]+)` \| ([^|]*?) ?\| [^|]*\|$", re.M)
    page = {(term, option): value(text) for term, option, text in row.findall(PAGE.read_text())}
    assert page == {
        (name, option): parameter.default
        for name, term in TERMS.items()
        for option, parameter in inspect.signature(term).parameters.items()
    }
