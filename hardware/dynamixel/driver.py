"""One DYNAMIXEL line of a robot, tick by tick: one read of what is, one write of goals.

**Late answers.** Where the devices' clocks are read (``tick`` in robot.toml's ``[read] values``),
they tell an answer to an earlier request. Otherwise its length does: after a tick that missed
anything the next request asks for up to two bytes more, in turn, so that an answer that comes late
is longer or shorter than what was asked for. Either way it is counted as late and not used.
"""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np

from ..bus import DeviceReport
from ..errors import RobotFileError
from ..freshness import TickTracker
from ..gains import check_gains
from ..identity import ping_all, return_delays, with_problem
from ..line import ATTEMPTS, Status
from ..line_driver import Device, joint_of, servos_among
from ..readings import Readings
from ..robot import Robot
from ..roll_call import RollCall, outcomes_in_chain
from . import codec
from .codec import ALERT
from .exchange import Exchange, as_index
from .identify import report
from .layout import VALUES, Block, blocks_of
from .line import DynamixelLine
from .prepare import prepare_device
from .units import ROWS, Goals, scale

_VARIANTS = 3  # lengths asked for in turn where no clock is read


class DynamixelDriver:
    """See ``LineDriver``."""

    def __init__(
        self, robot: Robot, devices: tuple[Device, ...], line: DynamixelLine, readings: Readings
    ) -> None:
        self.line = line
        self.devices = devices
        self.roll = RollCall([device.name for device in devices])
        self._robot = robot
        self._readings = readings
        self._servos = servos_among(devices)
        for device in devices:
            _check(device)
        modes = dict.fromkeys(joint_of(device).mode for device in self._servos)
        self._goals = {mode: Goals(mode, self._servos) for mode in modes}
        scale(readings, devices)
        self._blocks = blocks_of(devices, robot.read)
        self._ticks = "tick" in robot.read.values
        self._clocks = TickTracker(robot.period / 2, len(devices))
        self._delays: list[float] = []  # [s] before every device's answer
        self._fast = True
        self._variant = self._asked_variant = 0
        self._ways: dict[tuple[tuple[int, ...], int], Exchange] = {}
        self._asked: tuple[int, ...] = ()
        self._began = 0.0  # [s]
        self._rows = as_index([ROWS[v] for v in VALUES if v in ROWS and v in robot.read.values])
        self._exchange = self._way(tuple(range(len(devices))))

    def identify(self) -> list[DeviceReport]:
        devices = [*self._servos, *(d for d in self.devices if d.joint is None)]
        found = ping_all(self.line, devices)
        reports = [report(self.line, *answer) for answer in found]
        self._delays = return_delays(self.line, devices, reports)
        fast = all(
            device.table.fast_sync_read is not None and firmware >= device.table.fast_sync_read
            for device, _, firmware in found
        )
        if fast != self._fast:
            self._fast = fast
            self._ways.clear()
            self._asked = ()  # so that the next request is built anew
        self.roll.restore()
        self._synchronise()
        return self._with_timing(reports)

    def prepare(self) -> None:
        """As ``LineDriver.prepare``."""
        for device, block in zip(self.devices, self._blocks, strict=True):
            own = prepare_device(self.line, device, block, self._robot.watchdog)
            if device.joint is not None:
                self._goals[device.joint.mode].limit(device, own)
        self._synchronise()

    def request(self) -> None:
        line = self.line
        line.drain()
        asked = self.roll.call()
        if asked is not self._asked or self._variant != self._asked_variant:
            self._asked, self._asked_variant = asked, self._variant
            self._exchange = self._way(asked, self._variant)
        self._began = line.clock.now()
        line.send(self._exchange.packet)

    def collect(self, deadline: float) -> None:
        exchange = self._exchange
        data = self.line.receive(exchange.size, deadline)
        if exchange.whole(data) and self._take_whole(exchange, data):
            self.roll.all_answered(self._asked)
        else:
            self._search(exchange, data, deadline)

    def send(self, target: np.ndarray) -> None:
        for goals in self._goals.values():
            self.line.send(goals.packet(target))

    def rest(self) -> None:
        """A position goal is set by torque-on itself."""
        nothing = np.zeros(len(self._robot.joint))
        for mode, goals in self._goals.items():
            if mode != "position":
                self.line.send(goals.packet(nothing))

    def torque_off_all(self) -> None:
        if self._servos:
            address = self._servos[0].table.registers["torque_enable"].address
            self.line.send(codec.sync_write(address, [(d.id, b"\0") for d in self._servos]))

    def torque_of(self, device: Device, on: bool) -> bool:
        register = device.table.registers["torque_enable"]
        packet = codec.write(device.id, register.address, register.encode(int(on)))
        status = self.line.ask(packet, attempts=1)
        return status is not None and not status.error & ~ALERT

    def _way(self, asked: tuple[int, ...], variant: int = 0) -> Exchange:
        """How to ask ``asked``, indices among ``devices``."""
        key = (asked, variant)
        if key not in self._ways:
            if len(self._ways) > 32:  # the order changes only when devices fall silent
                self._ways.clear()
            self._ways[key] = Exchange(self.devices, self._blocks, asked, self._fast, variant)
        return self._ways[key]

    def _heard(self) -> float:
        """When the tick's request had left the host [s]."""
        return self._began + self.line.wire_time(len(self._exchange.packet))

    def _take_whole(self, exchange: Exchange, data: bytes) -> bool:
        """Take over everything if all of it is fresh; whether it is."""
        exchange.load(data)
        if self._ticks:
            ticks = exchange.raw[exchange.ticks].view("<u2")[:, 0]
            now = self.line.clock.now()
            if not self._clocks.accept(exchange.places, ticks, self._heard(), now).all():
                return False
        readings, joints = self._readings, exchange.joints
        if exchange.servo_words is not None:
            readings.counts[self._rows, joints] = exchange.servo_counts
            readings.all_well(joints)
        if exchange.imu_words is not None:
            self._take_imu(data[exchange.imu_flags], exchange.raw[exchange.imu_words])
        return True

    def _search(self, exchange: Exchange, data: bytes, deadline: float) -> None:
        """Find what there is among damaged, late, refused and missing answers."""
        n = len(exchange.devices)
        others = () if self._ticks else (self._way(self._asked, v) for v in range(_VARIANTS))
        parser = exchange.parser([way for way in others if way is not exchange])
        place_of = {device.id: place for place, device in enumerate(exchange.devices)}
        fresh, late, refused = [False] * n, [False] * n, [False] * n
        received = len(data)
        stale = 0  # bytes of late answers, on top of those that were asked for

        def sort(answers: list[Status]) -> None:
            nonlocal stale
            for answer in answers:
                place = place_of.get(answer.id, -1)
                if place < 0 or fresh[place]:
                    continue
                if len(answer.data) != exchange.lengths[place] and not answer.error & ~ALERT:
                    late[place] = True
                elif answer.error & ~ALERT:
                    refused[place] = True
                    continue
                elif self._take(exchange, place, answer):
                    fresh[place] = True
                    continue
                else:
                    late[place] = True
                stale += len(answer.data) + exchange.around

        sort(parser.feed(data))
        # Late answers, doubled ones and noise are bytes on top of those that were asked for. Behind
        # the answer of the last one asked there are none.
        while data and not (fresh[-1] or refused[-1]):
            data = self.line.receive(max(parser.needs, exchange.size - received), deadline)
            received += len(data)
            sort(parser.feed(data))
        sort(parser.flush())
        reached = exchange.reached(received - stale)
        separate = not exchange.fast
        outcomes = outcomes_in_chain(fresh, late, refused, reached, separate)
        self.roll.count(self._asked, outcomes)
        if not self._ticks and not all(fresh):
            self._variant = (self._variant + 1) % _VARIANTS

    def _take(self, exchange: Exchange, place: int, answer: Status) -> bool:
        """Take over one device's answer if it is fresh; whether it is."""
        index, device = self._asked[place], exchange.devices[place]
        block = self._blocks[index]
        if self._ticks:
            tick = int.from_bytes(answer.data[block.tick : block.tick + 2], "little")
            one, now = np.array([index]), self.line.clock.now()
            if not self._clocks.accept(one, np.array([tick]), self._heard(), now)[0]:
                return False
        raw = np.frombuffer(answer.data + b"\0", np.uint8)[block.words.reshape(-1)]
        if device.joint is None:
            self._take_imu(answer.data[block.flags], raw)
            return True
        readings = self._readings
        readings.counts[self._rows, device.index] = raw.view("<i4")
        readings.joint_fresh[device.index] = True
        readings.alert[device.index] = answer.error & ALERT != 0
        return True

    def _take_imu(self, flags: int, raw: np.ndarray) -> None:
        """Take over the sensor's values unless it says itself that the sample is not valid."""
        if not flags & 1:
            self._readings.imu_counts[:] = raw.view("<i4")
            self._readings.imu_fresh = True

    def _synchronise(self) -> None:
        """Learn the offset of every device's clock, line otherwise quiet."""
        for index, device in enumerate(self.devices if self._ticks else ()):
            self._clocks.forget(index)
            register = device.table.registers["realtime_tick"]
            packet = codec.read(device.id, register.address, register.size)
            for _ in range(ATTEMPTS):
                self.line.settle(device.id)
                heard = self.line.clock.now() + self.line.wire_time(len(packet))
                status = self.line.ask(packet, attempts=1)
                if status is not None and len(status.data) == register.size:
                    self._clocks.synchronise(index, heard, register.decode(status.data))

    def _with_timing(self, reports: list[DeviceReport]) -> list[DeviceReport]:
        """``reports``, with a problem in the first if a read cannot end in time."""
        waiting = max(self._delays, default=0.0) if self._fast else sum(self._delays)
        needed, budget = self._needed(self._blocks), self._robot.read_fraction * self._robot.period
        if needed + waiting <= budget:
            return reports
        remedy = "lower the devices' return delay or raise the baud rate"
        with contextlib.suppress(RobotFileError):
            other = dataclasses.replace(self._robot.read, layout="indirect")
            if (shorter := self._needed(blocks_of(self.devices, other))) + waiting <= budget:
                remedy += f', or set [read] layout = "indirect" ({1e3 * shorter:.2f} ms)'
        problem = (
            f"one read takes {1e3 * (needed + waiting):.2f} ms ({1e3 * waiting:.2f} ms of it "
            f"return delay), read_fraction leaves {1e3 * budget:.2f} ms; {remedy}"
        )
        return with_problem(reports, problem)

    def _needed(self, blocks: list[Block]) -> float:
        """Time a read of everyone takes on the wire [s], at its longest."""
        everyone = range(len(self.devices))
        extra = 0 if self._ticks else _VARIANTS - 1
        way = Exchange(self.devices, blocks, everyone, self._fast, extra)
        return self.line.wire_time(len(way.packet) + way.size)


def _check(device: Device) -> None:
    """What robot.toml may ask of a device on a DYNAMIXEL line.

    Raises:
        RobotFileError: it asks for something else.
    """
    joint, table = device.joint, device.table
    if table.protocol != "dynamixel2":
        raise RobotFileError(
            f"{device.name}: a {table.name} speaks {table.protocol}; put it on a line of that "
            "protocol"
        )
    if joint is None:
        if table.kind != "imu":
            raise RobotFileError(f"{device.name}: {table.name} is no inertial sensor")
        return
    if table.motor is None:
        raise RobotFileError(f"{joint.name}: {joint.servo} is not a servo")
    check_gains(joint, table)
