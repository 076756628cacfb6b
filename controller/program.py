"""The observation and action program: the only place that turns states into observations and
actions into joint targets.

Pure functions over arrays of any leading batch shape ``(...)`` and any array-API library: NumPy on
the robot with no batch, NumPy in the simulator with a thousand rows, PyTorch on a GPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from ..hardware.state import Array, JointCommand, RobotState
from .contract import Contract, TermSpec


@dataclasses.dataclass(frozen=True)
class Memory:
    """What the program remembers from tick to tick. Never changed in place by the program."""

    started: Array  # (...) bool: false until the first observation, which fills the history
    history: Array  # (..., history, frame), oldest first
    joint_position: Array  # (..., joints) last valid reading [rad]
    joint_velocity: Array  # (..., joints) [rad/s]
    orientation: Array  # (..., 4)
    angular_velocity: Array  # (..., 3) [rad/s]
    joint_age: Array  # (..., joints) ticks since the last valid reading
    imu_age: Array  # (...) ticks
    action: Array  # (..., joints) previous action, clipped to [-1, 1]
    target: Array  # (..., joints) previous target, after filter and slew limit
    command: Array  # (..., commands) smoothed


def initial_memory(
    contract: Contract, shape: tuple[int, ...] = (), xp: Any = np, dtype: Any = None
) -> Memory:
    """The memory before the first tick, for a batch of ``shape``."""
    dtype = dtype or xp.float32
    joints = (*shape, len(contract.joints))

    def zeros(*size: int) -> Array:
        return xp.zeros((*shape, *size), dtype=dtype)

    orientation = zeros(4) + xp.asarray([1.0, 0.0, 0.0, 0.0], dtype=dtype)
    return Memory(
        started=xp.zeros(shape, dtype=xp.bool),
        history=zeros(contract.history, contract.frame_size),
        joint_position=zeros(len(contract.joints)),
        joint_velocity=zeros(len(contract.joints)),
        orientation=orientation,
        angular_velocity=zeros(3),
        joint_age=xp.zeros(joints, dtype=xp.int32),
        imu_age=xp.zeros(shape, dtype=xp.int32),
        action=zeros(len(contract.joints)),
        target=zeros(len(contract.joints)) + xp.asarray(contract.action.offset, dtype=dtype),
        command=zeros(len(contract.command)),
    )


def observe(
    contract: Contract, state: RobotState, command: Array, memory: Memory
) -> tuple[Array, Memory]:
    """One observation from one reading.

    Args:
        contract: what the policy sees.
        state: the reading, arrays (..., size); devices that are not valid coast.
        command: (..., commands) in the units of ``contract.command``.
        memory: from the previous tick.

    Returns:
        The observation, (..., observation_size), not yet normalised, and the new memory.
    """
    xp = _namespace(memory.history)
    memory = smooth(contract, command, coast(state, memory))
    frame = xp.concat(
        [_term(contract, spec, memory) for spec in contract.terms],
        axis=-1,
    )[..., None, :]
    shifted = xp.concat([memory.history[..., 1:, :], frame], axis=-2)
    history = xp.where(memory.started[..., None, None], shifted, frame)
    memory = dataclasses.replace(
        memory, history=history, started=xp.ones_like(memory.started, dtype=xp.bool)
    )
    return flatten(contract, history), memory


def coast(state: RobotState, memory: Memory) -> Memory:
    """Take over what is valid in ``state``; hold the last reading of what is not."""
    xp = _namespace(memory.history)
    joint, imu = state.joint_valid, state.imu_valid
    dtype = memory.history.dtype

    def held(valid: Array, new: Array, old: Array) -> Array:
        return xp.where(valid, xp.astype(new, dtype, copy=False), old)

    return dataclasses.replace(
        memory,
        joint_position=held(joint, state.joint_position, memory.joint_position),
        joint_velocity=held(joint, state.joint_velocity, memory.joint_velocity),
        orientation=held(imu[..., None], state.orientation, memory.orientation),
        angular_velocity=held(imu[..., None], state.angular_velocity, memory.angular_velocity),
        joint_age=xp.where(joint, xp.zeros_like(memory.joint_age), memory.joint_age + 1),
        imu_age=xp.where(imu, xp.zeros_like(memory.imu_age), memory.imu_age + 1),
    )


def smooth(contract: Contract, command: Array, memory: Memory) -> Memory:
    """Move the smoothed command towards ``command`` (..., commands); at once on the first tick."""
    xp = _namespace(memory.history)
    last = memory.command
    limits = [np.inf if c.slew is None else c.slew * contract.period for c in contract.command]
    limit = xp.asarray(limits, dtype=last.dtype)
    change = xp.astype(xp.asarray(command), last.dtype, copy=False) - last
    limited = last + xp.minimum(xp.maximum(change, -limit), limit)
    return dataclasses.replace(
        memory, command=xp.where(memory.started[..., None], limited, last + change)
    )


def flatten(contract: Contract, history: Array) -> Array:
    """Lay a history (..., frames, frame) out as one observation (..., observation_size)."""
    xp = _namespace(history)
    shape = history.shape[:-2]
    if contract.layout == "frame-major" or contract.history == 1:
        return xp.reshape(history, (*shape, contract.observation_size))
    parts = [
        xp.reshape(history[..., part], (*shape, contract.history * (part.stop - part.start)))
        for part in contract.slices().values()
    ]
    return xp.concat(parts, axis=-1)


def act(contract: Contract, action: Array, memory: Memory) -> tuple[JointCommand, Memory]:
    """Joint targets from the policy's output, (..., joints); see ``ActionMap`` for the formula."""
    xp = _namespace(memory.target)
    like = memory.target
    rule = contract.action
    clipped = xp.clip(xp.astype(action, like.dtype, copy=False), -1.0, 1.0)
    raw = xp.asarray(rule.offset, dtype=like.dtype) + clipped * xp.asarray(
        rule.scale, dtype=like.dtype
    )
    change = rule.smoothing * (raw - like)
    if rule.slew != float("inf"):
        change = xp.clip(change, -rule.slew, rule.slew)
    target = like + change
    return JointCommand(target), dataclasses.replace(memory, action=clipped, target=target)


