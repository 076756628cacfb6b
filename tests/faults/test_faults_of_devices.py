"""Faults of devices, sensors and ports: what a host sees of them, and that they end."""

from __future__ import annotations

import numpy as np
import pytest
from retort.hardware import PortError
from retort.hardware.dynamixel import codec
from retort.hardware.virtual import LockstepPort
from retort.hardware.virtual.faults import (
    BrownOut,
    IdClash,
    JumpingEncoder,
    Overheat,
    Overload,
    StaleImu,
    StuckEncoder,
    Unplug,
)

OVERHEATING, OVERLOAD = 4, 32  # bits of the hardware error register
BOOTED = 0.5  # [s] after power has come back everything answers again


def test_a_brown_out_costs_what_stood_in_ram(asker):
    host = asker([BrownOut(device="left_wheel", at=0.1, until=0.2)])
    host.write("position_p", 123)
    host.write("torque_enable", 1)
    host.clock.sleep_until(0.1)
    assert host.ask(codec.ping(1)) == []
    assert host.ask(codec.ping(2))
    host.clock.sleep_until(0.2 + BOOTED)
    assert host.register("torque_enable") == 0
    assert (
        host.register("position_p") == host.virtual.servos[0].table.registers["position_p"].default
    )


def test_a_brown_out_of_all_leaves_nothing_driven(asker):
    host = asker([BrownOut(at=0.1, until=0.2)])
    host.write("torque_enable", 1)
    host.write("goal_current", 100)
    host.clock.sleep_until(0.15)
    assert host.ask(codec.ping(codec.BROADCAST), 0.05) == []
    assert host.plant.motor(0)[2] == 0.0
    host.clock.sleep_until(0.2 + BOOTED)
    answers = host.ask(codec.ping(codec.BROADCAST), 1.0)
    assert [answer.id for answer in answers] == [1, 2, 10]


def test_start_up_torque_comes_back_with_the_power(asker):
    host = asker([BrownOut(at=0.1, until=0.2)])
    host.write("startup_configuration", 1)
    host.clock.sleep_until(0.15)
    assert not host.virtual.servos[0].torque
    host.clock.sleep_until(0.2 + BOOTED)
    assert host.register("torque_enable") == 1


@pytest.mark.parametrize(
    ("fault", "bit"),
    [
        (Overload(device="left_wheel", at=0.1), OVERLOAD),
        (Overheat(device="left_wheel", at=0.1), OVERHEATING),
    ],
)
def test_an_overloaded_or_hot_servo_lets_go_until_it_is_rebooted(asker, fault, bit):
    host = asker([fault])
    host.write("torque_enable", 1)
    host.clock.sleep_until(0.13)
    assert host.register("torque_enable") == 0
    assert host.register("hardware_error") & bit
    (refused,) = host.ask(codec.write(1, 64, b"\x01"))
    assert refused.error & ~codec.ALERT
    assert refused.error & codec.ALERT
    assert host.register("hardware_error", "right_wheel") == 0
    assert host.virtual.fault_counts.events == 1


def test_an_unplugged_port_is_gone_and_the_new_one_is_another(asker):
    host = asker([Unplug(at=0.1, until=0.2)])
    host.port.write(codec.ping(1))
    with pytest.raises(PortError):
        host.port.read(1000, 0.15)
    assert host.clock.now() == pytest.approx(0.1)
    with pytest.raises(PortError):
        LockstepPort(host.virtual, host.clock)
    host.clock.sleep_until(0.2)
    for action in (lambda: host.port.write(b"x"), host.port.discard):
        with pytest.raises(PortError):
            action()
    host.port = LockstepPort(host.virtual, host.clock)
    assert host.ask(codec.ping(1))


def test_an_unplugged_adapter_leaves_the_servos_their_power(asker):
    host = asker([Unplug(at=0.1)])
    host.write("torque_enable", 1)
    host.clock.sleep_until(1.0)
    assert host.virtual.servos[0].torque


@pytest.mark.parametrize(
    ("fault", "during"),
    [
        (StuckEncoder(device="left_wheel", at=0.1, until=0.2), 0.0),
        (JumpingEncoder(device="left_wheel", at=0.1, until=0.2, angle=1.0), 3.0),
    ],
)
def test_a_broken_encoder_lies_while_it_is_broken(asker, fault, during):
    host = asker([fault])
    unit = host.virtual.servos[0].table.registers["present_position"].unit
    said = []
    for time, angle in ((0.15, 2.0), (0.25, 2.5)):
        host.clock.sleep_until(time)
        host.plant.turn(0, angle)
        said.append(host.register("present_position") * unit)
    assert said == pytest.approx([during, 2.5], abs=unit)


def test_a_stale_sensor_repeats_itself(asker):
    host = asker([StaleImu(at=0.1, until=0.2)])
    samples = []
    for time in (0.09, 0.12, 0.15, 0.25):
        host.clock.sleep_until(time)
        turned = np.array([time, 0.0, 0.0])
        host.plant.imu_sample = type(host.plant.imu_sample)(
            host.plant.imu_sample.orientation, turned, np.zeros(3)
        )
        names = ("sample_counter", "angular_velocity_x")
        samples.append([host.register(name, "imu") for name in names])
    before, first, second, after = samples
    assert first == second
    assert first[1] == before[1]
    assert after[0] != second[0]
    assert after[1] > second[1]


def test_two_devices_with_one_id_speak_at_once(asker):
    host = asker([IdClash(device="right_wheel", other="left_wheel", at=0.1, until=0.2)])
    whole = host.raw(codec.ping(1))
    host.clock.sleep_until(0.1)
    assert host.ask(codec.ping(2)) == []
    # Equal answers that begin together are read as one, others as neither.
    clashes = {host.raw(codec.read(1, 120, 27)) for _ in range(20)}
    assert len(clashes) > 1
    host.clock.sleep_until(0.2)
    assert host.raw(codec.ping(1)) == whole
    assert host.ask(codec.ping(2))
