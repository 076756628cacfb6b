"""From physics to the reading the bus would give: quantisation, noise, bias, packet loss.

What is done here is what virtual servos and the wire do at byte level, which
tests/contracts/test_simulator_is_the_bus.py compares.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..hardware.checks import NOT_NEGATIVE, SHARE, check_fields
from ..hardware.robot import Robot
from ..hardware.state import RobotState
from .physics import Physics


@dataclasses.dataclass(frozen=True, kw_only=True)
class SensorModel:
    """Resolutions, and noise at full width."""

    position_resolution: float = 2 * np.pi / 4096  # [rad]; 0 does not round
    velocity_resolution: float = 0.229 * 2 * np.pi / 60  # [rad/s]; 0 does not round
    orientation_noise: float = 0.004  # [rad] standard deviation
    gyro_noise: float = 0.02  # [rad/s] standard deviation
    gyro_bias: float = 0.03  # [rad/s] at most
    packet_loss: float = 0.01  # probability per device and tick

    def __post_init__(self) -> None:
        check_fields(
            self,
            position_resolution=NOT_NEGATIVE,
            velocity_resolution=NOT_NEGATIVE,
            orientation_noise=NOT_NEGATIVE,
            gyro_noise=NOT_NEGATIVE,
            gyro_bias=NOT_NEGATIVE,
            packet_loss=SHARE,
        )


class Sensing:
    """The sensors of ``num_envs`` robots. Biases are per episode, noise per tick."""

    def __init__(self, robot: Robot, model: SensorModel, physics: Physics) -> None:
        self.model = model
        self._physics = physics
        n = physics.num_envs
        self.noise_width = np.zeros(n, dtype=np.float32)
        self.loss = np.zeros(n, dtype=np.float32)  # probability per device
        self.gyro_bias = np.zeros((n, 3), dtype=np.float32)
        order = robot.read.order
        self._imu = order.index("imu") if robot.imu else None
        self._joints = [order.index(name) for name in robot.joints]
        self._devices = len(order)

    def reset(
        self, ids: np.ndarray, noise: np.ndarray, loss: np.ndarray, rng: np.random.Generator
    ) -> None:
        """New biases for ``ids``; ``noise`` and ``loss`` are widths in [0, 1], (len(ids),)."""
        self.noise_width[ids] = noise
        self.loss[ids] = loss * self.model.packet_loss
        bias = rng.uniform(-1.0, 1.0, (len(ids), 3)) * (noise[:, None] * self.model.gyro_bias)
        self.gyro_bias[ids] = bias

    def read(self, rng: np.random.Generator, *, ids: np.ndarray | None = None) -> RobotState:
        """The reading of this tick, arrays (n, ...) float32.

        Args:
            rng: draws noise and losses.
            ids: rows to read just after their reset, where nothing is lost; all when None.
        """
        physics, model = self._physics, self.model
        rows = slice(None) if ids is None else ids
        n = physics.num_envs if ids is None else len(ids)
        orientation, gyro, acceleration = self._inertial(rows, n, rng)
        # Encoders give the present; the inertial sensor lags one substep, as its own filter does.
        position = physics.qpos[rows][:, physics.joint_qpos]
        velocity = physics.qvel[rows][:, physics.joint_qvel]
        effort = physics.outputs["actuator_force"][rows][:, physics.actuators]
        if ids is None:
            lost = rng.random((n, self._devices), dtype=np.float32) < self.loss[:, None]
            valid = ~np.logical_or.accumulate(lost, axis=1)  # a silent device loses those behind
        else:
            valid = np.ones((n, self._devices), dtype=bool)
        return RobotState(
            joint_position=_quantise(position, model.position_resolution),
            joint_velocity=_quantise(velocity, model.velocity_resolution),
            joint_effort=effort.astype(np.float32),
            orientation=orientation,
            angular_velocity=gyro,
            linear_acceleration=acceleration,
            joint_valid=valid[:, self._joints],
            imu_valid=np.zeros(n, dtype=bool) if self._imu is None else valid[:, self._imu],
        )

    def _inertial(
        self, rows: slice | np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Orientation (n, 4), angular velocity (n, 3) [rad/s] and acceleration (n, 3) [m/s^2] of
        ``rows``; of a robot without the sensor upright and at rest, as its driver says.
        """
        physics, model = self._physics, self.model
        if self._imu is None:
            upright = np.tile(np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32), (n, 1))
            return upright, np.zeros((n, 3), np.float32), np.zeros((n, 3), np.float32)
        sensors = physics.sensors
        orientation = physics.against_gravity(sensors["orientation"][rows].astype(np.float32), rows)
        width = self.noise_width[rows][:, None]
        noise = rng.standard_normal((n, 7), dtype=np.float32)
        orientation += noise[:, :4] * (width * np.float32(model.orientation_noise / 2))
        orientation /= np.sqrt(np.einsum("ij,ij->i", orientation, orientation))[:, None]
        gyro = sensors["angular_velocity"][rows].astype(np.float32)
        gyro += self.gyro_bias[rows]
        gyro += noise[:, 4:] * (width * np.float32(model.gyro_noise))
        return orientation, gyro, sensors["linear_acceleration"][rows].astype(np.float32)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to go on to the bit."""
        return {
            "noise_width": self.noise_width.copy(),
            "loss": self.loss.copy(),
            "gyro_bias": self.gyro_bias.copy(),
        }

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of ``state_dict``."""
        for name in ("noise_width", "loss", "gyro_bias"):
            getattr(self, name)[:] = arrays[name]


def _quantise(values: np.ndarray, resolution: float) -> np.ndarray:
    if resolution == 0.0:
        return values.astype(np.float32)
    return (np.rint(values * (1.0 / resolution)) * resolution).astype(np.float32)
