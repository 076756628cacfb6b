"""A robot looked at without touching it: what its devices report, and how well the lines work.

Nothing is written to any device; reading feeds a bus watchdog all the same.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections import deque
from collections.abc import Callable

from .alerts import alert_text
from .clock import Clock
from .errors import DeviceError
from .line_driver import Device
from .port import Port
from .robot import Line as LineConfig
from .robot import Robot, Value
from .robot_bus import RobotBus, open_bus
from .state import RobotState
from .subset import answering, only

RATE = 50.0  # [Hz] at most
BYTES = 50  # on the wire for one device and tick at most, both ways
ANSWER = 1e-3  # [s] before a device's answer at most, the wire's time aside
MARGIN = 0.02  # [s] for an adapter
IDENTIFY = 3  # attempts, on a line that loses answers
WINDOW = 2.0  # [s] over which the rate is taken


@dataclasses.dataclass(frozen=True)
class Row:
    """One joint. NaN where there is no reading."""

    name: str
    position: float  # [rad]
    velocity: float  # [rad/s]
    effort: float  # [N·m]
    current: float  # [A]
    temperature: float  # [°C]
    voltage: float  # [V]
    lost: float  # share of the answers asked for
    state: str


@dataclasses.dataclass(frozen=True)
class ImuRow:
    """The inertial sensor."""

    tilt: float  # [rad] of the body's z axis from up
    angular_velocity: tuple[float, ...]  # (3,) [rad/s]
    linear_acceleration: tuple[float, ...]  # (3,) [m/s²]
    lost: float
    state: str


@dataclasses.dataclass(frozen=True)
class View:
    """Everything at one moment."""

    robot: str
    rate: float  # [Hz] readings of the whole robot
    asked: int  # answers, of all devices
    lost: int
    joints: tuple[Row, ...]
    imu: ImuRow | None
    problems: tuple[str, ...]  # where a device is not as robot.toml says


class Watch:
    """Reads whoever answers.

    Args:
        robot: what should be there.
        opener: opens the port of a line.
        clock: the ports' time.

    Raises:
        PortError: a port cannot be opened.
    """

    def __init__(self, robot: Robot, opener: Callable[[LineConfig], Port], clock: Clock) -> None:
        self.robot = _watched(robot)
        self._clock = clock
        self._whole = open_bus(self.robot, opener, clock)
        self._bus: RobotBus | None = None
        self._state: RobotState | None = None
        self._devices: dict[str, tuple[RobotBus, Device]] = {}
        self._facts: dict[str, str] = {}  # by device: what its registers say in words
        self._problems: tuple[str, ...] = ()
        self._changed = True  # since the problems were found, a device said something else
        self._times: deque[float] = deque()
        self._turn = 0
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def missing(self) -> tuple[str, ...]:
        """Devices that did not answer when this watch began."""
        return tuple(name for name in self.robot.read.order if name not in self._devices)

    def read(self) -> None:
        """One reading; then wait until the next is due.

        Raises:
            PortError: a port has gone away.
        """
        began = self._clock.now()
        if self._bus is not None:
            self._state = self._bus.read(began + _patience(self._bus.robot))
            self._times.append(began)
            while self._times[0] < began - WINDOW:
                self._times.popleft()
        self._clock.sleep_until(began + self.robot.period)

    def look(self) -> None:
        """Ask one more device whether its torque is on and what error it has; where that is news,
        look again at what is to be mended.

        Raises:
            PortError: a port has gone away.
        """
        names = [name for name in self._devices if self._fresh(name)]
        if not names:
            return
        self._turn = (self._turn + 1) % len(names)
        for name in {names[self._turn], *(n for n in names if self._alert(n))}:
            self._ask(name)
        if self._changed and self._bus is not None and len(names) == len(self._devices):
            self._judge(self._bus)

    def view(self) -> View:
        """What is known now."""
        counters = self._bus.counters if self._bus is not None else {}
        lost = {
            name: (c.asked - c.answered) / c.asked if c.asked else 0.0
            for name, c in counters.items()
        }
        spans = len(self._times) - 1
        rate = spans / (self._times[-1] - self._times[0]) if spans > 0 else 0.0
        return View(
            robot=self.robot.name,
            rate=rate,
            asked=sum(c.asked for c in counters.values()),
            lost=sum(c.asked - c.answered for c in counters.values()),
            joints=tuple(self._row(name, lost.get(name, math.nan)) for name in self.robot.joints),
            imu=self._imu_row(lost.get("imu", math.nan)) if self.robot.imu else None,
            problems=self._problems,
        )

    def close(self) -> None:
        self._whole.close()

    def _begin(self) -> None:
        names = answering(self._whole, attempts=2)
        if not any(name in self.robot.joints for name in names):
            return
        ports = {name: line.port for name, line in self._whole.lines.items()}
        bus = open_bus(only(self.robot, names), ports, self._clock)
        self._bus = bus
        for _ in range(IDENTIFY):
            if self._changed:
                self._judge(bus)
        for driver in bus.drivers:
            self._devices |= {device.name: (bus, device) for device in driver.devices}
        for name in self._devices:
            self._ask(name)

    def _judge(self, bus: RobotBus) -> None:
        """Find out where devices are not as robot.toml says."""
        try:
            reports = bus.identify()
        except DeviceError as error:  # a poor line; what can be read is shown all the same
            self._problems = (str(error),)
        else:
            self._problems = tuple(text for report in reports for text in report.problems)
            self._changed = False

    def _ask(self, name: str) -> None:
        bus, device = self._devices[name]
        line = next(driver.line for driver in bus.drivers if device in driver.devices)
        said = []
        try:
            error = line.read(device.id, device.table, "hardware_error")
            said = [alert_text(device.table.protocol, error)] if error else []
            if device.joint is not None and line.read(device.id, device.table, "torque_enable"):
                said.append("torque on")
        except DeviceError:  # the readings show it
            return
        fact = ", ".join(said)
        self._changed |= self._facts.get(name, fact) != fact
        self._facts[name] = fact

    def _age(self, name: str) -> float:
        """Since its last fresh reading [s]; inf: there was none."""
        bus, state = self._bus, self._state
        if bus is None or state is None or state.health is None or name not in self._devices:
            return math.inf
        if name == "imu":
            return math.inf if state.health.imu_age is None else state.health.imu_age
        ages = state.health.age
        return math.inf if ages is None else float(ages[bus.robot.joints.index(name)])

    def _fresh(self, name: str) -> bool:
        return self._age(name) == 0.0

    def _alert(self, name: str) -> bool:
        bus, state = self._bus, self._state
        if bus is None or state is None or state.health is None or name == "imu":
            return False
        return bool(state.health.alert[bus.robot.joints.index(name)])

    def _said(self, name: str) -> str:
        if name not in self._devices:
            return "no answer"
        age = self._age(name)
        if math.isinf(age):
            return "never read"
        if age > WINDOW / 4:
            return f"silent {age:.0f} s" if age >= 1.0 else "silent"
        facts = self._facts.get(name, "")
        return facts or ("alert" if self._alert(name) else "ok")

    def _row(self, name: str, lost: float) -> Row:
        said = self._said(name)
        bus, state = self._bus, self._state
        if math.isinf(self._age(name)) or bus is None or state is None or state.health is None:
            nothing = math.nan
            return Row(name, nothing, nothing, nothing, nothing, nothing, nothing, lost, said)
        _, device = self._devices[name]
        k, motor = bus.robot.joints.index(name), device.table.motor
        effort = float(state.joint_effort[k])
        measured = motor is not None and "present_current" in device.table.registers
        return Row(
            name,
            float(state.joint_position[k]),
            float(state.joint_velocity[k]),
            effort,
            effort / motor.torque_constant if motor is not None and measured else math.nan,
            float(state.health.temperature[k]),
            float(state.health.voltage[k]),
            lost,
            said,
        )

    def _imu_row(self, lost: float) -> ImuRow:
        said, state = self._said("imu"), self._state
        if math.isinf(self._age("imu")) or state is None:
            nothing = (math.nan,) * 3
            return ImuRow(math.nan, nothing, nothing, lost, said)
        _, x, y, _ = state.orientation
        return ImuRow(
            2.0 * math.asin(min(1.0, math.hypot(x, y))),
            tuple(state.angular_velocity.tolist()),
            tuple(state.linear_acceleration.tolist()),
            lost,
            said,
        )


def _watched(robot: Robot) -> Robot:
    """``robot`` read slowly and patiently, of everything its devices report, in the layout that
    needs nothing written."""
    read = dataclasses.replace(robot.read, layout="direct")
    everything = dataclasses.replace(read, values=typing.get_args(Value))
    rate = min(RATE, robot.control_rate, 0.9 / (_patience(robot) - MARGIN))
    return dataclasses.replace(robot, control_rate=rate, read_fraction=0.9, read=everything)


def _patience(robot: Robot) -> float:
    """How long a reading may take [s]."""
    lines = [joint.line for joint in robot.joint] + ([robot.imu.line] if robot.imu else [])
    return MARGIN + max(
        lines.count(line.name) * (BYTES * 10.0 / line.baud + ANSWER) for line in robot.line
    )
