"""A robot's servos brought back after a fault: awake, limp, and set up as robot.toml says.

Nothing moves: torque is switched off first and stays off. What was held up sinks, so hold it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from .alerts import alert_text
from .bus import DeviceReport
from .clock import Clock
from .dynamixel import codec
from .dynamixel.line import DynamixelLine
from .errors import DeviceError
from .line import Line
from .line_driver import Device, servos_among
from .robot_bus import RobotBus, open_bus
from .subset import answering, only

BOOT = 3.0  # [s] a rebooted device may take until it answers
ONE_TURN = 3  # operating mode whose position begins anew with every turn
STARTUP_TORQUE = 1  # bit of Startup Configuration

Say = Callable[[str, str], None]


@dataclasses.dataclass(frozen=True)
class Recovery:
    """How it went.

    Attributes:
        reports: what every device that answers says of itself in the end.
        problems: sentences, each with what to do; none if the robot is well.
    """

    reports: tuple[DeviceReport, ...]
    problems: tuple[str, ...]


def recover(bus: RobotBus, say: Say = lambda device, done: None) -> Recovery:
    """Bring back what can be brought back, then verify everything.

    Torque goes off everywhere. What latched an error is rebooted; a servo that counted turns is
    told to forget them; RAM is written and read back (``Bus.prepare``); the goal of a servo that
    takes one without torque is set to where it is. EEPROM is never written.

    Args:
        bus: open; of a robot of which some devices may not answer.
        say: told what was done to which device, as it is done.

    Raises:
        PortError: a port has gone away.
        DeviceError: nothing answers, or a device stops answering.
    """
    names = answering(bus)
    missing = [name for name in bus.robot.read.order if name not in names]
    problems = [f"{name} does not answer; check its power, cable and id" for name in missing]
    if not any(name in bus.robot.joints for name in names):
        raise DeviceError(
            f"no servo of {bus.robot.name} answers; check the supply and the cables, or look with "
            "`retort scan PORT`"
        )
    if missing:
        ports = {name: line.port for name, line in bus.lines.items()}
        bus = open_bus(only(bus.robot, names), ports, bus.clock)
    ours = [
        (driver.line, device)
        for driver in bus.drivers
        for device in driver.devices
        if (driver.line.ping(device.id) or (None,))[0] == device.table.number
    ]  # registers of another model may stand elsewhere
    for line, device in ours:
        _let_it_answer(line, device)
    before = {device.name: _error(line, device) for line, device in ours}
    left = bus.torque(False)
    for _, device in ours:
        if device.joint is not None and device.name not in left:
            say(device.name, "torque is off")
    for line, device in ours:
        _clear_error(bus.clock, line, device, before[device.name], say)
    reports = bus.identify()
    if wrong := [report.name for report in reports if report.problems]:
        say(", ".join(wrong), "must be mended first; nothing was written to anyone's RAM")
        return _judged(reports, problems)
    bus.prepare()
    for driver in bus.drivers:
        for device in servos_among(driver.devices):
            say(device.name, "RAM is written and read back")
            problems += _settle(driver.line, device, say)
    return _judged(bus.identify(), problems)


def _judged(reports: tuple[DeviceReport, ...], problems: list[str]) -> Recovery:
    """How it went, with what devices say of themselves in the end."""
    for report in reports:
        problems += report.problems
        if report.torque:
            problems.append(f"{report.name} has its torque on; switch the supply off")
    return Recovery(reports, tuple(problems))


def _let_it_answer(line: Line, device: Device) -> None:
    """Raise the status return level, below which a DYNAMIXEL device answers pings only."""
    register = device.table.registers["status_return_level"]
    if isinstance(line, DynamixelLine):
        line.ask(codec.write(device.id, register.address, register.encode(2)), attempts=1)


def _error(line: Line, device: Device) -> str:
    """The device's hardware error in words; empty if it has none."""
    bits = line.read(device.id, device.table, "hardware_error")
    return alert_text(device.table.protocol, bits)


def _clear_error(clock: Clock, line: Line, device: Device, before: str, say: Say) -> None:
    """Reboot a device that has latched an error, if it can be.

    Args:
        clock: the line's time.
        line, device: which.
        before: its error as long as it had torque.
        say: as for ``recover``.
    """
    text = _error(line, device)
    if not text:
        if before:
            say(device.name, f"{before}: over, now that its torque is off")
        return
    startup = "startup_configuration"
    if startup in device.table.registers and (
        line.read(device.id, device.table, startup) & STARTUP_TORQUE
    ):
        say(device.name, f"{text}: not rebooted, as it would switch its torque on by itself")
        return
    try:
        line.reboot(device.id)
    except DeviceError as refused:
        say(device.name, f"{text}: not rebooted, as {refused}")
        return
    _await(clock, line, device)
    again = _error(line, device)
    say(device.name, f"rebooted after {text}" + (f", and reports {again} again" if again else ""))


def _await(clock: Clock, line: Line, device: Device) -> None:
    """Wait until a rebooted device answers again.

    Raises:
        DeviceError: it does not.
    """
    deadline = clock.now() + BOOT
    while line.ping(device.id, attempts=1) is None:
        if clock.now() > deadline:
            raise DeviceError(
                f"{device} does not answer within {BOOT:g} s of its reboot; cut its power and "
                "give it back"
            )


def _settle(line: Line, device: Device, say: Say) -> list[str]:
    """One turn, and a goal where the servo is; what is wrong with where it stands."""
    joint, table = device.joint, device.table
    if joint is None or joint.mode != "position":
        return []
    position = line.read(device.id, table, "present_position")
    mode = line.read(device.id, table, "operating_mode")
    if isinstance(line, DynamixelLine):
        if mode == ONE_TURN:
            offset = line.read(device.id, table, "homing_offset")
            first = offset if abs(offset) <= table.turn // 4 else 0
            if not first <= position < first + table.turn:
                answer = line.ask(codec.clear_turns(device.id))
                if answer is None or answer.error & ~codec.ALERT:
                    return [
                        f"{device} has counted turns and cannot forget them while it moves; hold "
                        "it still and try again"
                    ]
                turned = line.read(device.id, table, "present_position")
                say(device.name, f"whole turns forgotten: {(position - turned) // table.turn}")
                position = turned
        # A Feetech servo gets no goal while it is limp: what it does then is not documented.
        goal = _within_limits(line, device, mode, position)
        line.write_checked(device.id, table, "goal_position", goal, str(device))
        say(device.name, "goal is where it is")
    angle = joint.sign * (position * table.registers["present_position"].unit - joint.zero)
    low, high = joint.limits.position_min, joint.limits.position_max
    if low <= angle <= high:
        return []
    return [
        f"{device} stands at {angle:.3f} rad, outside robot.toml's {low:.3f} to {high:.3f} rad; "
        "turn it back by hand"
    ]


def _within_limits(line: Line, device: Device, mode: int, position: int) -> int:
    """A servo refuses a goal beyond its own limits; torque-on replaces it by where it is."""
    if mode != ONE_TURN:
        return position
    low = line.read(device.id, device.table, "min_position_limit")
    high = line.read(device.id, device.table, "max_position_limit")
    return min(max(position, low), high)
