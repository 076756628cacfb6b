"""Bring a gripper to where it is asked to be, as open as asked, above the table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from retort.controller.contract import CommandSpec
from retort.sim.physics import Physics
from retort.sim.randomisation import Latency, Payload, SupplyVoltage
from retort.sim.task import AXES, ContractConfig, Pushes, Rows, tolerance

GRIP = "grip"  # the site between the fingers
JAW = "gripper"  # the joint that opens it
TABLE = 0.005  # [m] height of the grip below which it has hit the table
NEAR, FAR = 0.05, 0.3  # [m] errors at which a tenth of either half of the reward is left
OPENING_MARGIN = 0.5  # [rad] the same of the opening
CALM_MARGIN = 1.5  # [rad/s] of all joints' root mean square, the same of a quarter of the reward
SPREAD = 0.2  # [rad] around the default pose in which episodes begin


class Measured(NamedTuple):
    """Where the gripper is, float32."""

    place: np.ndarray  # (n, 3) [m] of the grip, in the base's frame
    opening: np.ndarray  # (n,) [rad]
    unrest: np.ndarray  # (n,) [rad/s] root mean square of the joints' velocities


class Reach:
    """Place and opening of an arm's gripper, the base standing still at the origin."""

    name = "reach"
    robot = "arm6"
    command = (
        CommandSpec(name="x", unit="m", low=0.16, high=0.30, slew=0.3),
        CommandSpec(name="y", unit="m", low=-0.14, high=0.14, slew=0.3),
        CommandSpec(name="z", unit="m", low=0.05, high=0.24, slew=0.3),
        CommandSpec(name="opening", unit="rad", low=0.0, high=1.0, slew=2.0),
    )
    command_interval = (1.5, 4.0)
    contract = ContractConfig(
        terms=("joint_position", "joint_velocity", "command", "previous_action"),
        scales={"joint_velocity": 0.2},
        history=3,
        action_scale=1.2,
        smoothing=0.5,
        slew=0.05,
    )
    axes = AXES
    pushes = Pushes(site="push", impulse=0.03)

    def __init__(self) -> None:
        self.randomisations = {
            "randomisation": (
                Payload(body="payload", mass=0.05, height=(-0.01, 0.01), offset=0.01),
                SupplyVoltage(low=-0.12, high=0.1),
            ),
            "sensing": (Latency(low=0.005, high=0.03),),
        }

    def initial_state(self, physics: Physics, ids: np.ndarray, rng: np.random.Generator) -> None:
        model, robot = physics.model, physics.robot
        pose = np.array([joint.default for joint in robot.joint])
        low, high = np.array([model.joint(name).range for name in robot.joints]).T
        start = pose + rng.uniform(-SPREAD, SPREAD, (len(ids), len(pose)))
        physics.qpos[ids[:, None], physics.joint_qpos] = np.clip(start, low, high)

    def measure(self, physics: Physics, rows: Rows) -> Measured:
        site = physics.model.site(GRIP).id
        jaw = physics.joint_qpos[physics.robot.joints.index(JAW)]
        velocity = physics.qvel[rows][:, physics.joint_qvel].astype(np.float32)
        return Measured(
            place=physics.outputs["site_xpos"][rows, site].astype(np.float32),
            opening=physics.qpos[rows, jaw].astype(np.float32),
            unrest=np.sqrt(np.mean(velocity * velocity, axis=1)),
        )

    def reward(self, measured: Measured, command: np.ndarray) -> np.ndarray:
        error = measured.place - command[:, :3]
        distance = np.sqrt(np.einsum("ij,ij->i", error, error))
        there = (tolerance(distance, NEAR) + tolerance(distance, FAR)) / 2
        calm = (3.0 + tolerance(measured.unrest, CALM_MARGIN)) / 4
        return there * tolerance(measured.opening - command[:, 3], OPENING_MARGIN) * calm

    def terminated(self, measured: Measured) -> np.ndarray:
        return measured.place[:, 2] < TABLE

    def privileged(
        self, physics: Physics, rows: Rows, measured: Measured, command: np.ndarray
    ) -> np.ndarray:
        site = physics.model.site(self.pushes.site)
        force = physics.wrench[rows, int(site.bodyid[0]), :2].astype(np.float32)
        position = physics.qpos[rows][:, physics.joint_qpos].astype(np.float32)
        velocity = physics.qvel[rows][:, physics.joint_qvel].astype(np.float32)
        tracking = self.tracking(measured)
        return np.concatenate(
            [
                position,
                velocity * np.float32(0.2),
                tracking,
                command,
                (tracking - command) * np.array([10.0, 10.0, 10.0, 1.0], dtype=np.float32),
                force * np.float32(0.1),
            ],
            axis=1,
        )

    def tracking(self, measured: Measured) -> np.ndarray:
        return np.concatenate([measured.place, measured.opening[:, None]], axis=1)


TASK = Reach()
