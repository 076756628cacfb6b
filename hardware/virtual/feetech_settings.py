"""What a virtual Feetech servo's registers ask of its loops, decoded once per change."""

from __future__ import annotations

import dataclasses

from .registers import RegisterFile

POSITION, VELOCITY, PWM, STEP = range(4)  # operating modes
OFF, ON, DAMPING, SET_MIDDLE = 0, 1, 2, 128  # what is written to torque_enable
FULL = 1000.0  # duty at the whole supply voltage
FASTEST = 3400.0  # [counts/s] where the registers say nothing slower

# Bits of the phase register.
REVERSE_DRIVE, FINE_SPEED, ZERO_IS_FASTEST, MANY_TURNS, REVERSE_SENSOR = 1, 4, 8, 16, 128

WATCHED = (
    *(f"position_{gain}" for gain in "pid"),
    "velocity_p",
    "velocity_i",
    "integral_limit",
    "minimum_startup_force",
    "cw_dead_zone",
    "ccw_dead_zone",
    "homing_offset",
    "min_position_limit",
    "max_position_limit",
    "operating_mode",
    "phase",
    "velocity_unit_factor",
    "torque_enable",
    "torque_limit",
    "acceleration",
    "goal_time",
    "goal_velocity",
    "moving_threshold",
    "unload_condition",
    "protective_torque",
    "protection_time",
    "overload_torque",
    "protection_current",
    "overcurrent_time",
    "temperature_limit",
    "min_voltage_limit",
    "max_voltage_limit",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Duties in 0.1 %, angles in counts, speeds in counts/s, times in s."""

    mode: int
    torque: int
    p: int
    i: int
    d: int
    velocity_p: int
    velocity_i: int
    integral_bound: float  # of the position loop's integral term
    least_duty: int
    dead_zone: tuple[int, int]
    offset: int
    limits: tuple[int, int] | None  # None: endless
    many_turns: bool  # the present position counts turns
    speed_unit: float
    sensor: int  # 1 or -1: its direction against the plant's
    drive: int  # the same of the bridge
    torque_limit: int
    goal_duty: int  # of PWM mode
    goal_velocity: float
    goal_time: float
    profile_velocity: float  # 0: stop
    acceleration: float  # [counts/s²]; 0: any
    moving_threshold: int
    unload: int
    protective_duty: int
    protection_time: float
    overload_duty: int
    protection_current: float  # [A]
    overcurrent_time: float
    temperature_limit: int  # [°C]
    voltage_limits: tuple[int, int]  # [0.1 V]

    @classmethod
    def of(cls, registers: RegisterFile) -> Settings:
        """The settings in ``registers`` now."""
        value = {name: registers[name] for name in WATCHED}
        units = registers.table.registers
        phase, mode = value["phase"], value["operating_mode"]
        limits = (value["min_position_limit"], value["max_position_limit"])
        speed_unit = 1.0 if phase & FINE_SPEED else float(value["velocity_unit_factor"])
        velocity = value["goal_velocity"] * speed_unit
        fastest = FASTEST if phase & ZERO_IS_FASTEST else 0.0
        return cls(
            mode=mode,
            torque=value["torque_enable"],
            p=value["position_p"],
            i=value["position_i"],
            d=value["position_d"],
            velocity_p=value["velocity_p"],
            velocity_i=value["velocity_i"],
            integral_bound=4.0 * value["integral_limit"] or FULL,
            least_duty=value["minimum_startup_force"],
            dead_zone=(value["ccw_dead_zone"], value["cw_dead_zone"]),
            offset=value["homing_offset"],
            limits=None if limits == (0, 0) or mode == STEP else limits,
            many_turns=bool(phase & MANY_TURNS),
            speed_unit=speed_unit,
            sensor=-1 if phase & REVERSE_SENSOR else 1,
            drive=-1 if phase & REVERSE_DRIVE else 1,
            torque_limit=value["torque_limit"],
            goal_duty=value["goal_time"],
            goal_velocity=velocity,
            goal_time=0.001 * max(value["goal_time"], 0),
            profile_velocity=abs(velocity) or fastest,
            acceleration=100.0 * value["acceleration"],
            moving_threshold=value["moving_threshold"],
            unload=value["unload_condition"],
            protective_duty=10 * value["protective_torque"],
            protection_time=0.01 * value["protection_time"],
            overload_duty=10 * value["overload_torque"],
            protection_current=value["protection_current"] * units["protection_current"].unit,
            overcurrent_time=0.01 * value["overcurrent_time"],
            temperature_limit=value["temperature_limit"],
            voltage_limits=(value["min_voltage_limit"], value["max_voltage_limit"]),
        )
