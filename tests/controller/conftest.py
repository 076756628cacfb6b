"""A balancer contract, a small policy and a bus that says what a test wants it to say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from retort.controller import (
    ActionMap,
    Bundle,
    CommandSpec,
    Contract,
    Golden,
    TermSpec,
    load_policy,
    record_golden,
    save_bundle,
)
from retort.hardware.bus import DeviceCounters, DeviceReport
from retort.hardware.clock import VirtualClock
from retort.hardware.errors import PortError
from retort.hardware.robot import Limits, Ramp, Robot, load_robot
from retort.hardware.state import Health, JointCommand, RobotState

META = {"architecture": "mlp", "activation": "elu"}


def make_contract(robot: Robot, **changes: object) -> Contract:
    joints = len(robot.joint)
    sizes = {
        "projected_gravity": 3,
        "angular_velocity": 3,
        "joint_velocity": joints,
        "command": 2,
        "previous_action": joints,
    }
    fields = {
        "robot": robot.name,
        "joints": robot.joints,
        "servos": tuple(joint.servo for joint in robot.joint),
        "modes": tuple(joint.mode for joint in robot.joint),
        "control_rate": robot.control_rate,
        "default_pose": tuple(joint.default for joint in robot.joint),
        "gains": tuple(dict(joint.gains) for joint in robot.joint),
        "read_order": robot.read.order,
        "terms": tuple(TermSpec(name=name, size=size) for name, size in sizes.items()),
        "history": 3,
        "command": (
            CommandSpec(name="speed", unit="m/s", low=-0.5, high=0.5),
            CommandSpec(name="turn", unit="rad/s", low=-2.0, high=2.0),
        ),
        "action": ActionMap(
            offset=tuple(joint.default for joint in robot.joint), scale=(0.1,) * joints
        ),
    }
    return Contract(**{**fields, **changes})  # type: ignore[arg-type]


def make_tensors(contract: Contract, seed: int = 0, hidden: int = 8) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    size = contract.observation_size
    return {
        "normaliser.mean": random.normal(0, 0.1, size).astype(np.float32),
        "normaliser.std": random.uniform(0.5, 2, size).astype(np.float32),
        "layers.0.weight": random.normal(0, 0.3, (hidden, size)).astype(np.float32),
        "layers.0.bias": random.normal(0, 0.1, hidden).astype(np.float32),
        "layers.1.weight": random.normal(0, 0.3, (contract.action_size, hidden)).astype(np.float32),
        "layers.1.bias": np.zeros(contract.action_size, np.float32),
    }


def make_golden(contract: Contract, tensors: dict[str, np.ndarray], seed: int = 1) -> Golden:
    random = np.random.default_rng(seed)
    shape, joints = (2, 6), len(contract.joints)
    orientation = random.normal(size=(*shape, 4)) * 0.1 + [1.0, 0.0, 0.0, 0.0]
    states = RobotState(
        joint_position=random.normal(size=(*shape, joints)),
        joint_velocity=random.normal(size=(*shape, joints)),
        joint_effort=np.zeros((*shape, joints)),
        orientation=orientation / np.linalg.norm(orientation, axis=-1, keepdims=True),
        angular_velocity=random.normal(size=(*shape, 3)),
        linear_acceleration=np.zeros((*shape, 3)),
        joint_valid=random.random((*shape, joints)) > 0.1,
        imu_valid=random.random(shape) > 0.1,
    )
    commands = random.uniform(-0.5, 0.5, (*shape, len(contract.command)))
    policy = load_policy(contract, META, tensors)
    return record_golden(contract, policy.step, states, commands)


@dataclasses.dataclass
class Parts:
    """What ``save_bundle`` takes."""

    contract: Contract
    tensors: dict[str, np.ndarray]
    golden: Golden

    def save(self, folder: Path, **extra: object) -> Bundle:
        return save_bundle(folder, self.contract, META, self.tensors, self.golden, **extra)  # type: ignore[arg-type]


def make_parts(robot: Robot, seed: int = 0, **changes: object) -> Parts:
    contract = make_contract(robot, **changes)
    tensors = make_tensors(contract, seed)
    return Parts(contract, tensors, make_golden(contract, tensors))


def reading(robot: Robot, time: float = 0.0, **changes: object) -> RobotState:
    """Upright, still, healthy."""
    joints = len(robot.joint)
    fields = {
        "joint_position": np.array([joint.default for joint in robot.joint]),
        "joint_velocity": np.zeros(joints),
        "joint_effort": np.zeros(joints),
        "orientation": np.array([1.0, 0.0, 0.0, 0.0]),
        "angular_velocity": np.zeros(3),
        "linear_acceleration": np.array([0.0, 0.0, 9.81]),
        "joint_valid": np.ones(joints, dtype=bool),
        "imu_valid": np.array(robot.imu is not None),
        "time": time,
        "health": Health(np.full(joints, 5.0), np.full(joints, 30.0), np.zeros(joints, dtype=bool)),
    }
    return RobotState(**{**fields, **changes})


class FakeBus:
    """A ``Bus`` in virtual time: reads take 2 ms, and ``script`` says what they give."""

    READ_TIME = 0.002

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.clock = VirtualClock(100.0)
        self.script: Callable[[float], dict[str, object]] = lambda time: {}
        self.before_read: Callable[[float], None] = lambda time: None
        self.calls: list[tuple[str, object]] = []  # in order: "prepare", "torque", "write"
        self.counters: dict[str, DeviceCounters] = {"imu": DeviceCounters()}
        self.unconfirmed: dict[bool, tuple[str, ...]] = {}
        self.reports = tuple(
            DeviceReport(
                name=joint.name,
                id=joint.id,
                model=joint.servo,
                firmware=50,
                mode=joint.mode,
                limits={},
                gains=dict(joint.gains),
                torque=False,
                alert=False,
            )
            for joint in robot.joint
        )
        if robot.imu is not None:
            imu = robot.imu
            self.reports += (DeviceReport("imu", imu.id, imu.model, 1, "", {}, {}, False, False),)
        self.torque_on_at: float | None = None

    def identify(self) -> tuple[DeviceReport, ...]:
        return self.reports

    def prepare(self) -> None:
        self.calls.append(("prepare", None))

    def read(self, deadline: float) -> RobotState:
        self.before_read(self.clock.now())
        self.clock.sleep_until(min(deadline, self.clock.now() + self.READ_TIME))
        return reading(self.robot, self.clock.now(), **self.script(self.clock.now()))

    def write(self, command: JointCommand) -> None:
        self.calls.append(("write", np.array(command.target)))

    def torque(self, on: bool) -> tuple[str, ...]:
        self.calls.append(("torque", on))
        if on:
            self.torque_on_at = self.clock.now()
        return self.unconfirmed.get(on, ())

    def close(self) -> None: ...

    def unplug(self) -> None:
        raise PortError("the port has gone away; plug it in again")

    @property
    def writes(self) -> np.ndarray:
        """Everything sent, (writes, joints)."""
        return np.array([value for name, value in self.calls if name == "write"])


def with_ramp(robot: Robot, **changes: object) -> Robot:
    return dataclasses.replace(robot, ramp=dataclasses.replace(robot.ramp, **changes))  # type: ignore[arg-type]


def make_arm() -> Robot:
    """Two position joints, no sensor: what a ``pose`` ramp and a ``hold`` damp are for."""
    balancer = load_robot("balancer")
    joints = tuple(
        dataclasses.replace(
            joint,
            mode="position",
            default=default,
            limits=Limits(position_min=-1.5, position_max=1.5, velocity=5.0),
        )
        for joint, default in zip(balancer.joint, (0.5, -0.5), strict=True)
    )
    return dataclasses.replace(
        balancer,
        name="arm",
        joint=joints,
        imu=None,
        read=dataclasses.replace(balancer.read, order=balancer.joints),
        ramp=Ramp(kind="pose", seconds=0.5, timeout=2.0),
        damp=dataclasses.replace(balancer.damp, kind="hold"),
    )


@pytest.fixture
def robot() -> Robot:
    return load_robot("balancer")


@pytest.fixture
def arm() -> Robot:
    return make_arm()


@pytest.fixture
def parts(robot: Robot) -> Parts:
    return make_parts(robot)


@pytest.fixture
def bundle(parts: Parts, tmp_path: Path) -> Bundle:
    return parts.save(tmp_path / "bundle")


@pytest.fixture
def bus(robot: Robot) -> FakeBus:
    return FakeBus(robot)
