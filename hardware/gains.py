"""The gains that robot.toml may name for a joint: registers of its servo."""

from __future__ import annotations

from .errors import RobotFileError
from .model_table import ModelTable
from .robot import Joint

GAINS = ("velocity_p", "velocity_i", "position_p", "position_i", "position_d")


def check_gains(joint: Joint, table: ModelTable) -> None:
    """Every gain of ``joint`` is one that its servo has, with a value that it takes.

    Raises:
        RobotFileError: one is not.
    """
    for name, value in joint.gains.items():
        if name not in GAINS:
            raise RobotFileError(
                f"{joint.name}: gains has {name} = {value}; the gains are {', '.join(GAINS)}"
            )
        register = table.register(name)
        if not register.allows(value):
            high = register.span[1] if register.max is None else register.max
            raise RobotFileError(
                f"{joint.name}: gains has {name} = {value}; a {table.name} takes 0 to {high}"
            )
