"""Runs through real bytes: virtual servos in lock-step, asserted on what was on the wire."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.numpy
from retort.controller import (
    Bundle,
    BundleError,
    Contract,
    FlightRecorder,
    RunOptions,
    RunResult,
    State,
    Writer,
    load_bundle,
    load_flight,
    run,
)
from retort.hardware import open_bus
from retort.hardware.bus import Bus
from retort.hardware.robot import Robot
from retort.hardware.virtual import (
    Faults,
    LockstepClock,
    LockstepPort,
    RigidPlant,
    VirtualRobot,
)
from retort.hardware.virtual.faults import Corrupt, Delay, Drop, Silence

from .conftest import Parts, make_parts

OPTIONS = RunOptions(seconds=0.5, realtime=False, handle_signals=False)
TORQUE = 64  # register


class Wire:
    """Everything that was on the line, with its time and direction."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, str, bytes]] = []

    def __call__(self, time: float, direction: str, data: bytes) -> None:
        self.pieces.append((time, direction, data))

    def sent(self) -> bytes:
        return b"".join(data for _, direction, data in self.pieces if direction == "out")

    def torque_writes(self) -> list[tuple[int, int]]:
        """(id, value) of every write to the torque register, in order."""
        found, data, start = [], self.sent(), 0
        while (start := data.find(b"\xff\xff\xfd\x00", start)) >= 0:
            id_, length = data[start + 4], int.from_bytes(data[start + 5 : start + 7], "little")
            body = data[start + 7 : start + 7 + length - 2]
            instruction, address = body[0], int.from_bytes(body[1:3], "little")
            if instruction == 0x03 and address == TORQUE:
                found.append((id_, body[3]))
            if instruction == 0x83 and address == TORQUE:
                found += [(body[i], body[i + 1]) for i in range(5, len(body), 2)]
            start += 7 + length
        return found


class Rig(NamedTuple):
    """A virtual robot with a bus on it."""

    virtual: VirtualRobot
    bus: Bus
    wire: Wire

    @property
    def plant(self) -> RigidPlant:
        assert isinstance(self.virtual.plant, RigidPlant)
        return self.virtual.plant


def make_rig(
    robot: Robot, faults: Faults | None = None, tap: Callable[..., None] | None = None
) -> Rig:
    virtual = VirtualRobot(robot, RigidPlant(robot), seed=3, faults=faults)
    clock, wire = LockstepClock(virtual), Wire()

    def both(time: float, direction: str, data: bytes) -> None:
        wire(time, direction, data)
        if tap is not None:
            tap(time, direction, data)

    return Rig(virtual, open_bus(robot, LockstepPort(virtual, clock), clock, both), wire)


def go(bundle: Bundle, rig: Rig, options: RunOptions = OPTIONS, **more: object) -> RunResult:
    return run(bundle, rig.bus, options, **more)  # type: ignore[arg-type]


def test_a_run_switches_torque_on_runs_and_switches_it_off(bundle: Bundle, robot: Robot) -> None:
    rig = make_rig(robot)
    result = go(bundle, rig)
    assert result.ok, result.sentence
    assert result.outcome == "completed"
    writes = rig.wire.torque_writes()
    ons = [index for index, (_, value) in enumerate(writes) if value == 1]
    assert {writes[i][0] for i in ons} == {1, 2}
    assert {id_ for id_, value in writes[max(ons) + 1 :] if value == 0} == {1, 2}
    assert not any(servo.torque for servo in rig.virtual.servos)
    assert result.counters["imu"].missing == 0
    assert result.read.max < robot.read_fraction * robot.period


def test_runs_in_lockstep_are_the_same_to_the_byte(bundle: Bundle, robot: Robot) -> None:
    def once() -> list[tuple[float, str, bytes]]:
        rig = make_rig(robot, Faults(Drop(rate=0.02), Corrupt(rate=0.02)))
        go(bundle, rig)
        return rig.wire.pieces

    assert once() == once()


def test_the_flight_holds_every_byte_of_the_run(
    bundle: Bundle, robot: Robot, tmp_path: Path
) -> None:
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, robot, seconds=5)
    rig = make_rig(robot, tap=recorder.tap)
    go(bundle, rig, recorder=recorder)
    flight = load_flight(tmp_path / "f")
    sent = b"".join(data for _, direction, data in flight.wire() if direction == "out")
    assert sent == rig.wire.sent()
    assert {State(state) for state in flight["state"]} == {State.RAMP, State.RUN, State.DAMP}
    assert flight.meta["result"]["outcome"] == "completed"
    assert [device["model"] for device in flight.meta["devices"]] == [
        "xl330-m077",
        "xl330-m077",
        "retort-imu",
    ]


