"""Between a tick's bytes and SI units: the answers of all devices, and their goals.

A servo's angle [rad] is its position register times the register's unit; robot.toml's sign and
zero make it the joint's. Torque is current times the model's torque constant.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from ..robot import Joint
from ..state import Health, RobotState
from . import codec
from .codec import ALERT, BROADCAST, Instruction
from .identify import Device
from .parser import Status

ADDRESS, LENGTH = 120, 27  # realtime tick to present temperature, of servos and sensor alike
GOALS = {"effort": "goal_current", "velocity": "goal_velocity", "position": "goal_position"}
_SERVO = struct.Struct("<HBBhhiiiiHB")  # tick .. current, velocity, position .. voltage, °C
_IMU = struct.Struct("<HBB4h3h3hHB")
_IMU_NAMES = (
    *(f"orientation_{axis}" for axis in "wxyz"),
    *(f"angular_velocity_{axis}" for axis in "xyz"),
    *(f"linear_acceleration_{axis}" for axis in "xyz"),
)


class Readings:
    """The last answer of every device. Filled in place; ``state`` gives arrays of its own.

    Args:
        servos: in joint order.
        imu: the sensor, if there is one.
    """

    def __init__(self, servos: Sequence[Device], imu: Device | None) -> None:
        n = len(servos)
        self._raw = np.zeros((3, n))  # current, velocity, position counts
        self._factor, self._bias = _conversion(servos)
        self._voltage, self._temperature = np.zeros(n), np.zeros(n)
        self._alert = np.zeros(n, dtype=bool)
        self._imu_raw = np.zeros(10)
        self._imu_raw[0] = 1.0
        self._imu_factor = np.ones(10)
        if imu is not None:
            self._imu_factor[:] = [imu.table.registers[name].unit for name in _IMU_NAMES]

    def take_servo(self, joint: int, answer: Status) -> None:
        """Take over a servo's block of ``LENGTH`` bytes."""
        values = _SERVO.unpack(answer.data)
        self._raw[:, joint] = values[4:7]
        self._voltage[joint] = 0.1 * values[9]
        self._temperature[joint] = values[10]
        self._alert[joint] = answer.error & ALERT != 0

    def take_imu(self, answer: Status) -> bool:
        """Take over the sensor's block; false if it says itself that the sample is not valid."""
        values = _IMU.unpack(answer.data)
        if values[1] & 1:
            return False
        self._imu_raw[:] = values[3:13]
        return True

    def state(self, joint_valid: np.ndarray, imu_valid: bool, time: float) -> RobotState:
        """Everything as last heard, in SI units."""
        effort, velocity, position = self._raw * self._factor + self._bias
        imu = self._imu_raw * self._imu_factor
        return RobotState(
            joint_position=position,
            joint_velocity=velocity,
            joint_effort=effort,
            orientation=imu[:4] / max(float(np.sqrt(imu[:4] @ imu[:4])), 1e-9),
            angular_velocity=imu[4:7],
            linear_acceleration=imu[7:10],
            joint_valid=joint_valid,
            imu_valid=np.bool_(imu_valid),
            time=time,
            health=Health(self._voltage.copy(), self._temperature.copy(), self._alert.copy()),
        )


class Goals:
    """The sync write of all joints in one mode, prebuilt but for the values."""

    def __init__(self, mode: str, servos: Sequence[Device]) -> None:
        self.mode = mode
        chosen = [i for i, device in enumerate(servos) if joint_of(device).mode == mode]
        row = ("effort", "velocity", "position").index(mode)
        registers = [servos[i].table.register(GOALS[mode]) for i in chosen]
        factor, bias = _conversion(servos)
        self._joints = np.array(chosen)
        self._factor, self._bias = factor[row, chosen], bias[row, chosen]
        self._low = np.array([r.min for r in registers], dtype=float)
        self._high = np.array([r.max for r in registers], dtype=float)
        kind = {2: "h", 4: "i"}[registers[0].size]
        self._struct = struct.Struct("<HH" + f"B{kind}" * len(chosen))
        self._values: list[int] = [registers[0].address, registers[0].size]
        for i in chosen:
            self._values += [servos[i].id, 0]

    def packet(self, target: np.ndarray) -> bytes:
        """The packet for targets (joints,) in SI units, cut to what the registers take."""
        counts = np.rint((target[self._joints] - self._bias) / self._factor)
        self._values[3::2] = np.clip(counts, self._low, self._high).astype(int).tolist()
        return codec.frame(BROADCAST, Instruction.SYNC_WRITE, self._struct.pack(*self._values))


def joint_of(device: Device) -> Joint:
    """The joint a servo moves."""
    assert device.joint is not None
    return device.joint


def _conversion(servos: Sequence[Device]) -> tuple[np.ndarray, np.ndarray]:
    """``SI = counts * factor + bias``, both (3, joints): effort, velocity, position."""
    factor, bias = np.zeros((3, len(servos))), np.zeros((3, len(servos)))
    for i, device in enumerate(servos):
        joint, registers, motor = joint_of(device), device.table.registers, device.table.motor
        assert motor is not None
        units = (
            registers["present_current"].unit * motor.torque_constant,
            registers["present_velocity"].unit,
            registers["present_position"].unit,
        )
        factor[:, i] = np.array(units) * joint.sign
        bias[2, i] = -joint.sign * joint.zero
    return factor, bias
