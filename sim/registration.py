"""Gymnasium's names: ``retort/Balancer-v0`` after ``import retort.sim``, or in full
``retort.sim:retort/Balancer-v0`` without it.
"""

from __future__ import annotations

import gymnasium

_IDS = {"retort/Balancer-v0": {"robot": "balancer", "task": "balancer"}}


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
