"""Gymnasium's names: ``retort/Balancer-v0`` after ``import retort.sim``, or in full
``retort.sim:retort/Balancer-v0`` without it; Gymnasium's own tasks as ``retort/HalfCheetah-v5``.
"""

from __future__ import annotations

import gymnasium

from .gymnasium_tasks.tasks import TASKS

_IDS = {
    "retort/Balancer-v0": {"robot": "balancer", "task": "balancer"},
    "retort/Reach-v0": {"robot": "arm6", "task": "reach"},
}


def register() -> None:
    """Register every task with Gymnasium. Safe to call again."""
    for id, kwargs in _IDS.items():
        if id not in gymnasium.registry:
            gymnasium.register(
                id=id,
                entry_point=f"{__package__}.single:RobotSingleEnv",
                vector_entry_point=f"{__package__}.env:RobotEnv",
                kwargs=kwargs,
            )
    folder = f"{__package__}.gymnasium_tasks"
    for name, task in TASKS.items():
        if (id := f"retort/{name}-v5") not in gymnasium.registry:
            gymnasium.register(
                id=id,
                entry_point=f"{folder}.single:GymnasiumTaskSingleEnv",
                vector_entry_point=f"{folder}.env:GymnasiumTaskEnv",
                max_episode_steps=task.max_episode_steps,
                reward_threshold=task.reward_threshold,
                kwargs={"task": name},
            )
