"""Follow a commanded forward speed and turn rate on two wheels without falling, under pushes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from retort.controller.contract import CommandSpec
from retort.controller.program import projected_gravity
from retort.sim.physics import Physics
from retort.sim.randomisation import (
    Friction,
    ImuTilt,
    Latency,
    MotorStrength,
    Payload,
    SupplyVoltage,
)
from retort.sim.task import AXES, ContractConfig, Pushes, Rows, tolerance

FALLEN = 0.7  # [rad] between the body's axis and the vertical
SPEED_MARGIN = 0.4  # [m/s] error at which a tenth of the reward is left
TURN_MARGIN = 1.6  # [rad/s]


class Measured(NamedTuple):
    """True motion of the robots, float32."""

    gravity: np.ndarray  # (n, 3) direction of gravity in the body frame
    angular_velocity: np.ndarray  # (n, 3) [rad/s], body frame
    heading: np.ndarray  # (n, 2) unit vector, world
    forward_speed: np.ndarray  # (n,) [m/s] of the axle along the heading
    turn_rate: np.ndarray  # (n,) [rad/s] about the vertical


class Balancer:
    """Forward speed and turn rate of an inverted pendulum on an axle."""

    name = "balancer"
    robot = "balancer"
    command = (
        CommandSpec(name="forward_speed", unit="m/s", low=-0.5, high=0.5, slew=1.0),
        CommandSpec(name="turn_rate", unit="rad/s", low=-2.0, high=2.0, slew=6.0),
    )
    command_interval = (2.0, 5.0)
    contract = ContractConfig(
        terms=(
            "projected_gravity",
            "angular_velocity",
            "joint_velocity",
            "command",
            "previous_action",
        ),
        scales={"angular_velocity": 0.25, "joint_velocity": 0.05},
        history=5,
        action_scale=0.15,
        smoothing=0.9,
        slew=0.12,
    )
    axes = AXES
    pushes = Pushes(site="push", impulse=0.15)

    def __init__(self) -> None:
        self.randomisations = {
            "randomisation": (
                Payload(body="payload", mass=0.1, height=(0.06, 0.14), offset=0.015),
                Friction(geoms=("left_wheel", "right_wheel"), low=0.4, high=1.2),
                MotorStrength(spread=0.2),
                SupplyVoltage(low=-0.12, high=0.08),
            ),
            "sensing": (
                ImuTilt(site="imu", angle=0.03),
                # From half a tick, which the real line can reach, to three.
                Latency(low=0.005, high=0.03),
            ),
        }

    def initial_state(self, physics: Physics, ids: np.ndarray, rng: np.random.Generator) -> None:
        n = len(ids)
        yaw, pitch = rng.uniform(-np.pi, np.pi, n), rng.uniform(-0.1, 0.1, n)
        qpos, qvel = physics.qpos, physics.qvel
        cy, sy, cp, sp = np.cos(yaw / 2), np.sin(yaw / 2), np.cos(pitch / 2), np.sin(pitch / 2)
        qpos[ids, 3:7] = np.stack([cy * cp, -sy * sp, cy * sp, sy * cp], axis=1)
        speed = rng.uniform(-0.2, 0.2, n)
        qvel[ids, 0] = speed * np.cos(yaw)
        qvel[ids, 1] = speed * np.sin(yaw)
        qvel[ids, 4] = rng.uniform(-0.3, 0.3, n)
        qvel[ids[:, None], physics.joint_qvel] = (speed / 0.04)[:, None]

    def measure(self, physics: Physics, rows: Rows) -> Measured:
        quaternion = physics.qpos[rows, 3:7].astype(np.float32)
        velocity = physics.qvel[rows, :6].astype(np.float32)
        gravity = projected_gravity(physics.against_gravity(quaternion, rows))
        w, x, y, z = quaternion.T
        heading = np.stack([1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z)], axis=1)
        heading /= np.sqrt(np.einsum("ij,ij->i", heading, heading))[:, None] + 1e-6
        angular = velocity[:, 3:6]
        return Measured(
            gravity=gravity,
            angular_velocity=angular,
            heading=heading,
            forward_speed=np.einsum("ij,ij->i", velocity[:, :2], heading),
            turn_rate=-np.einsum("ij,ij->i", gravity, angular),
        )

    def reward(self, measured: Measured, command: np.ndarray) -> np.ndarray:
        return tolerance(measured.forward_speed - command[:, 0], SPEED_MARGIN) * tolerance(
            measured.turn_rate - command[:, 1], TURN_MARGIN
        )

    def terminated(self, measured: Measured) -> np.ndarray:
        return measured.gravity[:, 2] > -np.cos(FALLEN)

    def privileged(
        self, physics: Physics, rows: Rows, measured: Measured, command: np.ndarray
    ) -> np.ndarray:
        body = self._body(physics)
        force = physics.wrench[rows, body, :2].astype(np.float32)
        error = self.tracking(measured) - command
        wheels = physics.qvel[rows][:, physics.joint_qvel].astype(np.float32)
        return np.concatenate(
            [
                measured.gravity,
                measured.angular_velocity * np.float32(0.25),
                measured.forward_speed[:, None],
                measured.turn_rate[:, None] * np.float32(0.25),
                wheels * np.float32(0.05),
                command,
                error * np.array([2.0, 0.5], dtype=np.float32),
                along_and_across(measured, force) * np.float32(0.1),
            ],
            axis=1,
        )

    def tracking(self, measured: Measured) -> np.ndarray:
        return np.stack([measured.forward_speed, measured.turn_rate], axis=1)

    def _body(self, physics: Physics) -> int:
        return int(physics.model.site(self.pushes.site).bodyid[0])


def along_and_across(measured: Measured, vector: np.ndarray) -> np.ndarray:
    """A vector of the floor (n, 2) by the robot's heading: forward and to the left."""
    heading = measured.heading
    along = np.einsum("ij,ij->i", vector, heading)
    across = heading[:, 0] * vector[:, 1] - heading[:, 1] * vector[:, 0]
    return np.stack([along, across], axis=1)


TASK = Balancer()
