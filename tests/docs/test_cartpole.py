"""The page on CartPole does what it says: its code runs, top to bottom, and its claims hold."""

import re
from pathlib import Path

import pytest
import torch
from retort.launch.recipe import load_recipe

PAGE = Path(__file__).parents[2] / "docs" / "cartpole.md"


@pytest.fixture(autouse=True)
def threads():
    """The page sets them for its reader's whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_page_runs_in_order(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)
    assert len(blocks) == 4
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["teacher_return"] > 400
    assert names["ratio"] >= 0.9
    assert "of the teacher" in capsys.readouterr().out
    recipe = load_recipe("cartpole")  # says the same
    assert names["ppo"].config == recipe.teacher
    assert names["distiller"].config == recipe.distill
    assert names["curriculum"].config == recipe.curriculum
    assert names["student"].config == recipe.student
    assert names["student"].interface == recipe.world.interface()
