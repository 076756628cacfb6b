"""What must stand in a DYNAMIXEL device's RAM before torque: written and read back at every open.

A reboot loses all of it, and another program may have left anything there.
"""

from __future__ import annotations

from ..line_driver import Device
from . import codec
from .layout import Block
from .line import DynamixelLine
from .units import GOALS

_WATCHDOG_UNIT = 0.02  # [s]
_CURRENT_BASED_POSITION = 5
_ONE_TURN = 3
_PWM = 16
_LIMITS = {"effort": "current_limit", "velocity": "velocity_limit"}
_NO_PROFILE = (  # the simulation knows neither profiles nor feedforward
    "profile_acceleration",
    "profile_velocity",
    "feedforward_acceleration",
    "feedforward_velocity",
)


def prepare_device(
    line: DynamixelLine, device: Device, block: Block, watchdog: float
) -> tuple[int, int] | None:
    """Leave ``device`` limp, watched, with robot.toml's gains and goals that ask for nothing.

    Args:
        line: its line.
        device: a servo or sensor board.
        block: what a tick reads of it.
        watchdog: after this silence a servo stops by itself [s].

    Returns:
        The lowest and the highest goal the servo's own limits let it take [counts]; None where
        there is no such limit.

    Raises:
        DeviceError: it does not answer, or a register does not hold what was written.
    """

    def write(name: str, value: int) -> None:
        line.write_checked(device.id, device.table, name, value, str(device))

    registers = device.table.registers
    # Below level 2 a device confirms no write, so this one is only read back.
    level = registers["status_return_level"]
    line.ask(codec.write(device.id, level.address, level.encode(2)), attempts=1)
    write("status_return_level", 2)
    joint = device.joint
    if joint is None:
        return None
    write("torque_enable", 0)
    write("bus_watchdog", 0)  # clears one that has tripped
    for name in _NO_PROFILE:
        if name in registers:
            write(name, 0)
    for name, value in joint.gains.items():
        write(name, value)
    mode = line.read(device.id, device.table, "operating_mode")
    if mode != _PWM:
        write("goal_pwm", line.read(device.id, device.table, "pwm_limit"))
    if joint.mode != "position":  # a position goal is set by torque-on itself
        write(GOALS[joint.mode], 0)
    elif mode == _CURRENT_BASED_POSITION:
        write("goal_current", line.read(device.id, device.table, "current_limit"))
    for number, address in enumerate(block.windows, 1):
        write(f"indirect_address_{number}", address)
    write("bus_watchdog", min(max(round(watchdog / _WATCHDOG_UNIT), 1), 127))
    if joint.mode != "position":
        most = line.read(device.id, device.table, _LIMITS[joint.mode])
        return -most, most
    if mode != _ONE_TURN:
        return None
    low, high = (
        line.read(device.id, device.table, f"{end}_position_limit") for end in ("min", "max")
    )
    return low, high
