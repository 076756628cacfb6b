"""The virtual sensor board gives what its manual says, and errs only as it is told to."""

from __future__ import annotations

import numpy as np
import pytest
from retort.hardware import ImuSample, load_model
from retort.hardware.dynamixel.line import DynamixelLine
from retort.hardware.virtual import LockstepClock, LockstepPort, RigidPlant, VirtualRobot
from retort.hardware.virtual.imu import ImuErrors

TABLE = load_model("retort-imu")
UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])


class Board:
    """The sensor of a virtual balancer, read register by register."""

    def __init__(self, robot, errors: ImuErrors | None = None, seed: int = 0) -> None:
        self.plant = RigidPlant(robot)
        self.virtual = VirtualRobot(robot, self.plant, seed=seed, imu_errors=errors)
        self.clock = LockstepClock(self.virtual)
        self.line = DynamixelLine(LockstepPort(self.virtual, self.clock), self.clock)

    def __call__(self, name: str) -> float:
        return self.line.read(10, TABLE, name) * TABLE.register(name).unit

    def vector(self, name: str, axes: str = "xyz") -> np.ndarray:
        return np.array([self(f"{name}_{axis}") for axis in axes])


def test_a_sample_is_the_plants_within_half_a_count(robot):
    board = Board(robot)
    orientation = np.array([0.5, -0.5, 0.5, -0.5])
    board.plant.imu_sample = ImuSample(
        orientation, np.array([1.2345, -2.0, 0.0]), np.array([0.1, -0.2, 9.81])
    )
    np.testing.assert_allclose(board.vector("orientation", "wxyz"), orientation, atol=2e-5)
    np.testing.assert_allclose(board.vector("angular_velocity"), [1.2345, -2, 0], atol=5.1e-4)
    np.testing.assert_allclose(board.vector("linear_acceleration"), [0.1, -0.2, 9.81], atol=2.6e-3)
    assert board("present_voltage") == pytest.approx(5.0)
    assert board("status_flags") == 0


def test_the_counter_counts_milliseconds(robot):
    board = Board(robot)
    board.clock.sleep_until(0.1)
    first = board("sample_counter")
    board.clock.sleep_until(0.15)
    assert board("sample_counter") - first == pytest.approx(50, abs=1)


def test_saturation_is_cut_and_flagged(robot):
    board = Board(robot)
    board.plant.imu_sample = ImuSample(UPRIGHT, np.array([100.0, 0.0, 0.0]), np.zeros(3))
    assert board("angular_velocity_x") == pytest.approx(32.767)
    assert board("status_flags") == 2


def test_errors_are_those_asked_for(robot):
    errors = ImuErrors(gyro_bias=(0.1, 0.0, -0.1), acceleration_noise=0.5, tilt=(0.02, -0.03))
    board = Board(robot, errors)
    np.testing.assert_allclose(board.vector("angular_velocity"), [0.1, 0.0, -0.1], atol=1e-3)
    np.testing.assert_allclose(
        board.vector("orientation", "wxyz"), [1.0, 0.01, -0.015, 0.0], atol=2e-4
    )
    samples = []
    for step in range(200):
        board.clock.sleep_until(1.0 + 0.01 * step)
        samples.append(board("linear_acceleration_z"))
    assert np.std(samples) == pytest.approx(0.5, rel=0.2)
    assert np.mean(samples) == pytest.approx(9.81, abs=0.15)


def test_noise_is_the_seeds(robot):
    errors = ImuErrors(gyro_noise=0.1)

    def first(seed: int) -> list[float]:
        return list(Board(robot, errors, seed).vector("angular_velocity"))

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_a_sample_not_valid_is_no_reading(rig):
    assert rig.bus.read(1.0).imu_valid
    refresh = rig.virtual.imu.refresh

    def unsettled(time: float) -> None:
        refresh(time)
        rig.virtual.imu.registers["status_flags"] = 1

    rig.virtual.imu.refresh = unsettled
    state = rig.bus.read(2.0)
    assert not state.imu_valid
    assert state.joint_valid.all()
