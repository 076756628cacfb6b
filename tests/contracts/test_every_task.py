"""Every task retort ships, as it is and as somebody's own: copied elsewhere with its robot."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from retort.hardware import load_robot
from retort.hardware.robot import ROBOTS
from retort.sim import RobotEnv, load_task
from retort.sim.task import TASKS

NAMES = sorted(path.stem for path in TASKS.glob("*.py") if path.stem != "__init__")


def _steps(robot, task) -> list[np.ndarray]:
    """Rewards of a few ticks."""
    env = RobotEnv(robot, task, 2)
    env.reset(seed=1)
    return [env.step(np.zeros(env.action_space.shape, np.float32))[1] for _ in range(3)]


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_does_what_the_original_does(name, tmp_path):
    shipped = load_task(name)
    folder = tmp_path / f"my_{shipped.robot}"
    shutil.copytree(ROBOTS / shipped.robot, folder)
    copy = shutil.copy(TASKS / f"{name}.py", tmp_path / f"my_{name}.py")
    own = _steps(load_robot(folder), load_task(copy))
    np.testing.assert_array_equal(own, _steps(load_robot(shipped.robot), shipped))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_commands_of_every_difficulty_are_within_their_range(name, level):
    task = load_task(name)
    env = RobotEnv(load_robot(task.robot), task, 256, level=level)
    env.reset(seed=1)
    low, high = (np.array([getattr(each, end) for each in task.command]) for end in ("low", "high"))
    assert ((low <= env.events.command) & (env.events.command <= high)).all()
    wide = (env.events.command.max(0) - env.events.command.min(0)) / (high - low)
    assert (abs(wide - (0.4 + 0.6 * level)) < 0.05).all()
