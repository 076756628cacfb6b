"""``retort recover``: servos come back from a fault without moving, and torque stays off."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from retort.hardware import DeviceError, JointCommand, Robot, RobotBus, open_bus
from retort.hardware.parsing import parse
from retort.hardware.recover import Recovery, recover
from retort.hardware.virtual import (
    Faults,
    LockstepClock,
    LockstepPort,
    RigidPlant,
    VirtualRobot,
)
from retort.hardware.virtual.faults import Fault, Overload
from retort.launch.cli import main

ROBOT = """
name = "leg"
model = "leg.xml"
control_rate = 100.0
read_fraction = 0.6
watchdog = 0.1
ramp = {kind = "pose"}
damp = {kind = "hold"}
safety = {tilt = 1.0, stale_ticks = 5, slew = 10.0}
read = {order = ["hip", "knee", "wheel", "finger"]}

[[line]]
name = "leg"
protocol = "dynamixel2"
baud = 1_000_000

[[line]]
name = "hand"
protocol = "feetech"
baud = 1_000_000

[[joint]]
name = "hip"
line = "leg"
id = 1
servo = "xl330-m288"
mode = "position"
zero = 3.14159
limits = {position_min = -2.0, position_max = 2.0}
gains = {position_p = 700}

[[joint]]
name = "knee"
line = "leg"
id = 2
servo = "xl330-m288"
mode = "position"
zero = 3.14159

[[joint]]
name = "wheel"
line = "leg"
id = 3
servo = "xl330-m077"
mode = "effort"

