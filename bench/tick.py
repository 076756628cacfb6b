"""Microseconds per tick by part, in this process: observe, policy, act, gate, recorder.

Limit: all parts together within 5 % of the balancer's 10 ms tick (median). Bus and waiting are not
in it: the wire's time is the robot's, not this computer's.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from retort.controller import (
    ActionMap,
    CommandSpec,
    Contract,
    FlightRecorder,
    Reason,
    State,
    TermSpec,
    gate,
    gate_limits,
    load_policy,
)
from retort.controller.program import act, initial_memory, observe
from retort.controller.tick import Tick
from retort.hardware import Health, RobotState, load_robot

TICKS = 5000
HIDDEN = 32
LIMIT = 0.05  # of the period


def main() -> int:
    robot = load_robot("balancer")
    contract = Contract(
        robot=robot.name,
        joints=robot.joints,
        servos=tuple(joint.servo for joint in robot.joint),
        modes=tuple(joint.mode for joint in robot.joint),
        control_rate=robot.control_rate,
        default_pose=(0.0, 0.0),
        gains=tuple(dict(joint.gains) for joint in robot.joint),
        read_order=robot.read.order,
        terms=(
            TermSpec(name="projected_gravity", size=3),
            TermSpec(name="angular_velocity", size=3),
            TermSpec(name="joint_velocity", size=2, scale=0.1),
            TermSpec(name="command", size=2),
            TermSpec(name="previous_action", size=2),
        ),
        history=5,
        command=(
            CommandSpec(name="speed", unit="m/s", low=-0.5, high=0.5),
            CommandSpec(name="turn", unit="rad/s", low=-2.0, high=2.0),
        ),
        action=ActionMap(offset=(0.0, 0.0), scale=(0.1, 0.1), smoothing=0.8, slew=0.05),
    )
    random = np.random.default_rng(0)
    size = contract.observation_size

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 0.3, shape).astype(np.float32)

    policy = load_policy(
        contract,
        {"architecture": "mlp", "activation": "elu"},
        {
            "normaliser.mean": weights(size),
            "normaliser.std": np.ones(size, np.float32),
            "layers.0.weight": weights(HIDDEN, size),
            "layers.0.bias": weights(HIDDEN),
            "layers.1.weight": weights(HIDDEN, HIDDEN),
            "layers.1.bias": weights(HIDDEN),
            "layers.2.weight": weights(2, HIDDEN),
            "layers.2.bias": weights(2),
        },
    )
    state = RobotState(
        joint_position=random.normal(size=2),
        joint_velocity=random.normal(size=2),
        joint_effort=np.zeros(2),
        orientation=np.array([1.0, 0.0, 0.0, 0.0]),
        angular_velocity=random.normal(size=3),
        linear_acceleration=np.array([0.0, 0.0, 9.81]),
        joint_valid=np.ones(2, dtype=bool),
        imu_valid=np.array(True),
        health=Health(np.full(2, 5.0), np.full(2, 30.0), np.zeros(2, dtype=bool)),
    )
    limits, command = gate_limits(robot), np.zeros(2, np.float32)
    parts: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[..., Any], *arguments: object) -> Any:
        start = time.perf_counter()
        result = function(*arguments)
        parts.setdefault(name, []).append(time.perf_counter() - start)
        return result

    memory, last = initial_memory(contract), np.zeros(2)
    with tempfile.TemporaryDirectory() as folder:
        recorder = FlightRecorder(Path(folder), contract, robot, seconds=TICKS * robot.period)
        for number in range(TICKS):
            observation, memory = timed("observe", observe, contract, state, command, memory)
            action, _ = timed("policy", policy.step, observation, None)
            wanted, memory = timed("act", act, contract, action, memory)
            result = timed(
                "gate", gate, limits, state, memory, wanted.target, last, 0.0, robot.period
            )
            last = result.target
            tick = Tick(
                slot=number,
                time=number * robot.period,
                lateness=0.0,
                read_time=0.0,
                compute_time=0.0,
                write_time=0.0,
                state=State.RUN,
                overruns=0,
                reading=state,
                memory=memory,
                command=command,
                observation=observation,
                action=action,
                target=wanted.target,
                sent=last,
                reasons=Reason.NONE,
            )
            timed("recorder", recorder.tick, tick)
            timed("recorder, bytes", recorder.tap, 0.0, "in", bytes(60))
    total = np.sum([parts[name] for name in parts], axis=0)
    print(f"{policy.parameters} parameters, {size} observations; microseconds per tick:")
    for name, values in [*parts.items(), ("all", total)]:
        p50, p99 = np.percentile(np.asarray(values) * 1e6, [50, 99])
        print(f"  {name:16} p50 {p50:6.1f}   p99 {p99:6.1f}")
    limit = LIMIT * robot.period * 1e6
    print(f"limit: median of all at most {limit:.0f}")
    return 0 if np.median(total) * 1e6 <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
