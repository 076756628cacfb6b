"""A shipped robot and its task as somebody's own, named by path in a recipe of a few steps."""

from __future__ import annotations

import shutil
from pathlib import Path

from retort.hardware.robot import ROBOTS
from retort.sim.task import TASKS

SMALL = """
seed = 1
[teacher]
steps = 64
num_envs = 4
ticks = 8
minibatches = 1
epochs = 1
hidden = [8]
critic_hidden = [8]
[student]
hidden = [4]
[distill]
steps = 64
num_envs = 4
ticks = 8
minibatches = 1
epochs = 1
critic_hidden = [8]
[curriculum]
kind = "none"
"""


def own(folder: Path, robot: str = "balancer", task: str = "balancer", more: str = SMALL) -> Path:
    """Copy both to ``folder``, with a recipe ``my.toml`` that names the copies; returns that."""
    shutil.copytree(ROBOTS / robot, folder / "my_robot")
    shutil.copy(TASKS / f"{task}.py", folder / "my_task.py")
    (folder / "my.toml").write_text(f'robot = "my_robot"\ntask = "my_task.py"\n{more}')
    return folder / "my.toml"


def edit(path: Path, old: str, new: str) -> None:
    """Replace ``old`` wherever it stands, which must be somewhere."""
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))