[[joint]]
name = "finger"
line = "hand"
id = 1
servo = "sts3215"
mode = "position"
zero = 3.14159
"""
STANDS = (3.3, 2.5, 1.0, 3.0)  # [rad] each servo's shaft


class Rig:
    """The leg in lock-step."""

    def __init__(self, folder: Path, *faults: Fault) -> None:
        self.robot = leg(folder)
        self.plant = RigidPlant(self.robot, supply=6.5)
        for joint, angle in enumerate(STANDS):
            self.plant.turn(joint, angle)
        self.virtual = VirtualRobot(self.robot, self.plant, faults=Faults(*faults))
        self.clock = LockstepClock(self.virtual)
        self.bus = self.open()

    def open(self) -> RobotBus:
        return open_bus(
            self.robot, lambda line: LockstepPort(self.virtual, self.clock, line.name), self.clock
        )

    def armed(self) -> Rig:
        assert [report.problems for report in self.bus.identify()] == [()] * 4
        self.bus.prepare()
        assert self.bus.torque(True) == ()
        return self

    def tick(self):
        self.clock.sleep_until(self.clock.now() + self.robot.period / 2)
        return self.bus.read(self.clock.now() + self.robot.period / 2)

    def alerts(self) -> np.ndarray:
        """Of each joint, one tick later."""
        health = self.tick().health
        assert health is not None
        return health.alert

    def angles(self) -> np.ndarray:
        return np.array([self.plant.motor(joint)[0] for joint in range(4)])

    def recover(self) -> tuple[Recovery, list[tuple[str, str]]]:
        """What comes of it, told by a bus of its own; meanwhile nothing may move, and nothing
        that is limp may get torque."""
        said: list[tuple[str, str]] = []
        before = self.angles()
        moved: list[float] = []
        driven: list[int] = []

        def watch() -> None:
            moved.append(float(np.abs(self.angles() - before).max()))
            driven.append(sum(servo.torque for servo in self.virtual.servos))
            self.virtual.schedule(self.virtual.time + 1e-3, watch)

        self.virtual.schedule(self.virtual.time, watch)
        recovery = recover(self.open(), lambda *done: said.append(done))
        assert len(moved) > 10
        assert max(moved) == 0.0
        assert driven == sorted(driven, reverse=True)
        assert driven[-1] == 0
        return recovery, said


def leg(folder: Path) -> Robot:
    """The robot, written to a folder, too."""
    (folder / "robot.toml").write_text(ROBOT)
    return parse(Robot, {**tomllib.loads(ROBOT), "folder": folder})


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.mark.parametrize("joint", ["hip", "wheel", "finger"])
def test_an_overload_is_seen_torque_goes_off_and_recovery_brings_it_back(tmp_path, joint):
    rig = Rig(tmp_path).armed()
    index = rig.robot.joints.index(joint)
    for _ in range(3):
        assert not rig.alerts().any()
    rig.virtual.inject(Overload(device=joint, at=rig.clock.now()))
    rig.tick()
    assert rig.alerts().tolist() == [k == index for k in range(4)]
    # The overloaded one answers with its error; the others are reached all the same.
    assert set(rig.bus.torque(False)) <= {joint}
    assert not any(servo.torque for servo in rig.virtual.servos)

    recovery, _ = rig.recover()
    assert recovery.problems == ()
    assert [report.alert for report in recovery.reports] == [False] * 4

    rig.bus = rig.open()
    rig.armed()
    assert not rig.alerts().any()
    state = rig.tick()
    assert state.joint_valid.all()
    target = np.array([0.3, 0.0, 0.0, 0.2])
    for _ in range(100):
        rig.bus.write(JointCommand(target))
        state = rig.tick()
    assert state.joint_position[[0, 3]] == pytest.approx([0.3, 0.2], abs=0.1)


def test_it_says_what_it_does(rig):
    rig.armed()
    rig.virtual.servos[0].overload()
    rig.virtual.servos[3].overload()
    _, said = rig.recover()
    assert ("hip", "rebooted after overload") in said
    assert ("finger", "overload: over, now that its torque is off") in said
    assert {name for name, done in said if done == "torque is off"} == set(rig.robot.joints)


def test_what_ram_lost_is_written_again(rig):
    hip = rig.virtual.servos[0].registers
    hip["position_p"] = 1
    hip["status_return_level"] = 0
    hip["bus_watchdog"] = -1
    hip["profile_velocity"] = 5
    recovery, _ = rig.recover()
    assert recovery.problems == ()
    names = ("position_p", "status_return_level", "bus_watchdog", "profile_velocity")
    assert [hip[name] for name in names] == [700, 2, 5, 0]


@pytest.mark.parametrize("turns", [-3, 2])
def test_turns_made_by_hand_are_forgotten_and_the_goal_is_where_the_servo_is(rig, turns):
    rig.plant.turn(0, STANDS[0] + turns * 2 * np.pi)
    recovery, said = rig.recover()
    assert recovery.problems == ()
    assert ("hip", f"whole turns forgotten: {turns}") in said
    bus = rig.open()
    line, device = bus.drivers[0].line, bus.drivers[0].devices[0]
    position = line.read(1, device.table, "present_position")
    assert position == round(STANDS[0] / (2 * np.pi) * 4096)
    assert line.read(1, device.table, "goal_position") == position


def test_a_joint_outside_its_limits_is_to_be_turned_back_by_hand(rig):
    rig.plant.turn(0, 0.2)
    recovery, _ = rig.recover()
    (problem,) = recovery.problems
    assert problem.startswith(
        "hip (id 1) stands at -2.942 rad, outside robot.toml's -2.000 to 2.000"
    )


def test_a_servo_that_would_switch_its_torque_on_is_not_rebooted(rig):
    hip = rig.virtual.servos[0]
    hip.registers["startup_configuration"] = 1
    hip.overload()
    recovery, said = rig.recover()
    assert hip.booted == 0.0
    assert hip.registers["startup_configuration"] == 1
    assert any(name == "hip" and "not rebooted" in done for name, done in said)
    assert any("switches torque on by itself at power-up" in text for text in recovery.problems)


def test_no_goal_is_written_where_a_goal_switches_torque_on(rig):
    rig.virtual.servos[0].registers["drive_mode"] = 8
    recovery, _ = rig.recover()
    assert any("switches torque on at any goal write" in text for text in recovery.problems)


def test_a_fault_that_lasts_is_said_with_what_to_do(rig):
    rig.virtual.servos[0].temperature = 90.0
    rig.clock.sleep_until(rig.clock.now() + 0.1)
    recovery, said = rig.recover()
    assert ("hip", "rebooted after overheating, and reports overheating again") in said
    assert any("overheating" in text and "mend the cause" in text for text in recovery.problems)


def test_what_no_instruction_reboots_is_to_be_mended_by_hand(rig):
    rig.virtual.servos[3].temperature = 90.0
    recovery, said = rig.recover()
    (done,) = [done for name, done in said if name == "finger" and "not rebooted" in done]
    assert "no instruction reboots" in done
    assert "cut its power" in done
    assert any("overheating" in problem for problem in recovery.problems)


def test_a_missing_device_is_a_problem_and_the_others_are_recovered(rig):
    rig.virtual.power_off("knee")
    rig.virtual.servos[0].overload()
    recovery, said = rig.recover()
    assert recovery.problems == ("knee does not answer; check its power, cable and id",)
    assert ("hip", "rebooted after overload") in said
    assert [report.name for report in recovery.reports] == ["hip", "wheel", "finger"]


def test_a_line_on_which_nothing_answers_is_a_problem_too(rig):
    rig.virtual.power_off("finger")
    recovery, _ = rig.recover()
    assert recovery.problems == ("finger does not answer; check its power, cable and id",)


def test_another_model_is_left_alone(rig):
    knee = rig.virtual.servos[1]
    knee.registers["model_number"] = 1020
    writable = [name for name, r in knee.table.registers.items() if r.access == "rw"]
    before = [knee.registers[name] for name in writable]
    recovery, said = rig.recover()
    assert [knee.registers[name] for name in writable] == before
    assert not any(name == "knee" for name, done in said if "RAM is written" in done)
    assert any("knee (id 2) is a xm430-w350" in problem for problem in recovery.problems)


def test_where_nothing_answers_it_is_an_error(rig):
    rig.virtual.power_off()
    with pytest.raises(DeviceError, match="no servo of leg answers"):
        rig.recover()


def test_settings_kept_without_power_are_never_written(rig):
    def kept() -> list[dict[str, int]]:
        return [
            {n: s.registers[n] for n, r in s.table.registers.items() if r.area == "eeprom"}
            for s in rig.virtual.servos
        ]

    before = kept()
    rig.virtual.servos[0].overload()
    rig.recover()
    assert kept() == before


@pytest.fixture
def port(rig: Rig, serve) -> str:
    """The leg in real time; gives ``--port``."""
    return ",".join(f"{line}={path}" for line, path in serve(rig.virtual).items())


def test_the_verb_recovers_over_a_pseudo_terminal(rig, port, tmp_path, capsys):
    rig.virtual.servos[0].overload()
    before = rig.angles()
    assert main(["recover", str(tmp_path), "--port", port]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  hip     rebooted after overload" in lines
    assert lines[-1] == "leg is well: 4 devices verified, torque off"
    assert max(map(len, lines)) <= 80
    np.testing.assert_array_equal(rig.angles(), before)


def test_the_verb_says_what_is_left_to_mend(rig, port, tmp_path, capsys):
    rig.virtual.servos[0].registers["startup_configuration"] = 1
    rig.virtual.servos[0].overload()
    assert main(["recover", str(tmp_path), "--port", port]) == 1
    out = capsys.readouterr().out
    assert "not ready" in out
    assert "startup configuration" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--port", "/dev/no-such-port"], "leg has several lines; write --port leg=PORT,hand=PORT"),
        (["--port", "leg=/dev/no,hand=/dev/no"], "there is no port /dev/no"),
        ([], "robot.toml names no port for line leg, hand"),
    ],
)
def test_ports_that_cannot_be_are_one_sentence(tmp_path, capsys, more, said):
    leg(tmp_path)
    assert main(["recover", str(tmp_path), *more]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
