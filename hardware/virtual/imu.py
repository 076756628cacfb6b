"""The virtual inertial sensor board ``retort-imu``; models/README.md is its manual."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..model_table import load_model
from ..plant import Plant
from .device import VirtualDevice

AXES = ("x", "y", "z")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImuErrors:
    """How far the sensor is from the truth; none by default."""

    gyro_noise: float = 0.0  # [rad/s] standard deviation per sample
    gyro_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [rad/s]
    acceleration_noise: float = 0.0  # [m/s²] standard deviation per sample
    acceleration_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m/s²]
    tilt: tuple[float, float] = (0.0, 0.0)  # [rad] roll and pitch error of the orientation


class VirtualImu(VirtualDevice):
    """Samples the plant at 1 kHz of its own clock, with seeded noise.

    Attributes:
        errors: how far it is from the truth.
        frozen: it goes on answering with the same sample.
    """

    def __init__(
        self,
        plant: Plant,
        id: int,
        baud: int,
        random: np.random.Generator,
        errors: ImuErrors | None = None,
        model: str = "retort-imu",
    ) -> None:
        super().__init__("imu", load_model(model), id, baud)
        self.errors = errors or ImuErrors()
        self.frozen = False
        self._plant = plant
        self._random = random
        self._sampled = -1  # millisecond of the sample in the registers

    def refresh(self, time: float) -> None:
        super().refresh(time)
        millisecond = int((time - self.booted) * 1000.0 + 1e-6)
        if millisecond == self._sampled or self.frozen:
            return
        self._sampled = millisecond
        errors, random, registers = self.errors, self._random, self.registers
        sample = self._plant.imu()
        gyro = sample.angular_velocity + errors.gyro_bias
        acceleration = sample.linear_acceleration + errors.acceleration_bias
        if errors.gyro_noise:
            gyro = gyro + random.normal(0.0, errors.gyro_noise, 3)
        if errors.acceleration_noise:
            acceleration = acceleration + random.normal(0.0, errors.acceleration_noise, 3)
        orientation = _tilted(sample.orientation, *errors.tilt)
        saturated = False
        for prefix, axes, values in (
            ("orientation", ("w", *AXES), orientation),
            ("angular_velocity", AXES, gyro),
            ("linear_acceleration", AXES, acceleration),
        ):
            unit = self.table.registers[f"{prefix}_{axes[0]}"].unit
            counts = np.rint(np.asarray(values) / unit)
            saturated |= bool(np.any(np.abs(counts) > 32767))
            for axis, count in zip(axes, np.clip(counts, -32767, 32767), strict=True):
                registers[f"{prefix}_{axis}"] = int(count)
        registers["status_flags"] = 2 if saturated else 0
        registers["sample_counter"] = millisecond % 256
        registers.measure("present_voltage", self._plant.supply() * 10.0)
        registers["present_temperature"] = 30

    def reboot(self, time: float) -> None:
        super().reboot(time)
        self._sampled = -1


def _tilted(orientation: np.ndarray, roll: float, pitch: float) -> np.ndarray:
    """``orientation`` followed by a small body-frame rotation; unit quaternions w x y z."""
    if roll == 0.0 and pitch == 0.0:
        return orientation
    w, x, y, z = orientation
    a, b = roll / 2.0, pitch / 2.0
    product = np.array([w - x * a - y * b, x + w * a - z * b, y + w * b + z * a, z + x * b - y * a])
    return product / np.linalg.norm(product)
