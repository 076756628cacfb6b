"""What flows between bus and controller, in SI units. Nobody above this layer knows a register.

Every array may carry any leading batch shape ``(...)``: none on the robot, ``(n,)`` in the
simulator. Arrays may come from any library of the Python array API.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

Made = TypeVar("Made")
Array = Any  # numpy.ndarray, torch.Tensor: anything array-api-compat knows


@dataclasses.dataclass(frozen=True)
class RobotState:
    """One reading of the whole robot.

    A device that did not answer in time keeps arbitrary numbers and ``valid`` false: silence is
    data, not an exception.
    """

    joint_position: Array  # (..., joints) [rad]
    joint_velocity: Array  # (..., joints) [rad/s]
    joint_effort: Array  # (..., joints) [N·m], from the measured current
    orientation: Array  # (..., 4) unit quaternion w x y z, body in world
    angular_velocity: Array  # (..., 3) [rad/s], in the body frame
    linear_acceleration: Array  # (..., 3) [m/s²], specific force in the body frame
    joint_valid: Array  # (..., joints) bool: this reading is fresh
    imu_valid: Array  # (...) bool
    time: Any = 0.0  # when the read began [s]
    health: Health | None = None  # what the servos say of themselves; None in training

    def replace(self, **changes: Any) -> RobotState:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class Health:
    """What servos report of themselves in the same read; old values where not valid.

    NaN where the robot's ``[read] values`` leave it out.
    """

    voltage: Array  # (joints,) [V]
    temperature: Array  # (joints,) [°C]
    alert: Array  # (joints,) bool: the servo's hardware error flag
    age: Array | None = None  # (joints,) [s] since the last fresh reading; inf: never one
    imu_age: float | None = None  # [s]


@dataclasses.dataclass(frozen=True)
class JointCommand:
    """One target per joint, in the unit of that joint's operating mode.

    rad for ``position``, rad/s for ``velocity``, N·m for ``effort`` (current control).
    """

    target: Array  # (..., joints)


def made(kind: type[Made], fields: dict[str, Any]) -> Made:
    """A ``kind`` of the frozen dataclasses above with these fields, all of them.

    Their own ``__init__`` sets one field at a time past the freezing and takes twice as long, a
    microsecond per tick. Nothing is checked: ``fields`` must name every field, and is kept.
    """
    instance = object.__new__(kind)
    object.__setattr__(instance, "__dict__", fields)
    return instance