def projected_gravity(orientation: Array) -> Array:
    """Direction of gravity in the body frame, (..., 3), from a quaternion w x y z (..., 4)."""
    xp = _namespace(orientation)
    w, x, y, z = (orientation[..., i] for i in range(4))
    return xp.stack(
        [2.0 * (w * y - x * z), -2.0 * (y * z + w * x), 2.0 * (x * x + y * y) - 1.0], axis=-1
    )


Term = Callable[[Contract, Memory], Array]

TERMS: dict[str, Term] = {
    "projected_gravity": lambda contract, memory: projected_gravity(memory.orientation),
    "angular_velocity": lambda contract, memory: memory.angular_velocity,
    "joint_position": lambda contract, memory: _from_default(contract, memory),
    "joint_velocity": lambda contract, memory: memory.joint_velocity,
    "command": lambda contract, memory: memory.command,
    "previous_action": lambda contract, memory: memory.action,
}


# Terms that no sensor measures: the robot knows what it was asked and what it did.
UNMEASURED = ("command", "previous_action")
INERTIAL = ("projected_gravity", "angular_velocity")  # what the inertial sensor measures


def term_size(name: str, joints: int, commands: int) -> int:
    """Numbers in one frame of the term ``name``.

    Raises:
        KeyError: no such term; the message lists those there are.
    """
    sizes = {
        "projected_gravity": 3,
        "angular_velocity": 3,
        "joint_position": joints,
        "joint_velocity": joints,
        "command": commands,
        "previous_action": joints,
    }
    if name not in sizes:
        raise KeyError(f"there is no observation term {name!r}; there are {', '.join(TERMS)}")
    return sizes[name]


def _namespace(array: Array) -> Any:
    # NumPy 2 is its own array-API namespace; asking costs more than most of the sums here.
    return np if isinstance(array, np.ndarray) else array_namespace(array)


def _from_default(contract: Contract, memory: Memory) -> Array:
    xp = _namespace(memory.joint_position)
    like = memory.joint_position
    return like - xp.asarray(contract.default_pose, dtype=like.dtype)


def _term(contract: Contract, spec: TermSpec, memory: Memory) -> Array:
    xp = _namespace(memory.history)
    value = TERMS[spec.name](contract, memory)
    return xp.astype(value, memory.history.dtype, copy=False) * spec.scale
