"""How a robot on a fixed base followed its commands: its task's own measure of its readings."""

from __future__ import annotations

import numpy as np

from .results import Results


def achieved(results: Results) -> np.ndarray | None:
    """What was achieved of each command in each tick, (ticks, commands), as its task measures it.

    None where the joints' readings do not tell: the base moves, robot or task are not at hand or
    are others by now, or MuJoCo is not installed.
    """
    try:
        followed = _achieved(results)
    except Exception:  # a task is the user's own code, and the rest of the report needs none of it
        return None
    if followed is None or results.bus is None or followed.shape != results.bus.command.shape:
        return None
    return followed


def _achieved(results: Results) -> np.ndarray | None:
    from ..hardware.robot import load_robot
    from ..sim.physics import Physics, load_model
    from ..sim.task import load_task

    bus, recipe = results.bus, results.recipe
    if bus is None or not recipe.get("robot") or not recipe.get("task"):
        return None
    robot, task = load_robot(recipe["robot"]), load_task(recipe["task"])
    model = load_model(robot)
    if model.nq != len(robot.joints) or robot.joints != bus.joints:
        return None
    count = len(bus.time)
    everyone = np.arange(count)
    physics = Physics(robot, count, substeps=round(robot.period / model.opt.timestep))
    physics.reset(everyone)
    physics.qpos[:, physics.joint_qpos] = _held(bus.joint_position)
    physics.qvel[:, physics.joint_qvel] = _held(bus.joint_velocity)
    physics.settle(everyone)
    return np.asarray(task.tracking(task.measure(physics, slice(None))), dtype=float)


def _held(readings: np.ndarray) -> np.ndarray:
    """``readings`` (ticks, joints) with what was missed held from before."""
    ticks = np.arange(len(readings))[:, None]
    last = np.maximum.accumulate(np.where(np.isfinite(readings), ticks, 0), axis=0)
    return np.nan_to_num(np.take_along_axis(readings, last, axis=0))
