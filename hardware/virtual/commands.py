"""Commands to a virtual robot, as data: what a hand, a cable or a supply would do.

Times count from now [s]. The commands, with what they take (``=`` gives a default):

- ``unplug``, ``replug``: ``line=`` (all); the host's adapter and its port.
- ``power_off``, ``power_on``: ``device=`` (all).
- ``power_cycle``: ``device=`` (all), ``seconds=0.5`` without power.
- ``connect_only``: ``devices``, the list of those whose cables stay plugged; ``[]`` is all.
- ``turn``: ``device``, ``angle`` [rad of the servo's shaft], ``speed=0`` [rad/s]; by hand.
- ``hold``, ``release``: ``device``; a shaft is blocked where it is.
- ``load``: ``device``, ``torque`` [N·m], pulling until told otherwise.
- ``push``: ``impulse`` [N·s], three numbers, ``seconds=0.01``; at the robot's body.
- ``fault``: ``kind`` and what belongs to it, as in a profile of faults; ``at=0``.
- ``clear``: no more answers are befallen by faults.
- ``status``: time, ports, faults so far, and what every device knows of itself.

What moves shafts or body needs a plant that can: flywheels have no body.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

from ..alerts import alert_text
from ..errors import RetortError
from .faults import parse_fault
from .robot import VirtualRobot


class ControlError(RetortError):
    """A command that cannot be carried out; the text says what there is."""


def run_command(virtual: VirtualRobot, message: Any) -> dict[str, Any]:
    """Carry out one command.

    Args:
        virtual: the robot.
        message: ``{"command": name, ...}``.

    Returns:
        What there is to say; empty for most commands.

    Raises:
        ControlError: it is unknown or cannot be carried out.
    """
    if not isinstance(message, dict) or not isinstance(message.get("command"), str):
        raise ControlError('a command is {"command": NAME, ...}; NAME is one of ' + _names())
    values = {key: value for key, value in message.items() if key != "command"}
    for key in ("device", "line"):
        if not isinstance(values.get(key, ""), str):
            raise ControlError(f"{message['command']}: {key} must be a name, got {values[key]!r}")
    command = COMMANDS.get(message["command"])
    if command is None:
        raise ControlError(f"there is no command {message['command']!r}; there are {_names()}")
    if command is _fault:
        values = {"fault": values}
    try:
        inspect.signature(command).bind(virtual, **values)
    except TypeError as error:
        takes = ", ".join(list(inspect.signature(command).parameters)[1:]) or "nothing"
        raise ControlError(f"{message['command']} takes {takes}: {error}") from error
    try:
        return command(virtual, **values) or {}
    except (RetortError, KeyError, TypeError, ValueError, OverflowError) as error:
        said = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise ControlError(f"{message['command']}: {said}") from error


def _unplug(virtual: VirtualRobot, line: str = "") -> None:
    virtual.unplug(line)


def _replug(virtual: VirtualRobot, line: str = "") -> None:
    virtual.replug(line)


def _power_off(virtual: VirtualRobot, device: str = "") -> None:
    virtual.power_off(device)


def _power_on(virtual: VirtualRobot, device: str = "") -> None:
    virtual.power_on(device)


def _power_cycle(virtual: VirtualRobot, device: str = "", seconds: float = 0.5) -> None:
    virtual.power_cycle(device, _number("seconds", seconds))


def _connect_only(virtual: VirtualRobot, devices: list[str]) -> None:
    if not isinstance(devices, list):
        raise ControlError(f"devices is {devices!r}; it must be a list of names")
    virtual.connect_only(*devices)


def _turn(virtual: VirtualRobot, device: str, angle: float, speed: float = 0.0) -> None:
    _hand(virtual, "turn")(
        _joint(virtual, device), _number("angle", angle), _number("speed", speed)
    )


def _hold(virtual: VirtualRobot, device: str) -> None:
    _hand(virtual, "block")(_joint(virtual, device), True)


def _release(virtual: VirtualRobot, device: str) -> None:
    _hand(virtual, "block")(_joint(virtual, device), False)


def _load(virtual: VirtualRobot, device: str, torque: float) -> None:
    _hand(virtual, "load")(_joint(virtual, device), _number("torque", torque))


def _push(virtual: VirtualRobot, impulse: list[float], seconds: float = 0.01) -> None:
    if not isinstance(impulse, list) or len(impulse) != 3:
        raise ControlError(f"impulse is {impulse!r}; it must be three numbers [N·s]")
    along = tuple(_number("impulse", value) for value in impulse)
    if _number("seconds", seconds) <= 0.0:
        raise ControlError(f"seconds is {seconds}; it must be positive")
    _hand(virtual, "push")(along, seconds)


def _fault(virtual: VirtualRobot, fault: dict[str, Any]) -> None:
    parsed = parse_fault(fault)
    times = {
        field.name: getattr(parsed, field.name) + virtual.time
        for field in dataclasses.fields(parsed)
        if field.name in ("at", "until")
    }
    virtual.inject(dataclasses.replace(parsed, **times))


def _clear(virtual: VirtualRobot) -> None:
    virtual.injector.clear()


def _status(virtual: VirtualRobot) -> dict[str, Any]:
    devices = {}
    for device in virtual.devices:
        about = {"id": device.id, "baud": device.baud, "powered": math.isfinite(device.booted)}
        if device is not virtual.imu:
            angle, speed, current = virtual.plant.motor(virtual.servos.index(device))
            error = alert_text(device.table.protocol, device.error)
            about |= {"torque": device.torque, "error": error}
            about |= {"temperature": round(device.temperature, 1)}
            about |= {"angle": float(angle), "speed": float(speed), "current": float(current)}
        devices[device.name] = about
    return {
        "time": virtual.time,
        "supply": float(virtual.plant.supply()),
        "lines": {
            name: {
                "plugged": line.plugged,
                "baud": line.baud,
                "connected": None if line.connected is None else sorted(line.connected),
            }
            for name, line in virtual.lines.items()
        },
        "devices": devices,
        "faults": dataclasses.asdict(virtual.fault_counts),
    }


COMMANDS: dict[str, Callable[..., dict[str, Any] | None]] = {
    "unplug": _unplug,
    "replug": _replug,
    "power_off": _power_off,
    "power_on": _power_on,
    "power_cycle": _power_cycle,
    "connect_only": _connect_only,
    "turn": _turn,
    "hold": _hold,
    "release": _release,
    "load": _load,
    "push": _push,
    "fault": _fault,
    "clear": _clear,
    "status": _status,
}


def _names() -> str:
    return ", ".join(COMMANDS)


def _hand(virtual: VirtualRobot, what: str) -> Callable[..., None]:
    """What the plant offers a hand."""
    act = getattr(virtual.plant, what, None)
    if act is None:
        raise ControlError(f"the plant behind this robot cannot {what}")
    return act


def _joint(virtual: VirtualRobot, device: str) -> int:
    joints = virtual.robot.joints
    if device not in joints:
        raise ControlError(f"there is no servo {device!r}; there are {', '.join(joints)}")
    return joints.index(device)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ControlError(f"{name} is {value!r}; it must be a finite number")
    return float(value)