def swap(values: tuple) -> tuple:
    return values[::-1]


def softer(contract: Contract) -> tuple[dict[str, int], ...]:
    return tuple({**gains, "velocity_p": 90} for gains in contract.gains)


OTHERS: dict[str, tuple[Callable[[Contract], dict[str, object]], str]] = {
    "joints swapped": (lambda c: {"joints": swap(c.joints)}, "joint order: robot has ['left_wheel"),
    "other rate": (lambda c: {"control_rate": 50.0}, "control rate [Hz]: robot has 100.0, policy"),
    "other gains": (lambda c: {"gains": softer(c)}, "gains: robot has"),
    "other pose": (lambda c: {"default_pose": (0.1, 0.0)}, "default pose [rad]: robot has"),
    "other servo": (lambda c: {"servos": ("xl330-m288",) * 2}, "servo model: robot has"),
    "other mode": (lambda c: {"modes": ("velocity",) * 2}, "operating mode: robot has"),
    "other read order": (lambda c: {"read_order": swap(c.read_order)}, "read order: robot has"),
}


def edited(folder: Path, contract: Contract) -> None:
    """Put another contract into a bundle and make every digest agree, by hand."""
    record = {"hash": contract.hash(), "contract": contract.to_dict()}
    (folder / "contract.json").write_text(json.dumps(record))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["contract_hash"] = contract.hash()
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", OTHERS)
def test_a_bundle_for_another_robot_gets_no_torque(
    parts: Parts, robot: Robot, tmp_path: Path, name: str
) -> None:
    change, words = OTHERS[name]
    parts.save(tmp_path / "b")
    contract = dataclasses.replace(parts.contract, **change(parts.contract))
    edited(tmp_path / "b", contract)
    rig = make_rig(robot)
    result = go(load_bundle(tmp_path / "b"), rig)
    assert result.outcome == "refused"
    assert len(result.mismatches) == 1
    assert words in result.sentence
    assert "policy was trained for" in result.sentence
    assert not [write for write in rig.wire.torque_writes() if write[1] != 0]


