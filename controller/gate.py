"""The safety gate: a pure function between the program's target and the writer.

It never lets NaN out, never a target outside the limits, never a larger change than the slew limit,
and says with named reasons what it changed and what is a fault. It acts on nothing itself.
"""

from __future__ import annotations

import dataclasses
import enum
import math

import numpy as np

from ..hardware.robot import Joint, Robot
from ..hardware.state import RobotState
from .program import Memory

# Smaller changes are rounding (targets come as float32) and give no reason. [unit of the target]
RESOLUTION = 1e-6


class Reason(enum.IntFlag):
    """Why the gate changed a target (low bits) or calls for a stop (from ``NOT_FINITE`` on).

    The numbers are stored in flight logs.
    """

    NONE = 0
    POSITION = 1  # target beyond a position limit, or pushing a joint further beyond it
    VELOCITY = 2  # target beyond the velocity limit, or pushing a joint that is too fast
    EFFORT = 4  # target beyond the effort limit
    SLEW = 8  # target changed faster than allowed
    NOT_FINITE = 16  # NaN or infinity in the target or in a reading
    STALE = 32  # a device has been silent too long
    TILT = 64  # the body leans too far
    ORIENTATION = 128  # the inertial sensor's quaternion is no rotation
    ALERT = 256  # a servo reports a hardware error
    TEMPERATURE = 512  # a servo is too hot
    VOLTAGE = 1024  # the supply is too low
    HEARTBEAT = 2048  # the policy did not decide in time


FAULTS = (
    Reason.NOT_FINITE
    | Reason.STALE
    | Reason.TILT
    | Reason.ORIENTATION
    | Reason.ALERT
    | Reason.TEMPERATURE
    | Reason.VOLTAGE
    | Reason.HEARTBEAT
)


@dataclasses.dataclass(frozen=True)
class GateLimits:
    """A robot's limits as arrays (joints,), made once by ``gate_limits``."""

    names: tuple[str, ...]
    holds: np.ndarray  # bool: position mode; the safe target is the last one, else it is zero
    low: np.ndarray  # target, [unit of the mode]
    high: np.ndarray
    limit_reason: tuple[Reason, ...]  # which limit ``low`` and ``high`` are
    slew: float  # [unit of the target per second]
    position_min: np.ndarray  # measured [rad]
    position_max: np.ndarray
    velocity: np.ndarray  # measured [rad/s]
    tilt: float  # [rad]
    stale_ticks: int
    temperature: float  # [°C]
    voltage_min: float  # [V]
    heartbeat: float  # [s]
    imu: bool


@dataclasses.dataclass(frozen=True)
class GateResult:
    """What may be sent. Only ``gate`` makes these, and the writer takes nothing else."""

    target: np.ndarray  # (joints,) float64, finite and within limits
    reasons: Reason

    @property
    def fault(self) -> Reason:
        """The reasons that call for a stop."""
        return self.reasons & FAULTS


def gate_limits(robot: Robot) -> GateLimits:
    """The limits that robot.toml sets."""
    joints = robot.joint
    bounds = [_target_bounds(joint) for joint in joints]
    stale = robot.safety.stale_ticks * robot.period
    return GateLimits(
        names=robot.joints,
        holds=np.array([joint.mode == "position" for joint in joints]),
        low=np.array([low for low, _, _ in bounds]),
        high=np.array([high for _, high, _ in bounds]),
        limit_reason=tuple(reason for _, _, reason in bounds),
        slew=robot.safety.slew,
        position_min=np.array([joint.limits.position_min for joint in joints]),
        position_max=np.array([joint.limits.position_max for joint in joints]),
        velocity=np.array([joint.limits.velocity for joint in joints]),
        tilt=robot.safety.tilt,
        stale_ticks=robot.safety.stale_ticks,
        temperature=robot.safety.temperature,
        voltage_min=robot.safety.voltage_min,
        # After a longer pause the servos' own watchdog has stopped them anyway.
        heartbeat=robot.watchdog if robot.watchdog > 0 else stale,
        imu=robot.imu is not None,
    )


def gate(
    limits: GateLimits,
    state: RobotState,
    memory: Memory,
    target: np.ndarray,
    last_sent: np.ndarray,
    heartbeat_age: float,
    dt: float,
    forgive: Reason = Reason.NONE,
) -> GateResult:
    """Let through what is safe of ``target``.

    On a fault the result moves towards the safe target (the last one for a joint that holds a
    position, zero for the others) no faster than the slew limit.

    Args:
        limits: of the robot.
        state: this tick's reading.
        memory: the program's memory after this tick's ``observe``: coasted readings and ages.
        target: (joints,) what the program wants, [unit of the mode].
        last_sent: (joints,) what was sent before.
        heartbeat_age: time since the policy last decided [s].
        dt: time between two targets [s].
        forgive: faults that do not matter now, as a lean while torque is off; not reported.
    """
    target = np.asarray(target, dtype=np.float64)
    last = np.asarray(last_sent, dtype=np.float64)
    last = np.clip(np.where(np.isfinite(last), last, 0.0), limits.low, limits.high)
    reasons = _faults(limits, state, memory, heartbeat_age)
    if not np.all(np.isfinite(target)):
        reasons |= Reason.NOT_FINITE
    reasons &= ~forgive
    if reasons or not np.all(np.isfinite(target)):
        wanted = np.where(limits.holds, last, np.clip(0.0, limits.low, limits.high))
    else:
        wanted, reasons = _within_limits(limits, memory, target)
    step = limits.slew * dt
    low, high = np.maximum(limits.low, last - step), np.minimum(limits.high, last + step)
    slewed = np.clip(wanted, low, high)
    if np.any(np.abs(slewed - wanted) > RESOLUTION):
        reasons |= Reason.SLEW
    return GateResult(slewed, reasons)


