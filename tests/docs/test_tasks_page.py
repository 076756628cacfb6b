"""The page on tasks has all that a task has and can be made of, and its example can be trained."""

import dataclasses
import inspect
import re
from pathlib import Path

from retort.distill.stages.rehearsal import rehearse
from retort.launch.recipe import load_recipe
from retort.sim import randomisation
from retort.sim.task import Task

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


def _section(title: str) -> str:
    return PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_attribute_of_a_task_stands_on_the_page():
    rows = re.findall(r"^\| `(\w+)` \|", _section("What it has"), re.M)
    assert rows == list(Task.__annotations__)


def test_every_method_of_a_task_stands_on_the_page_with_its_arguments():
    methods = {name: m for name, m in vars(Task).items() if not name.startswith("_")}
    rows = re.findall(r"^\| `(\w+)\(([\w, ]+)\)` \|", _section("What it does"), re.M)
    assert {name: arguments.split(", ") for name, arguments in rows} == {
        name: list(inspect.signature(method).parameters)[1:] for name, method in methods.items()
    }


def test_every_randomisation_stands_on_the_page_with_its_arguments():
    rows = re.findall(r"^\| `([A-Z]\w+)` \| ([^|]+) \|", _section("What can be randomised"), re.M)
    assert {name: re.findall(r"`(\w+)`", arguments) for name, arguments in rows} == {
        name: [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
        for name, kind in vars(randomisation).items()
        if isinstance(kind, type) and hasattr(kind, "sample") and dataclasses.is_dataclass(kind)
    }


def test_the_example_can_be_trained(tmp_path):
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    (tmp_path / "stand.py").write_text(code)
    (tmp_path / "stand.toml").write_text('robot = "balancer"\ntask = "stand.py"\n')
    recipe = load_recipe(tmp_path / "stand.toml")
    recipe.check()
    rehearse(recipe)