def test_changed_weights_with_their_digest_never_reach_a_bus(parts: Parts, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    parts.save(folder)
    tensors = safetensors.numpy.load((folder / "policy.safetensors").read_bytes())
    tensors["layers.0.weight"][0, 0] += 0.05
    (folder / "policy.safetensors").write_bytes(safetensors.numpy.save(tensors))
    edited(folder, parts.contract)
    with pytest.raises(BundleError, match="golden vectors"):  # and without a bundle no run
        load_bundle(folder)


def test_servos_that_are_not_what_robot_toml_says_get_no_torque(
    robot: Robot, tmp_path: Path
) -> None:
    other = dataclasses.replace(
        robot, joint=tuple(dataclasses.replace(j, servo="xl330-m288") for j in robot.joint)
    )
    bundle = make_parts(robot).save(tmp_path / "b")
    virtual = VirtualRobot(other, RigidPlant(other))
    clock, wire = LockstepClock(virtual), Wire()
    bus = open_bus(robot, LockstepPort(virtual, clock), clock, wire)
    result = run(bundle, bus, OPTIONS)
    assert result.outcome in ("refused", "error")
    assert "xl330-m288" in result.sentence
    assert (1, 1) not in wire.torque_writes()
    assert (2, 1) not in wire.torque_writes()


def test_a_servo_in_another_mode_gets_no_torque(bundle: Bundle, robot: Robot) -> None:
    rig = make_rig(robot)
    rig.virtual.servos[1].registers["operating_mode"] = 1
    result = go(bundle, rig)
    assert result.outcome == "refused"
    assert "right_wheel" in result.sentence
    assert not [write for write in rig.wire.torque_writes() if write[1] != 0]


def test_a_robot_that_does_not_answer_is_one_sentence(bundle: Bundle, robot: Robot) -> None:
    silent = tuple(Silence(device=name) for name in ("left_wheel", "right_wheel", "imu"))
    rig = make_rig(robot, Faults(*silent))
    result = go(bundle, rig)
    assert result.outcome == "error"
    assert result.sentence
    assert "\n" not in result.sentence
    assert not [write for write in rig.wire.torque_writes() if write[1] != 0]
    assert result.torque_off == {"left_wheel": False, "right_wheel": False}


def test_losses_are_coasted_over_and_counted(bundle: Bundle, robot: Robot) -> None:
    rig = make_rig(robot, Faults(Drop(rate=0.01), Corrupt(rate=0.01)))
    result = go(bundle, rig, dataclasses.replace(OPTIONS, seconds=3.0))
    assert result.ok, result.sentence
    assert sum(counter.missing + counter.corrupt for counter in result.counters.values()) > 0


def test_a_servo_that_falls_silent_is_a_fault_and_the_other_is_switched_off(
    bundle: Bundle, robot: Robot
) -> None:
    rig = make_rig(robot, Faults(Silence(device="right_wheel", at=0.9)))
    result = go(bundle, rig, dataclasses.replace(OPTIONS, seconds=5.0))
    assert (result.outcome, result.fault) == ("fault", "STALE")
    assert "right_wheel did not answer" in result.sentence
    assert result.torque_off == {"left_wheel": True, "right_wheel": False}
    assert not rig.virtual.servos[0].torque
    assert {id_ for id_, value in rig.wire.torque_writes()[-6:] if value == 0} == {1, 2}


def test_a_reply_delayed_by_one_and_a_half_ticks_is_never_the_next_ticks(
    bundle: Bundle, robot: Robot, tmp_path: Path
) -> None:
    late = 1.5 * robot.period
    faults = Faults(Delay(device="left_wheel", at=0.9, until=0.91, seconds=late))
    recorder = FlightRecorder(tmp_path / "f", bundle.contract, robot, seconds=5)
    rig = make_rig(robot, faults, recorder.tap)
    # The wheel turns all the time, so a reading shows when it was taken.
    for at in np.arange(0.85, 1.1, 0.001):
        rig.virtual.schedule(at, lambda at=at: rig.plant.turn(0, at, 0.0))
    result = go(bundle, rig, recorder=recorder)
    assert result.ok, result.sentence
    flight = load_flight(tmp_path / "f")
    inside = (flight["time"] > 0.86) & (flight["time"] < 1.09)
    valid = flight["joint_valid"][:, 0] & inside
    lost = inside & ~flight["joint_valid"][:, 0]
    assert 1 <= lost.sum() <= 3
    age = flight["time"][valid] - flight["joint_position"][valid, 0]
    assert np.all(np.abs(age) < 0.004)  # taken in this tick, within encoder and wire time


def test_a_falling_body_is_a_fault(bundle: Bundle, robot: Robot) -> None:
    rig = make_rig(robot)
    fallen = np.array([np.cos(0.5), 0.0, np.sin(0.5), 0.0])
    sample = dataclasses.replace(rig.plant.imu_sample, orientation=fallen)
    rig.virtual.schedule(0.9, lambda: setattr(rig.plant, "imu_sample", sample))
    result = go(bundle, rig, dataclasses.replace(OPTIONS, seconds=5.0))
    assert (result.outcome, result.fault) == ("fault", "TILT")
    assert "leaned 1.00 rad" in result.sentence
    assert not any(servo.torque for servo in rig.virtual.servos)


def test_a_run_after_a_killed_one_mends_the_tripped_watchdog(bundle: Bundle, robot: Robot) -> None:
    rig = make_rig(robot)
    rig.bus.prepare()
    assert rig.bus.torque(True) == ()
    rig.bus.clock.sleep_until(rig.bus.clock.now() + 0.5)  # nobody speaks: the host is dead
    assert all(servo.tripped for servo in rig.virtual.servos)
    assert go(bundle, rig).ok


def test_when_the_host_is_killed_the_servos_stop_by_themselves(
    bundle: Bundle, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process is gone: nothing after this reaches the line."""

    class Killer:
        def command(self, time: float) -> np.ndarray:
            if time > 0.2:
                raise Killed
            return np.zeros(2)

    rig = make_rig(robot)
    monkeypatch.setattr(Writer, "torque_off", lambda self: {})
    with pytest.raises(Killed):
        go(bundle, rig, command_source=Killer())
    assert all(servo.torque and not servo.tripped for servo in rig.virtual.servos)
    killed = rig.virtual.time
    rig.virtual.advance(killed + 0.12)
    assert all(servo.tripped for servo in rig.virtual.servos)
