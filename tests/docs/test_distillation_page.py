"""The page on distillation has one row for everything a recipe can name."""

import json
import re
import tomllib
import typing
from pathlib import Path

import pytest
import tomli_w
from retort.distill.curriculum import CurriculumConfig
from retort.distill.modes import MODES
from retort.distill.ppo_settings import gymnasium_ppo
from retort.distill.students import KINDS
from retort.distill.teachers.mixture import MixtureConfig
from retort.distill.terms import TERMS
from retort.launch.cli import main
from retort.launch.recipe import find_recipe, load_recipe
from retort.sim.gymnasium_tasks import AXES as GYMNASIUM_AXES
from retort.sim.gymnasium_tasks import REMOVAL, TERRAIN
from retort.sim.task import AXES as ROBOT_AXES

PAGE = Path(__file__).parents[2] / "docs" / "distillation.md"


def choices(config: type, name: str) -> tuple[str, ...]:
    return typing.get_args(typing.get_type_hints(config)[name])


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("Terms", tuple(TERMS)),
        ("Several teachers", choices(MixtureConfig, "weighting")),
        ("Modes", tuple(MODES)),
        ("Students", tuple(KINDS)),
        ("Curriculum", choices(CurriculumConfig, "kind")),
        ("Axes of difficulty", tuple({*ROBOT_AXES, *GYMNASIUM_AXES, TERRAIN, REMOVAL})),
    ],
)
def test_every_name_has_one_row_and_every_row_a_name(section, names):
    text = PAGE.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert sorted(rows) == sorted(names)


FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
LINES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def write_files(folder):
    for name, text in FILES.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize("lines", LINES, ids=lambda lines: lines.split("\n")[0])
def test_what_the_page_writes_into_a_recipe_is_one(lines, tmp_path):
    said = tomllib.loads(lines)
    base = find_recipe("cartpole" if "environment" in said else "balancer")
    recipe = tomllib.loads(base.read_text())
    for section, values in said.items():
        table = isinstance(values, dict)
        recipe[section] = {**recipe.get(section, {}), **values} if table else values
    write_files(tmp_path)
    path = tmp_path / "page.toml"
    path.write_text(tomli_w.dumps(recipe))
    load_recipe(path).check()


def test_the_settings_for_half_cheetah_are_those_that_were_found(tmp_path):
    [lines] = (lines for lines in LINES if 'environment = "HalfCheetah"' in lines)
    path = tmp_path / "cheetah.toml"
    path.write_text(lines)
    assert load_recipe(path).teacher == gymnasium_ppo("HalfCheetah")


SMALL = """
environment = "CartPole-v1"
[gymnasium]
max_episode_steps = 20
[teacher]
steps = 512
num_envs = 8
ticks = 16
[distill]
steps = 768
num_envs = 8
ticks = 16
[curriculum]
kind = "none"
[evaluation]
episodes = 2
hardest_episodes = 2
"""


def test_a_recipe_of_own_code_alone_is_carried_out(tmp_path, capsys):
    """Everything that the page writes in Python, in one recipe."""
    write_files(tmp_path)
    recipe = tomllib.loads(SMALL)
    for file in FILES:  # the term first: the teacher stands beside one of retort's
        [own] = (tomllib.loads(lines) for lines in LINES if file in lines)
        recipe["distill"] = {**own.get("distill", {}), **recipe["distill"]}
        recipe |= {key: value for key, value in own.items() if key != "distill"}
    (tmp_path / "own.toml").write_text(tomli_w.dumps(recipe))
    run = tmp_path / "run"
    assert main(["launch", str(tmp_path / "own.toml"), "--out", str(run)]) == 0
    rows = [json.loads(row) for row in (run / "distillation/progress.jsonl").open()]
    assert list(rows[-1]["terms"]) == ["tolerant"]
    capsys.readouterr()
    assert main(["launch", str(run)]) == 0  # all of it is found again, and complete
    assert "distill" not in capsys.readouterr().out
