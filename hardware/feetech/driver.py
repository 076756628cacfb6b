"""One Feetech line of a robot, tick by tick: a sync read of what is, a sync write of goals.

**No watchdog.** These servos have none: when the host dies the last goal stays active, and only
something outside the servos can take their power.

**Late answers.** There is no clock in an answer that would tell it from one to an earlier request.
So after a tick that missed anything the next request asks for another length (15, 16, 18 bytes in
turn): an answer that comes late has the wrong length, is counted as late and is not used. What came
between two ticks is thrown away before the request. The length bytes of these answers (17, 18, 20)
differ from one another in two bits, so that a damaged one is never taken for a late one.

**Goals and torque.** It is not documented what a goal does to a servo whose torque is off, so goals
go only to servos that were switched on, and torque-on brings its own goal, the present position.

**Power lost for a moment.** A servo that was silent for long is not believed until its torque
register says that it has kept its RAM (see ``armed.py``). The question goes out behind the goals,
and the answer lies there when the next tick begins: it costs no tick anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..bus import DeviceReport
from ..errors import DeviceError, RobotFileError
from ..gains import check_gains
from ..identity import ping_all, return_delays, with_problem
from ..line import Status
from ..line_driver import Device, joint_of, servos_among
from ..readings import Readings
from ..robot import Robot
from ..roll_call import IMPLAUSIBLE, RollCall, outcomes_in_chain
from . import codec
from .armed import Armed
from .identify import report
from .line import FeetechLine
from .parser import StatusParser
from .plausibility import SLACK, Plausibility
from .units import GOALS, LENGTH, BlockReader, Goals, Request, scale

LENGTHS = (LENGTH, LENGTH + 1, LENGTH + 3)  # asked for in turn [bytes]
_MARGIN = 2.0  # times the no-load speed: no load drives a joint of this gear faster
_AT_REST = {"acceleration": 0, "goal_time": 0, "goal_velocity": 0}


class FeetechDriver:
    """See ``LineDriver``."""

    def __init__(
        self,
        robot: Robot,
        devices: tuple[Device, ...],
        line: FeetechLine,
        readings: Readings,
    ) -> None:
        self.line = line
        self.devices = devices
        self.roll = RollCall([device.name for device in devices])
        self._budget = robot.read_fraction * robot.period
        self._readings = readings
        self._servos = servos_among(devices)
        for device in devices:
            _check(device)
        own = [device.index for device in self._servos]
        self._armed = Armed(own, len(robot.joint), robot.period)
        self._asked_torque: dict[int, int] = {}  # joint by id, since the last tick
        modes = dict.fromkeys(joint_of(device).mode for device in self._servos)
        self._goals = [Goals(mode, self._servos) for mode in modes]
        self._plausibility = _plausibility(devices, robot.period)
        self._parser = StatusParser(*LENGTHS)
        self._variant = self._asked_variant = 0
        self._ways: dict[tuple[tuple[int, ...], int], Request] = {}
        self._asked: tuple[int, ...] = ()
        self._request = self._way(tuple(range(len(devices))), 0)
        self._began = 0.0
        self._doubted: set[int] = set()  # joints whose answer is not believed
        self._delays: list[float] = []  # [s] what each servo waits before it answers
        scale(readings, self._servos)

    def identify(self) -> list[DeviceReport]:
        found = ping_all(self.line, self.devices)
        reports = [report(self.line, *answer) for answer in found]
        self._delays = return_delays(self.line, self.devices, reports)
        self.roll.restore()
        self._plausibility.forget()
        return self._with_timing(reports)

    def prepare(self) -> None:
        """As ``LineDriver.prepare``. EEPROM is left alone; the lock is put on."""
        for device in self._servos:
            self._armed.switch(device.index, False)
            self._write_checked(device, "torque_enable", 0)
            self._write_checked(device, "lock", 1)
            for name, value in _AT_REST.items():
                self._write_checked(device, name, value)
            self._write_checked(device, "torque_limit", self._torque_limit(device))
        self._plausibility.forget()

    def request(self) -> None:
        line = self.line
        self._take_torque(line.drain())
        asked = self.roll.call()
        if asked is not self._asked or self._variant != self._asked_variant:
            self._asked, self._asked_variant = asked, self._variant
            self._request = self._way(asked, self._variant)
        self._began = line.clock.now()
        self._doubted.clear()
        line.send(self._request.packet)

    def collect(self, deadline: float) -> None:
        request, line = self._request, self.line
        size = request.reader.size
        data = line.receive(size, deadline)
        whole = len(data) == size and request.reader.read(data)
        if whole and self._take(request.joints, request.own, request.reader):
            self.roll.all_answered(self._asked)
            if len(self._asked) == len(self.devices):
                self._armed.heard_everyone()
            else:
                self._hear()
            return
        outcomes = self._outcomes(len(self._asked)) if whole else self._search(data, deadline)
        self.roll.count(self._asked, outcomes)
        self._hear()
        self._variant = (self._variant + 1) % len(LENGTHS)

    def send(self, target: np.ndarray) -> None:
        armed = self._armed
        for goals in self._goals:
            packet = goals.packet(target) if armed.everyone else goals.packet_for(target, armed.on)
            if packet is not None:
                self.line.send(packet)
        if armed.any_doubted:
            self._ask_torque()

    def rest(self) -> None:
        """Torque-on brings its own goal; a servo that has torque already is told to stand."""
        for goals in self._goals:
            if goals.mode == "velocity":
                packet = goals.packet_for(np.zeros(len(self._armed.on)), self._armed.on)
                if packet is not None:
                    self.line.send(packet)

    def torque_off_all(self) -> None:
        for device in self._servos:
            self._armed.switch(device.index, False)
        address = self._servos[0].table.registers["torque_enable"].address
        self.line.send(codec.sync_write(address, [(d.id, b"\0") for d in self._servos]))

    def torque_of(self, device: Device, on: bool) -> bool:
        """Switch one servo; switched on it stays where it is. Whether it has confirmed."""
        self._armed.switch(device.index, False)
        try:
            if on:
                # Twice: a damaged answer that passed the checksum would become the goal.
                here, again = (
                    self.line.read(device.id, device.table, "present_position") for _ in range(2)
                )
                if abs(here - again) > SLACK:
                    return False
                self._write_together(device, {"torque_enable": 1, "goal_position": again})
            else:
                self.line.write(device.id, device.table, "torque_enable", 0)
            done = self.line.read(device.id, device.table, "torque_enable") == int(on)
        except DeviceError:
            return False
        self._armed.switch(device.index, on and done)
        return done

    def _hear(self) -> None:
        """Remember who has spoken in this tick."""
        spoke = self._readings.joint_fresh.copy()
        spoke[list(self._doubted)] = True
        self._armed.heard(spoke)

    def _ask_torque(self) -> None:
        """Ask doubted servos that speak whether they still have their torque."""
        joints = self._armed.to_prove()
        self._asked_torque = {d.id: d.index for d in self._servos if d.index in joints}
        if joints:
            register = self._servos[0].table.registers["torque_enable"]
            self.line.send(codec.sync_read(self._asked_torque, register.address, register.size))

    def _take_torque(self, data: bytes) -> None:
        """The answers to ``_ask_torque`` among what has arrived since."""
        if not self._asked_torque:
            return
        asked, self._asked_torque = self._asked_torque, {}
        parser = StatusParser(1)
        for answer in [*parser.feed(data), *parser.flush()]:
            if answer.id in asked:
                self._armed.proved(asked[answer.id], answer.data[0])

    def _write_together(self, device: Device, values: dict[str, int]) -> None:
        """Write torque and goal, and how to get there, in one packet."""
        registers = device.table.registers
        names = ("torque_enable", "acceleration", "goal_position", "goal_time", "goal_velocity")
        data = b"".join(registers[name].encode(values.get(name, 0)) for name in names)
        self.line.write_bytes(device.id, registers[names[0]].address, data, "switching torque on")

    def _write_checked(self, device: Device, name: str, value: int) -> None:
        self.line.write_checked(device.id, device.table, name, value, str(device))

    def _way(self, asked: tuple[int, ...], variant: int) -> Request:
        """The way of asking ``asked``, places among ``devices``."""
        key = (asked, variant)
        if key not in self._ways:
            if len(self._ways) > 32:  # the order changes only when devices fall silent
                self._ways.clear()
            in_order = asked == tuple(range(len(self.devices)))
            own = slice(None) if in_order else np.array(asked, dtype=int)
            self._ways[key] = Request([self.devices[i] for i in asked], own, LENGTHS[variant])
        return self._ways[key]

    def _search(self, data: bytes, deadline: float) -> list[int]:
        """Find what there is among damaged, late and missing answers; the outcomes."""
        request, parser = self._request, self._parser
        size = request.reader.size
        ids = [self.devices[index].id for index in self._asked]
        fresh: dict[int, Status] = {}
        late: set[int] = set()

        def sort(answers: list[Status]) -> None:
            for answer in answers:
                if len(answer.data) == request.length:
                    fresh[answer.id] = answer
                else:
                    late.add(answer.id)

        parser.expect(*LENGTHS)
        received = len(data)
        sort(parser.feed(data))
        # Late answers, doubled ones and noise are bytes on top of those that were asked for. Behind
        # the answer of the last one asked there are none.
        while data and ids[-1] not in fresh:
            data = self.line.receive(max(parser.needs, size - received), deadline)
            received += len(data)
            sort(parser.feed(data))
        sort(parser.flush())
        self._take_some([(k, fresh[id]) for k, id in enumerate(ids) if id in fresh])
        reached = received // (request.length + codec.OVERHEAD)
        return self._outcomes(reached, [id in late for id in ids])

    def _outcomes(self, reached: int, late: list[bool] | None = None) -> list[int]:
        """What came of this tick, after everything usable was taken."""
        devices = [self.devices[index] for index in self._asked]
        fresh = [bool(self._readings.joint_fresh[device.index]) for device in devices]
        nothing = [False] * len(devices)
        outcomes = outcomes_in_chain(fresh, late or nothing, nothing, reached, separate=True)
        for place, device in enumerate(devices):
            if device.index in self._doubted:
                outcomes[place] = IMPLAUSIBLE
        return outcomes

    def _take_some(self, answers: list[tuple[int, Status]]) -> None:
        """Take over answers, each with its place in the order asked."""
        if not answers:
            return
        reader = BlockReader([answer.id for _, answer in answers], self._request.length)
        reader.read(b"".join(codec.status(*answer) for _, answer in answers))
        asked = [self._asked[place] for place, _ in answers]
        joints = np.array([self.devices[index].index for index in asked])
        self._take(joints, np.array(asked), reader)

    def _take(
        self, joints: slice | np.ndarray, own: slice | np.ndarray, reader: BlockReader
    ) -> bool:
        """Take over what is believed; whether that is all."""
        readings, counts = self._readings, reader.counts
        readings.alert[joints] = reader.errors  # of the servo, whatever its values
        believed = self._plausibility.judge(own, counts, self._began)
        if self._armed.any_doubted:
            certain = ~self._armed.doubted[joints]
            if not certain.all():
                believed = certain if believed is None else believed & certain
        if believed is None:
            readings.counts[:, joints] = counts
            readings.joint_fresh[joints] = True
            return True
        asked = np.arange(len(readings.alert))[joints]
        self._doubted |= set(asked[~believed].tolist())
        there = asked[believed]
        readings.counts[:, there] = counts[:, believed]
        readings.joint_fresh[there] = True
        return False

    def _with_timing(self, reports: list[DeviceReport]) -> list[DeviceReport]:
        """``reports``, with a problem in the first if a read cannot end in time."""
        everyone = self._way(tuple(range(len(self.devices))), len(LENGTHS) - 1)
        waiting = sum(self._delays)
        wire = self.line.wire_time(len(everyone.packet) + everyone.reader.size)
        if wire + waiting <= self._budget:
            return reports
        problem = (
            f"one read takes {1e3 * (wire + waiting):.2f} ms ({1e3 * waiting:.2f} ms of it return "
            f"delay), read_fraction leaves {1e3 * self._budget:.2f} ms; lower the servos' return "
            "delay or raise the baud rate"
        )
        return with_problem(reports, problem)

    def _torque_limit(self, device: Device) -> int:
        """The robot file's effort limit as a share of the stall torque [0.1 %], or the servo's own
        if that is lower."""
        motor = device.table.motor
        assert motor is not None
        own = self.line.read(device.id, device.table, "max_torque")
        return round(min(1000.0 * joint_of(device).limits.effort / motor.stall_torque, own))


def _check(device: Device) -> None:
    """What robot.toml may ask of a Feetech servo.

    Raises:
        RobotFileError: it asks for something else.
    """
    joint = device.joint
    if joint is None or device.table.motor is None or device.table.protocol != "feetech":
        raise RobotFileError(
            f"{device.name}: {device.table.name} is no Feetech servo; a feetech line has only "
            "those, put it on a dynamixel2 line"
        )
    if joint.mode not in GOALS:
        raise RobotFileError(
            f"{joint.name}: a {joint.servo} cannot control its current; its modes are "
            f"{', '.join(GOALS)}"
        )
    check_gains(joint, device.table)


def _plausibility(devices: Sequence[Device], period: float) -> Plausibility:
    fastest, turn = [], []
    for device in devices:
        motor = device.table.motor
        assert motor is not None
        unit = device.table.registers["present_velocity"].unit
        fastest.append(_MARGIN * motor.no_load_speed / unit)
        turn.append(device.table.turn if joint_of(device).mode == "velocity" else 0)
    return Plausibility(np.array(fastest), np.array(turn, dtype=float), period)
