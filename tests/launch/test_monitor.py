"""``retort monitor``: a live table of a robot that nothing is written to."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import signal
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from retort.hardware import PortError, Robot, load_robot
from retort.hardware.parsing import parse
from retort.hardware.virtual import (
    Faults,
    LockstepClock,
    LockstepPort,
    RigidPlant,
    VirtualRobot,
)
from retort.hardware.virtual.faults import Drop, Fault, Overload, Silence, Unplug
from retort.hardware.watch import ImuRow, Row, View, Watch
from retort.launch import monitor
from retort.launch.cli import main
from retort.launch.monitor import HEADER, table

ROBOT = """
name = "leg"
model = "leg.xml"
control_rate = 100.0
read_fraction = 0.6
watchdog = 0.1
ramp = {kind = "pose"}
damp = {kind = "hold"}
safety = {tilt = 1.0, stale_ticks = 5, slew = 10.0}
read = {order = ["imu", "hip", "knee", "finger"], values = ["position"], layout = "indirect"}
imu = {line = "leg", id = 10, model = "retort-imu"}

[[line]]
name = "leg"
protocol = "dynamixel2"
baud = 1_000_000

[[line]]
name = "hand"
protocol = "feetech"
baud = 500_000

[[joint]]
name = "hip"
line = "leg"
id = 1
servo = "xl330-m288"
mode = "effort"
sign = -1

[[joint]]
name = "knee"
line = "leg"
id = 2
servo = "xl430-w250"
mode = "position"
zero = 1.5

