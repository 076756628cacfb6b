"""What a task of one's own does wrong is said before anything trains, in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import retort.sim.task
from retort.launch.cli import BAD_INPUT, main
from retort.launch.recipe import load_recipe
from retort.sim import RobotEnv, TaskError, load_task

from .own import edit, own

REWARD = "return tolerance(measured.forward_speed"
FALLEN = "return measured.gravity[:, 2] > -np.cos(FALLEN)"
MISTAKES = {  # what stands in the balancer's task, what is written instead, what is said
    "a push at no site": ('site="push"', 'site="ankle"', "Invalid name 'ankle'"),
    "a lack of axes": (
        "axes = AXES",
        'axes = ("randomisation", "sensing")',
        "axes lacks packet_loss, pushes, commands; every task has randomisation, sensing,",
    ),
    "an axis that is none": (
        '"sensing": (',
        '"feeling": (',
        "randomisations has the axis 'feeling'",
    ),
    "a reward of two dimensions": (
        REWARD,
        "return np.ones((len(command), 1)) * tolerance(measured.forward_speed",
        "reward gives an array (5, 5) of float64; return an array (5,) of float",
    ),
    "a reward that is not finite": (
        REWARD,
        "return np.nan * tolerance(measured.forward_speed",
        "task balancer: reward gives nan; give finite numbers only",
    ),
    "a fall that is not said": (
        FALLEN,
        "measured.gravity",
        "terminated gives None; return an array (5,) of bool",
    ),
    "a fall in other numbers": (
        FALLEN,
        "return 1.0 * (measured.gravity[:, 2] > 0)",
        "terminated gives an array (5,) of float64; return an array (5,) of bool",
    ),
    "a line that is no Python": ("FALLEN = 0.7", "FALLEN = = 0.7", "my_task.py line 21: SyntaxE"),
    "a module that is not there": ("import numpy", "import nompy", "line 7: ModuleNotFoundError"),
    "an interval that falls": (
        "command_interval = (2.0, 5.0)",
        "command_interval = (3.0, 1.0)",
        "command_interval is (3.0, 1.0); give the lower one first",
    ),
    "a supply that is higher at its lowest": (
        "SupplyVoltage(low=-0.12, high=0.08)",
        "SupplyVoltage(low=0.1, high=-0.1)",
        "low is 0.1; use more than -1, at most 0",
    ),
    "a mistake in its own code": (
        "cy, sy, cp, sp = ",
        "{}['gone']; cy, sy, cp, sp = ",
        "KeyError: 'gone'",
    ),
    "a method that is missing": (
        "def terminated",
        "def ended",
        "TASK has no terminated; a task",
    ),
    "a class for a task": ("TASK = Balancer()", "TASK = Balancer", "write TASK = Balancer()"),
    "another robot": ('robot = "balancer"', 'robot = "walker"', "is for the robot 'walker'"),
}


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES.values(), ids=MISTAKES)
def test_it_is_refused_in_a_sentence_before_anything_trains(
    old, new, said, tmp_path, monkeypatch, capsys
):
    recipe = own(tmp_path)
    edit(tmp_path / "my_task.py", old, new)
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(recipe)]) == BAD_INPUT
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_mistake_of_retorts_own_keeps_its_traceback(tmp_path, monkeypatch):
    recipe = load_recipe(own(tmp_path))

    def fails(error, margin):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(retort.sim.task.tolerance, "__code__", fails.__code__)
    with pytest.raises(ZeroDivisionError, match="ours"):
        recipe.check()


def test_a_reward_that_stops_being_finite_is_said_for_what_it_is(tmp_path):
    own(tmp_path)
    path = tmp_path / "my_task.py"
    edit(path, REWARD, "return self.worth * tolerance(measured.forward_speed")
    edit(path, "    axes = AXES", "    worth = 1.0\n    axes = AXES")
    env = RobotEnv("balancer", load_task(path), 3)
    env.reset(seed=1)
    env.step(np.zeros((3, 2), np.float32))
    env.task.worth = np.array([1.0, np.nan, 1.0])  # type: ignore[attr-defined]
    with pytest.raises(TaskError, match="task balancer: reward is not finite in 1 of 3"):
        env.step(np.zeros((3, 2), np.float32))


def test_a_dataclass_may_be_what_is_measured(tmp_path):
    own(tmp_path)
    path = tmp_path / "my_task.py"
    edit(path, "class Measured(NamedTuple):", "@dataclasses.dataclass\nclass Measured:")
    edit(path, "import numpy as np\n", "import dataclasses\nimport numpy as np\n")
    assert load_task(path).name == "balancer"
