"""What every bus does: each protocol, in-process and over a pseudo-terminal, and a real one.

With ``RETORT_PORT`` set to a port, and ``RETORT_ROBOT`` to the robot on it (balancer if not set),
the same suite runs on real servos. **It switches their torque on**; they are asked to stay where
they are.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from retort.hardware import (
    JointCommand,
    RealClock,
    RobotBus,
    SerialPort,
    load_robot,
    open_bus,
)
from retort.hardware.virtual import (
    LockstepClock,
    LockstepPort,
    RigidPlant,
    VirtualRobot,
)

from ..hardware.many_servos import robot_of, served

PATIENCE = 1.0  # [s] for a read on a pseudo-terminal, whatever else the computer does
# A protocol more is one line more: servo model, supply [V].
PROTOCOLS = {
    "dynamixel2": ("xl330-m288", 5.0),
    "feetech": ("sts3215", 7.4),
}


def _virtual(protocol: str) -> VirtualRobot:
    model, supply = PROTOCOLS[protocol]
    robot = robot_of((model,) * 4, protocols=(protocol,), control_rate=50.0)
    return VirtualRobot(robot, RigidPlant(robot, supply=supply))


def _lockstep(protocol: str) -> Iterator[RobotBus]:
    virtual = _virtual(protocol)
    clock = LockstepClock(virtual)
    yield open_bus(virtual.robot, lambda line: LockstepPort(virtual, clock, line.name), clock)


def _terminal(protocol: str) -> Iterator[RobotBus]:
    virtual = _virtual(protocol)
    with served(virtual) as emulator:
        ports = emulator.ports
        bus = open_bus(virtual.robot, lambda ln: SerialPort(ports[ln.name], ln.baud), RealClock())
        try:
            yield bus
        finally:
            bus.close()


def _real(_: str) -> Iterator[RobotBus]:
    url = os.environ.get("RETORT_PORT")
    if not url:
        pytest.skip("RETORT_PORT names no port")
    robot = load_robot(os.environ.get("RETORT_ROBOT", "balancer"))
    bus = open_bus(robot, lambda line: SerialPort(url, line.baud), RealClock())
    try:
        yield bus
    finally:
        bus.torque(False)
        bus.close()


WAYS: dict[str, Callable[[str], Iterator[RobotBus]]] = {
    "lockstep": _lockstep,
    "terminal": _terminal,
}
CASES = [(way, protocol) for way in WAYS for protocol in PROTOCOLS] + [("real", "")]


@pytest.fixture(params=CASES, ids="-".join)
def bus(request) -> Iterator[RobotBus]:
    way, protocol = request.param
    yield from (_real if way == "real" else WAYS[way])(protocol)


def read(bus: RobotBus):
    return bus.read(bus.clock.now() + PATIENCE)


def ready(bus: RobotBus) -> None:
    bus.identify()
    bus.prepare()
    assert bus.torque(True) == ()


def test_every_device_reports_and_nothing_must_be_mended(bus):
    reports = bus.identify()
    robot = bus.robot
    assert [r.name for r in reports] == [*robot.joints, *(["imu"] if robot.imu else [])]
    assert [text for report in reports for text in report.problems] == []
    assert [report.mode for report in reports[: len(robot.joint)]] == [j.mode for j in robot.joint]


def test_a_read_of_a_quiet_line_has_everything(bus):
    bus.identify()
    state = read(bus)
    n = len(bus.robot.joint)
    for name in ("joint_position", "joint_velocity", "joint_effort", "joint_valid"):
        assert getattr(state, name).shape == (n,)
    assert np.asarray(state.joint_valid).all()
    assert np.isfinite(state.joint_position).all()
    assert bool(state.imu_valid) == (bus.robot.imu is not None)
    assert (state.health.voltage > 3.0).all()
    assert (state.health.age == 0.0).all()
    for part in (state, state.health):
        assert set(vars(part)) == {field.name for field in dataclasses.fields(part)}


def test_a_deadline_that_has_passed_gives_a_state_without_validity(bus):
    bus.identify()
    asked = {name: counter.asked for name, counter in bus.counters.items()}
    state = bus.read(bus.clock.now() - 1.0)
    assert not np.asarray(state.joint_valid).any()
    assert not state.imu_valid
    assert {name: counter.asked for name, counter in bus.counters.items()} == asked


def test_an_answer_not_waited_for_is_not_taken_for_the_next(bus):
    """Shortly after a read that gave up, its answer may still be on its way."""
    bus.identify()
    bus.read(bus.clock.now() + 1e-4)
    bus.clock.sleep_until(bus.clock.now() + 0.05)
    state = read(bus)
    assert np.asarray(state.joint_valid).all()


def test_states_share_no_memory(bus):
    bus.identify()
    first, second = read(bus), read(bus)
    for name in ("joint_position", "joint_velocity", "joint_effort", "joint_valid"):
        assert not np.shares_memory(getattr(first, name), getattr(second, name))


def test_torque_needs_prepare_and_confirms(bus):
    bus.identify()
    assert bus.torque(True) == bus.robot.joints
    bus.prepare()
    assert bus.torque(True) == ()
    assert all(report.torque for report in bus.identify() if report.mode)
    assert bus.torque(False) == ()
    assert not any(report.torque for report in bus.identify())


def test_prepare_switches_torque_off(bus):
    ready(bus)
    bus.prepare()
    assert not any(report.torque for report in bus.identify())


def test_a_robot_told_to_stay_stays(bus):
    ready(bus)
    here = np.asarray(read(bus).joint_position)
    nothing = [joint.mode != "position" for joint in bus.robot.joint]
    for _ in range(5):
        bus.write(JointCommand(np.where(nothing, 0.0, here)))
        bus.clock.sleep_until(bus.clock.now() + bus.robot.period)
        state = read(bus)
    assert np.asarray(state.joint_valid).all()
    np.testing.assert_allclose(state.joint_position, here, atol=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_target_that_is_no_number_is_refused(bus, bad):
    target = np.zeros(len(bus.robot.joint))
    target[-1] = bad
    with pytest.raises(ValueError, match="finite"):
        bus.write(JointCommand(target))


def test_every_reading_is_counted(bus):
    bus.identify()
    for _ in range(3):
        read(bus)
    assert list(bus.counters) == list(bus.robot.read.order)
    for counter in bus.counters.values():
        fields = dataclasses.asdict(counter)
        assert fields.pop("asked") == 3
        assert sum(fields.values()) == 3
        assert counter.answered == 3


def test_opened_anew_it_is_disarmed(bus):
    ready(bus)
    assert bus.torque(False) == ()
    assert [report.name for report in bus.reopen() if report.mode] == list(bus.robot.joints)
    assert bus.torque(True) == bus.robot.joints
    ready(bus)
    assert np.asarray(read(bus).joint_valid).all()