[[joint]]
name = "finger"
line = "hand"
id = 1
servo = "sts3215"
mode = "position"
"""


class Rig:
    """The leg in lock-step, one shaft turning, one servo with torque."""

    def __init__(self, *faults: Fault) -> None:
        self.robot = parse(Robot, {**tomllib.loads(ROBOT), "folder": Path("/nowhere")})
        self.plant = RigidPlant(self.robot, supply=6.5, friction=0.0, damping=0.0)
        self.plant.turn(1, 2.0)
        self.plant.turn(2, 1.0)
        self.virtual = VirtualRobot(self.robot, self.plant, faults=Faults(*faults))
        self.clock = LockstepClock(self.virtual)

    def open(self, line) -> LockstepPort:
        return LockstepPort(self.virtual, self.clock, line.name)

    def watch(self) -> Watch:
        return Watch(self.robot, self.open, self.clock)

    def settings(self) -> list[dict[str, int]]:
        """Everything a host can write, of every device."""
        return [
            {n: d.registers[n] for n, r in d.table.registers.items() if r.access == "rw"}
            for d in self.virtual.devices
        ]


def after(watch: Watch, ticks: int) -> View:
    """What it shows after some readings and looks."""
    for tick in range(ticks):
        watch.read()
        if tick % 10 == 9:
            watch.look()
    return watch.view()


def rows(view: View) -> dict[str, Row]:
    return {row.name: row for row in view.joints}


def test_it_shows_what_the_devices_measure_in_si_units():
    rig = Rig()
    # Spun by hand, the hip turns freely against its own sign.
    rig.plant.turn(0, 0.0, 2.0)
    view = after(rig.watch(), 25)
    shown = rows(view)
    angle, speed, _ = rig.plant.motor(0)
    assert shown["hip"].position == pytest.approx(-angle, abs=0.1)
    assert shown["hip"].velocity == pytest.approx(-speed, abs=0.05)
    assert shown["knee"].position == pytest.approx(0.5, abs=0.002)
    assert shown["finger"].position == pytest.approx(1.0, abs=0.002)
    assert [row.voltage for row in view.joints] == pytest.approx([6.5] * 3)
    assert [row.temperature for row in view.joints] == [30.0, 30.0, 25.0]
    assert [row.state for row in view.joints] == ["ok"] * 3
    assert math.isnan(shown["knee"].current)  # an XL430 measures none
    assert view.imu is not None
    assert view.imu.tilt == pytest.approx(0.0, abs=0.01)
    assert view.imu.linear_acceleration == pytest.approx((0.0, 0.0, 9.81), abs=0.01)
    assert view.rate == pytest.approx(50.0, rel=0.05)
    assert (view.asked, view.lost) == (100, 0)


def test_effort_and_current_are_those_of_the_motor():
    rig = Rig()
    rig.plant.block(0)
    servo = rig.virtual.servos[0]
    servo.written("torque_enable", 1, 0.0)
    servo.registers["goal_current"] = 300
    servo.written("goal_current", 300, 0.0)
    shown = rows(after(rig.watch(), 10))["hip"]
    assert shown.current == pytest.approx(-0.3, abs=0.002)
    assert shown.effort == pytest.approx(-0.3 * 0.52 / 1.47, rel=0.01)
    assert shown.state == "torque on"


def test_nothing_is_written():
    rig = Rig()
    rig.virtual.servos[1].registers["torque_enable"] = 1
    before = rig.settings()
    after(rig.watch(), 40)
    assert rig.settings() == before


def test_lost_answers_are_counted_per_device():
    rig = Rig(Drop(device="finger", rate=0.2))
    view = after(rig.watch(), 200)
    shown = rows(view)
    assert 0.1 < shown["finger"].lost < 0.3
    assert shown["hip"].lost == shown["knee"].lost == 0.0
    assert view.lost == pytest.approx(shown["finger"].lost * 200, abs=10)


def test_a_line_that_loses_half_its_answers_is_shown_all_the_same():
    rig = Rig(Drop(device="finger", rate=0.5))
    shown = rows(after(rig.watch(), 200))
    assert 0.4 < shown["finger"].lost < 0.9
    assert shown["finger"].position == pytest.approx(1.0, abs=0.002)
    assert shown["hip"].lost == 0.0


def test_errors_are_said_in_words():
    rig = Rig(Overload(device="hip", at=0.5), Overload(device="finger", at=0.5))
    shown = rows(after(rig.watch(), 60))
    assert shown["hip"].state == "overload"
    assert shown["finger"].state == "overload"
    assert shown["knee"].state == "ok"


def test_a_device_that_falls_silent_is_said_to_be():
    rig = Rig(Silence(device="knee", at=1.0))
    view = after(rig.watch(), 200)
    shown = rows(view)
    assert shown["knee"].state.startswith("silent ")
    assert shown["knee"].position == pytest.approx(0.5, abs=0.002)  # the last it said
    assert shown["hip"].state == "ok"
    assert len(table(view)[4]) <= 80


def test_who_did_not_answer_is_shown_and_the_others_are_read():
    rig = Rig(Silence(device="knee"), Silence(device="imu"))
    watch = rig.watch()
    assert watch.missing == ("imu", "knee")
    view = after(watch, 20)
    shown = rows(view)
    assert shown["knee"].state == "no answer"
    assert math.isnan(shown["knee"].position)
    assert shown["hip"].state == shown["finger"].state == "ok"
    assert view.imu is not None
    assert view.imu.state == "no answer"
    assert max(map(len, table(view))) <= 80


def test_where_nobody_answers_it_waits():
    rig = Rig()
    rig.virtual.power_off()
    view = after(rig.watch(), 5)
    assert view.asked == 0
    assert {row.state for row in view.joints} == {"no answer"}


def test_what_is_not_as_robot_toml_says_is_shown():
    rig = Rig()
    rig.virtual.servos[1].registers["operating_mode"] = 1
    lines = table(after(rig.watch(), 5))
    assert "to be mended before torque:" in lines
    assert any(line.startswith("- knee (id 2) is in operating mode 1") for line in lines)


def test_what_has_been_mended_meanwhile_is_no_longer_shown():
    rig = Rig(Overload(at=0.5, device="finger"))
    watch = rig.watch()
    assert after(watch, 20).problems == ()
    (problem,) = after(watch, 100).problems
    assert "finger (id 1) reports a fault (overload)" in problem
    rig.virtual.power_cycle("finger", 0.1)
    assert after(watch, 100).problems == ()


def test_the_screen_fits_80_columns_whatever_it_shows():
    far = Row("a_joint_with_a_very_long_name", -99999.999, 1e4, -12.5, 3.2, 101.0, 12.1, 1.0, "ok")
    bad = dataclasses.replace(far, state="supply voltage outside its limits, overheating, overload")
    imu = ImuRow(
        3.14159, (-34.9, 34.9, -34.9), (-156.9, 156.9, -156.9), 0.123, "hardware error 255"
    )
    view = View("a" * 20, 50.0, 10**7, 10**6, (far, bad), imu, ("a problem " * 20,))
    lines = table(view)
    assert len(HEADER) <= 80
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "supply voltage outside its limits, overheating, overload" in text  # in full below


def test_a_port_that_goes_away_is_waited_for_and_watched_again():
    rig = Rig(Unplug(line="hand", at=3.0, until=6.0))
    screens: list[list[str]] = []

    class End(Exception):
        pass

    def show(lines: list[str]) -> None:
        screens.append(lines)
        if rig.clock.now() > 12.0:
            raise End

    with pytest.raises(End):
        monitor._watch(rig.robot, rig.open, rig.clock, show)
    kinds = ["waiting" if "waiting for it" in " ".join(lines) else "table" for lines in screens]
    assert [k for i, k in enumerate(kinds) if i == 0 or kinds[i - 1] != k] == [
        "table",
        "waiting",
        "table",
    ]


def test_what_comes_back_is_watched_without_being_told():
    rig = Rig(Silence(device="knee", until=2.0))
    states: list[str] = []

    class End(Exception):
        pass

    def show(lines: list[str]) -> None:
        states.append(next(line for line in lines if line.startswith("knee")).split()[-1])
        if rig.clock.now() > 8.0:
            raise End

    with pytest.raises(End):
        monitor._watch(rig.robot, rig.open, rig.clock, show)
    assert states[0] == "answer"
    assert states[-1] == "ok"


@pytest.fixture
def served(serve) -> Callable[..., str]:
    """Serves the balancer in real time; gives its port."""

    def balancer(*faults: Fault) -> str:
        robot = load_robot("balancer")
        virtual = VirtualRobot(robot, RigidPlant(robot), faults=Faults(*faults))
        return serve(virtual)["main"]

    return balancer


def test_once_prints_one_table(served, capsys):
    assert main(["monitor", "balancer", "--port", served(), "--once"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("balancer: ")
    assert lines[2] == HEADER
    assert [line.split()[0] for line in lines[3:5]] == ["left_wheel", "right_wheel"]
    assert lines[6].startswith("imu ")
    assert max(map(len, lines)) <= 80


def test_once_fails_where_no_servo_answers(served, capsys):
    port = served(Silence(device="left_wheel"), Silence(device="right_wheel"))
    assert main(["monitor", "balancer", "--port", port, "--once"]) == 1
    said = capsys.readouterr().err
    assert "no servo of balancer answers" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_gives_the_screen_back(served, capsys, monkeypatch, number):
    before = signal.getsignal(number)

    @contextlib.contextmanager
    def screen():
        with whole() as show:
            shown = itertools.count(1)

            def show_and_signal(lines: list[str]) -> None:
                show(lines)
                if next(shown) == 2:
                    signal.raise_signal(number)

            yield show_and_signal

    whole = monitor._live
    monkeypatch.setattr(monitor, "_live", screen)
    monkeypatch.setattr(monitor, "REDRAW", 0.1)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["monitor", "balancer", "--port", served()]) == 0
    assert capsys.readouterr().out.endswith("\x1b[?1049l")
    assert signal.getsignal(number) is before


def test_the_live_screen_is_left_as_it_was(capsys):
    with monitor._live() as show:
        show(["first", "second"])
    out = capsys.readouterr().out
    assert out.startswith("\x1b[?1049h")
    assert "first\x1b[K\nsecond\x1b[K\n" in out
    assert out.endswith("\x1b[?1049l")


@pytest.mark.parametrize("more", [[], ["--once"]])
def test_a_port_that_cannot_be_opened_is_one_sentence(more, capsys):
    assert main(["monitor", "balancer", "--port", "/dev/no-such-port", *more]) == 1
    said = capsys.readouterr().err
    assert "there is no port /dev/no-such-port" in said
    assert len(said.splitlines()) == 1


def test_a_watch_that_cannot_begin_leaves_no_port_open():
    rig = Rig()
    closed = []

    class Dead(LockstepPort):
        def write(self, data: bytes) -> None:
            raise PortError("gone")

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(PortError):
        Watch(rig.robot, lambda line: Dead(rig.virtual, rig.clock, line.name), rig.clock)
    assert len(closed) == 2
