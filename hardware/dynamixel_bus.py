"""A ``Bus`` on one DYNAMIXEL 2.0 line: one read and one write packet per tick."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np

from .bus import DeviceCounters, DeviceReport
from .clock import Clock
from .dynamixel import codec
from .dynamixel.codec import ALERT
from .dynamixel.identify import GAINS, Device, report
from .dynamixel.parser import Status, StatusParser
from .dynamixel.units import ADDRESS, GOALS, LENGTH, Goals, Readings, joint_of
from .errors import DeviceError, PortError, RobotFileError
from .freshness import TickTracker
from .line import ATTEMPTS, Line, Tap
from .model_table import load_model
from .port import Port
from .robot import Joint, Robot
from .state import JointCommand, RobotState

_FAST_HEAD = 8  # bytes before the first block of a fast sync read's answer


def open_bus(robot: Robot, port: Port, clock: Clock, tap: Tap | None = None) -> DynamixelBus:
    """The bus of ``robot`` on an open port. Puts nothing on the wire.

    Args:
        robot: what should be there.
        port: its line; the bus closes it.
        clock: the port's time.
        tap: sees every byte as (time, "out" or "in", bytes).

    Raises:
        RobotFileError: robot.toml asks for what this bus cannot do.
    """
    return DynamixelBus(robot, port, clock, tap)


class DynamixelBus:
    """See ``Bus``. A read asks all devices at once and takes what is fresh; nothing is asked twice
    within a tick."""

    def __init__(self, robot: Robot, port: Port, clock: Clock, tap: Tap | None = None) -> None:
        if len(robot.line) != 1:
            raise RobotFileError(
                f"{robot.name} has {len(robot.line)} lines; this bus drives exactly one"
            )
        self.robot = robot
        self.clock = clock
        self.line = Line(port, clock, tap)
        self._servos = [_servo(joint) for joint in robot.joint]
        named = {device.name: device for device in self._servos}
        if robot.imu:
            named["imu"] = Device("imu", robot.imu.id, load_model(robot.imu.model), None)
        self._order = [named[name] for name in robot.read.order]
        self._counters = {name: DeviceCounters() for name in robot.read.order}
        self._trackers = [TickTracker(robot.period / 2) for _ in self._order]
        self._index = {device.id: index for index, device in enumerate(self._order)}
        joints = {name: index for index, name in enumerate(robot.joints)}
        self._joint_of = [joints.get(device.name, -1) for device in self._order]
        self._imu_usable = False  # what the sensor says of its own last sample
        self._use_fast(True)
        self._readings = Readings(self._servos, named.get("imu"))
        self._goals = [
            Goals(mode, self._servos) for mode in dict.fromkeys(j.mode for j in robot.joint)
        ]

    @property
    def counters(self) -> dict[str, DeviceCounters]:
        return self._counters

    def identify(self) -> tuple[DeviceReport, ...]:
        devices = [*self._servos, *(d for d in self._order if d.joint is None)]
        found = {device.name: self.line.ping(device.id) for device in devices}
        silent = [f"{d.name} (id {d.id})" for d in devices if found[d.name] is None]
        if silent:
            raise DeviceError(
                f"{', '.join(silent)} {'does' if len(silent) == 1 else 'do'} not answer at "
                f"{self.line.port.baud} bit/s; check power, cable, id and baud rate"
            )
        reports, fast, delays = [], True, []
        for device in devices:
            number, firmware = found[device.name] or (0, 0)
            first = device.table.fast_sync_read
            fast = fast and first is not None and firmware >= first
            made = report(self.line, device, number, firmware)
            if made.model == device.table.name:
                register = device.table.registers["return_delay"]
                delays.append(
                    self.line.read(device.id, device.table, "return_delay") * register.unit
                )
            reports.append(made)
        self._use_fast(fast)
        self._synchronise()
        return tuple(self._with_timing(reports, delays))

    def prepare(self) -> None:
        """As ``Bus.prepare``; switches torque off first."""
        watchdog = round(self.robot.watchdog / 0.02)
        for device in self._order:
            # Below level 2 a device confirms no write, so this one is only read back.
            level = device.table.registers["status_return_level"]
            self.line.ask(codec.write(device.id, level.address, level.encode(2)), attempts=1)
            self._write_checked(device, "status_return_level", 2)
        for device in self._servos:
            joint = joint_of(device)
            self._write_checked(device, "torque_enable", 0)
            self._write_checked(device, "bus_watchdog", 0)  # clears one that has tripped
            for name, value in joint.gains.items():
                self._write_checked(device, name, value)
            if joint.mode != "position":  # a position goal is set by torque-on itself
                self._write_checked(device, GOALS[joint.mode], 0)
            self._write_checked(device, "bus_watchdog", min(max(watchdog, 1), 127))
        self._synchronise()

    def read(self, deadline: float) -> RobotState:
        line, parser = self.line, self._parser
        n = len(self._order)
        line.drain()
        parser.reset()
        began = self.clock.now()
        line.send(self._request)
        heard = began + self._request_time
        fresh, late = [False] * n, [False] * n
        received, missing = 0, n
        while missing:
            data = line.receive(max(parser.needs, self._expected - received), deadline)
            if not data:
                break
            received += len(data)
            missing -= self._take_all(parser.feed(data), heard, fresh, late)
            if received >= self._expected and not any(late):
                break
        if missing:
            missing -= self._take_all(parser.flush(), heard, fresh, late)
        self._count(fresh, late, received)
        return self._state(fresh, began)

    def write(self, command: JointCommand) -> None:
        target = np.asarray(command.target, dtype=float)
        if not np.isfinite(target).all():
            raise ValueError(f"targets must be finite, got {target}")
        for goal in self._goals:
            self.line.send(goal.packet(target))

    def torque(self, on: bool) -> tuple[str, ...]:
        """As ``Bus.torque``. Before torque-on, effort and velocity goals are set to nothing."""
        left = list(self._servos)
        with contextlib.suppress(PortError):  # said below, by every servo that does not confirm
            if on:
                for goal in self._goals:
                    if goal.mode != "position":
                        self.line.send(goal.packet(np.zeros(len(left))))
            else:  # all at once first: nobody waits for a silent one's answer
                address = left[0].table.registers["torque_enable"].address
                self.line.send(codec.sync_write(address, [(d.id, b"\0") for d in left]))
        for _ in range(ATTEMPTS):  # everyone once before anyone twice
            left = [device for device in left if not self._torque_of(device, on)]
            if not left:
                break
        return tuple(device.name for device in left)

    def close(self) -> None:
        self.line.port.close()

    def _torque_of(self, device: Device, on: bool) -> bool:
        register = device.table.registers["torque_enable"]
        packet = codec.write(device.id, register.address, register.encode(int(on)))
        try:
            status = self.line.ask(packet, attempts=1)
        except PortError:
            return False
        return status is not None and not status.error & ~ALERT

    def _use_fast(self, fast: bool) -> None:
        """Prebuild the tick's request for fast or plain sync read."""
        ids = [device.id for device in self._order]
        build = codec.fast_sync_read if fast else codec.sync_read
        self._fast = fast
        self._request = build(ids, ADDRESS, LENGTH)
        self._request_time = self.line.wire_time(len(self._request))
        each = LENGTH + (4 if fast else 11)
        self._expected = len(ids) * each + (_FAST_HEAD if fast else 0)
        self._parser = StatusParser(LENGTH if fast else 0)

    def _synchronise(self) -> None:
        """Learn the offset of every device's clock, line otherwise quiet."""
        for device, tracker in zip(self._order, self._trackers, strict=True):
            tracker.forget()
            register = device.table.registers["realtime_tick"]
            packet = codec.read(device.id, register.address, register.size)
            for _ in range(ATTEMPTS):
                heard = self.clock.now() + self.line.wire_time(len(packet))
                status = self.line.ask(packet, attempts=1)
                if status is not None and len(status.data) == register.size:
                    tracker.synchronise(heard, register.decode(status.data))

    def _with_timing(self, reports: list[DeviceReport], delays: list[float]) -> list[DeviceReport]:
        """``reports``, with a problem in the first if a read cannot end in time."""
        waiting = max(delays, default=0.0) if self._fast else sum(delays)
        needed = self._request_time + self.line.wire_time(self._expected) + waiting
        budget = self.robot.read_fraction * self.robot.period
        if needed <= budget:
            return reports
        problem = (
            f"one read takes {1e3 * needed:.2f} ms ({1e3 * waiting:.2f} ms of it return delay), "
            f"read_fraction leaves {1e3 * budget:.2f} ms; lower the devices' return delay or raise "
            "the baud rate"
        )
        first = reports[0]
        return [
            dataclasses.replace(first, problems=(*first.problems, problem)),
            *reports[1:],
        ]

    def _write_checked(self, device: Device, name: str, value: int) -> None:
        self.line.write(device.id, device.table, name, value)
        got = self.line.read(device.id, device.table, name)
        if got != value:
            raise DeviceError(
                f"{device.name} (id {device.id}): {name} holds {got} after {value} was written; "
                "power-cycle the servo"
            )

    def _take_all(
        self, answers: list[Status], heard: float, fresh: list[bool], late: list[bool]
    ) -> int:
        """Decode what is fresh; how many devices that newly were."""
        taken = 0
        for answer in answers:
            index = self._index.get(answer.id, -1)
            if index < 0 or len(answer.data) != LENGTH or fresh[index]:
                continue
            tick = answer.data[0] | answer.data[1] << 8
            if not self._trackers[index].accept(tick, heard, self.clock.now()):
                late[index] = True
                continue
            fresh[index] = True
            taken += 1
            joint = self._joint_of[index]
            if joint >= 0:
                self._readings.take_servo(joint, answer)
            else:
                self._imu_usable = self._readings.take_imu(answer)
        return taken

    def _count(self, fresh: list[bool], late: list[bool], received: int) -> None:
        """Say of every device that gave nothing why.

        Devices answer in order. One without an answer before one with is corrupt; the first after
        the last answer is corrupt if as many bytes came as it should have sent, else missing;
        those behind it are lost in its tail.
        """
        last = max((index for index, got in enumerate(fresh) if got), default=-1)
        each = LENGTH + (4 if self._fast else 11)
        whole = (sum(fresh) + 1) * each + (_FAST_HEAD if self._fast else 0)
        for index, device in enumerate(self._order):
            counter = self._counters[device.name]
            counter.asked += 1
            if fresh[index]:
                counter.answered += 1
            elif late[index]:
                counter.late += 1
            elif index < last or (index == last + 1 and received >= whole):
                counter.corrupt += 1
            elif index == last + 1:
                counter.missing += 1
            else:
                counter.lost_in_tail += 1

    def _state(self, fresh: list[bool], began: float) -> RobotState:
        joint_valid = np.zeros(len(self._servos), dtype=bool)
        imu_valid = False
        for index, got in zip(self._joint_of, fresh, strict=True):
            if index < 0:
                imu_valid = got and self._imu_usable
            else:
                joint_valid[index] = got
        return self._readings.state(joint_valid, imu_valid, began)


def _servo(joint: Joint) -> Device:
    table = load_model(joint.servo)
    if table.motor is None:
        raise RobotFileError(f"{joint.name}: {joint.servo} is not a servo")
    for name, value in joint.gains.items():
        if name not in GAINS or not table.register(name).allows(value):
            raise RobotFileError(
                f"{joint.name}: gains has {name} = {value}; the gains are {', '.join(GAINS)}, "
                "0 to 16383"
            )
    return Device(joint.name, joint.id, table, joint)