def tilt(orientation: np.ndarray) -> float:
    """Angle between the body's and the world's vertical [rad]; NaN if ``orientation`` (w x y z)
    is no rotation."""
    w, x, y, z = (float(value) for value in orientation)
    square = w * w + x * x + y * y + z * z
    if not 0.8 < square < 1.25:
        return math.nan
    return math.acos(max(-1.0, min(1.0, (w * w - x * x - y * y + z * z) / square)))


def explain(limits: GateLimits, state: RobotState, memory: Memory, fault: Reason) -> str:
    """One sentence for a person: what was measured, what is allowed, what to do."""
    health = state.health

    def which(bad: np.ndarray) -> str:
        return ", ".join(name for name, is_bad in zip(limits.names, bad, strict=True) if is_bad)

    if fault & Reason.ALERT and health is not None:
        return (
            f"{which(health.alert & state.joint_valid)} reports a hardware error (overload, heat "
            "or voltage); free the robot, let it cool, then reboot the servo"
        )
    if fault & Reason.STALE:
        silent = which(memory.joint_age > limits.stale_ticks).split(", ")
        silent += ["imu"] if limits.imu and int(memory.imu_age) > limits.stale_ticks else []
        return (
            f"{', '.join(filter(None, silent))} did not answer for more than "
            f"{limits.stale_ticks} readings; check cable and supply"
        )
    if fault & Reason.TEMPERATURE and health is not None:
        hot = state.joint_valid & ~(health.temperature <= limits.temperature)
        return (
            f"{which(hot)} is at {float(np.max(health.temperature[hot])):.0f} °C; the limit is "
            f"{limits.temperature:.0f} °C; let it cool"
        )
    if fault & Reason.VOLTAGE and health is not None:
        low = state.joint_valid & ~(health.voltage >= limits.voltage_min)
        return (
            f"{which(low)} has {float(np.min(health.voltage[low])):.1f} V; at least "
            f"{limits.voltage_min:.1f} V are needed; charge or replace the battery"
        )
    if fault & Reason.ORIENTATION:
        return "the inertial sensor's quaternion is no rotation; check the sensor"
    if fault & Reason.TILT:
        return (
            f"the body leaned {tilt(memory.orientation):.2f} rad; the limit is "
            f"{limits.tilt:.2f} rad; set it upright and run again"
        )
    if fault & Reason.HEARTBEAT:
        return (
            f"the policy paused for more than {limits.heartbeat:.3f} s; free the computer of "
            "other work or use a smaller student"
        )
    if fault & Reason.NOT_FINITE:
        return "a target or a reading was not a finite number; look at the flight log"
    return "no fault"


def _faults(limits: GateLimits, state: RobotState, memory: Memory, heartbeat_age: float) -> Reason:
    reasons = Reason.NONE
    joints = (memory.joint_position, memory.joint_velocity)
    if not all(np.all(np.isfinite(values)) for values in joints):
        reasons |= Reason.NOT_FINITE
    if np.any(memory.joint_age > limits.stale_ticks):
        reasons |= Reason.STALE
    if limits.imu:
        if int(memory.imu_age) > limits.stale_ticks:
            reasons |= Reason.STALE
        if not np.all(np.isfinite(memory.angular_velocity)):
            reasons |= Reason.NOT_FINITE
        angle = tilt(memory.orientation)
        if math.isnan(angle):
            reasons |= Reason.ORIENTATION
        elif angle > limits.tilt:
            reasons |= Reason.TILT
    # Comparisons are written so that NaN is a fault.
    if not heartbeat_age <= limits.heartbeat:
        reasons |= Reason.HEARTBEAT
    if (health := state.health) is not None:
        valid = state.joint_valid
        if np.any(valid & health.alert):
            reasons |= Reason.ALERT
        if np.any(valid & ~(health.temperature <= limits.temperature)):
            reasons |= Reason.TEMPERATURE
        if np.any(valid & ~(health.voltage >= limits.voltage_min)):
            reasons |= Reason.VOLTAGE
    return reasons


def _within_limits(
    limits: GateLimits, memory: Memory, target: np.ndarray
) -> tuple[np.ndarray, Reason]:
    reasons = Reason.NONE
    wanted = np.clip(target, limits.low, limits.high)
    for i in np.flatnonzero(np.abs(wanted - target) > RESOLUTION):
        reasons |= limits.limit_reason[i]
    position, velocity = memory.joint_position, memory.joint_velocity
    pushes = ~limits.holds  # a held position is bounded by its target alone
    outward = pushes & (
        ((position > limits.position_max) & (wanted > 0))
        | ((position < limits.position_min) & (wanted < 0))
    )
    if np.any(outward):
        reasons |= Reason.POSITION
    too_fast = pushes & (
        ((velocity > limits.velocity) & (wanted > 0))
        | ((velocity < -limits.velocity) & (wanted < 0))
    )
    if np.any(too_fast):
        reasons |= Reason.VELOCITY
    return np.where(outward | too_fast, np.clip(0.0, limits.low, limits.high), wanted), reasons


def _target_bounds(joint: Joint) -> tuple[float, float, Reason]:
    if joint.mode == "position":
        return joint.limits.position_min, joint.limits.position_max, Reason.POSITION
    if joint.mode == "velocity":
        return -joint.limits.velocity, joint.limits.velocity, Reason.VELOCITY
    return -joint.limits.effort, joint.limits.effort, Reason.EFFORT
