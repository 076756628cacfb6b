"""A policy that always says the same, and a run of it on a bus that says what a test wants."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from retort.controller import (
    Bundle,
    RunOptions,
    RunResult,
    run,
)
from retort.controller.policy import Hidden, Policy
from retort.hardware.robot import Robot

from .conftest import FakeBus

RAMP = 0.5  # [s] upright and still, robot.toml


class Always(Policy):
    """Says the same thing every time."""

    parameters = 0

    def __init__(self, action: object) -> None:
        self.action = np.array(action, dtype=np.float32)
        self.observations: list[np.ndarray] = []

    def initial_state(self) -> Hidden:
        return None

    def step(self, observation: np.ndarray, hidden: Hidden) -> tuple[np.ndarray, Hidden]:
        self.observations.append(observation)
        return self.action, None


def go(bundle: Bundle, bus: FakeBus, seconds: float | None = 0.5, **more: object) -> RunResult:
    options = RunOptions(seconds=seconds, realtime=False, handle_signals=False)
    return run(bundle, bus, options, **more)  # type: ignore[arg-type]


def saying(bundle: Bundle, *action: float) -> Bundle:
    return dataclasses.replace(bundle, policy=Always(action))


def leaning(angle: float) -> np.ndarray:
    return np.array([math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0])


def since_torque(bus: FakeBus, time: float) -> float:
    """Seconds since torque was switched on; negative before."""
    return -1.0 if bus.torque_on_at is None else time - bus.torque_on_at


def assert_torque_off_is_last(bus: FakeBus) -> None:
    assert bus.calls[-1] == ("torque", False)


def arm_bus(arm: Robot, pose: tuple[float, float]) -> FakeBus:
    """Joints that follow their goals at once while they have torque."""
    bus = FakeBus(arm)
    bus.script = lambda time: {
        "joint_position": np.array(bus.writes[-1] if len(bus.writes) else pose)
    }
    return bus
