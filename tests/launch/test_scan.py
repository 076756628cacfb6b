"""``retort scan``: what is on a line of which nothing is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from retort.hardware import Port, PortError, Robot, load_model
from retort.hardware.examine import Found
from retort.hardware.parsing import parse
from retort.hardware.scan import Progress, Scan, scan
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, VirtualRobot
from retort.hardware.virtual.device import BAUDS
from retort.hardware.virtual.faults import Corrupt, Delay, Drop, Fault, Garbage, Merge
from retort.hardware.virtual.feetech import FeetechResponder
from retort.hardware.virtual.feetech_servo import FeetechServo
from retort.hardware.virtual.plant import RigidPlant
from retort.launch.cli import main
from retort.launch.scan import HEADER, row, summary

MODELS = ("xl330-m288", "xl330-m077", "xl330-m077", "xl430-w250")  # all at home at 6.5 V


class Wire:
    """One virtual line with DYNAMIXEL servos, ids from 1 on, and Feetech servos."""

    def __init__(
        self,
        models: tuple[str, ...] = MODELS,
        feetech: tuple[tuple[str, int, int], ...] = (),  # model, id, baud
        faults: tuple[Fault, ...] = (),
        echo: bool = False,
        seed: int = 0,
    ) -> None:
        names = [f"joint_{id}" for id in range(1, len(models) + 1)]
        robot = parse(
            Robot,
            {
                "name": "wire",
                "folder": Path("/nowhere"),
                "model": "wire.xml",
                "control_rate": 100.0,
                "watchdog": 0.1,
                "line": [
                    {"name": "main", "protocol": "dynamixel2", "baud": 1_000_000, "echo": echo}
                ],
                "joint": [
                    {"name": name, "line": "main", "id": id, "servo": model, "mode": "position"}
                    for id, (name, model) in enumerate(zip(names, models, strict=True), 1)
                ],
                "read": {"order": names},
                "ramp": {"kind": "pose"},
                "damp": {"kind": "hold"},
                "safety": {"tilt": 1.0, "stale_ticks": 5, "slew": 10.0},
            },
        )
        self.plant = RigidPlant(robot, supply=6.5)
        self.virtual = VirtualRobot(robot, self.plant, seed, Faults(*faults))
        self.servos = self.virtual.servos
        self.feetech = [
            FeetechServo(f"feetech_{id}", load_model(model), id, baud, "position", self.plant, 0)
            for model, id, baud in feetech
        ]
        if self.feetech:
            line = self.virtual.line
            line.attach(FeetechResponder(line, self.feetech))
        self.clock = LockstepClock(self.virtual)

    def open(self, baud: int) -> Port:
        self.virtual.line.baud = baud
        return LockstepPort(self.virtual, self.clock)

    def settings(self) -> list[dict[str, int]]:
        """Everything a host can write, of every servo."""
        return [
            {n: s.registers[n] for n, r in s.table.registers.items() if r.access == "rw"}
            for s in (*self.servos, *self.feetech)
        ]

    def scan(self, **how) -> Scan:
        return scan(self.open, self.clock, **how)


def _there(result: Scan) -> set[tuple[str, int, int, str]]:
    return {(d.protocol, d.baud, d.id, d.model) for d in result.devices}


def test_both_protocols_and_every_baud_rate_are_found_on_one_line():
    wire = Wire(feetech=(("sts3215", 1, 500_000), ("sts3215-12v", 9, 38_400)))
    for servo, baud in zip(wire.servos, (1_000_000, 57_600, 9_600, 3_000_000), strict=True):
        servo.registers["baud_rate"] = BAUDS.index(baud)
    result = wire.scan()
    assert _there(result) == {
        ("dynamixel2", 1_000_000, 1, "xl330-m288"),
        ("dynamixel2", 57_600, 2, "xl330-m077"),
        ("dynamixel2", 9_600, 3, "xl330-m077"),
        ("dynamixel2", 3_000_000, 4, "xl430-w250"),
        ("feetech", 500_000, 1, "sts3215"),
        ("feetech", 38_400, 9, "sts3215-12v"),
    }
    assert all(device.at_rest for device in result.devices)
    assert not result.echo
    assert wire.clock.now() < 60.0


def test_it_is_told_of_each_device_when_it_is_found_and_how_far_the_scan_is():
    wire = Wire(models=MODELS[:2])
    told: list[Found] = []
    steps: list[Progress] = []
    result = wire.scan(found=told.append, progress=steps.append)
    assert tuple(told) == result.devices
    shares = [step.share for step in steps]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert 0.9 < shares[-1] <= 1.0
    assert steps[-1].found == 2


def test_it_asks_only_what_it_is_told_to():
    wire = Wire(feetech=(("sts3215", 2, 1_000_000),))
    only = wire.scan(bauds=(1_000_000,), ids=(2, 3))
    assert {(d.protocol, d.id) for d in only.devices} == {
        ("dynamixel2", 2),
        ("dynamixel2", 3),
        ("feetech", 2),
    }
    assert {d.protocol for d in wire.scan(protocols=("feetech",)).devices} == {"feetech"}
    assert wire.scan(bauds=(57_600,)).devices == ()


def test_the_table_is_the_one_for_the_firmware():
    wire = Wire(models=("xl330-m288-fw53", "xl330-m288"))
    found = wire.scan(bauds=(1_000_000,), ids=(1, 2)).devices
    assert [device.model for device in found] == ["xl330-m288-fw53", "xl330-m288"]


@pytest.mark.parametrize("seed", range(5))
def test_equal_servos_with_one_id_are_found_by_damaged_answers(seed):
    wire = Wire(models=("xl330-m077",) * 4, seed=seed)
    wire.servos[3].registers["id"] = 2
    result = wire.scan(bauds=(1_000_000,))
    assert {d.id: bool(d.clash) for d in result.devices} == {1: False, 2: True, 3: False}


def test_servos_with_one_id_that_answer_one_after_the_other_are_found():
    wire = Wire()
    wire.servos[3].registers["id"] = 2
    wire.servos[3].registers["return_delay"] = 250
    (clash,) = wire.scan(bauds=(1_000_000,), ids=(2,)).devices
    assert clash.clash


def test_servos_with_one_id_are_found_by_settings_that_differ():
    # Each often misses the question, so that the other answers alone.
    wire = Wire(models=("xl330-m077",) * 2, faults=(Drop(rate=0.6),), seed=1)
    wire.servos[1].registers["id"] = 1
    wire.servos[1].registers["pwm_slope"] = 77
    (clash,) = wire.scan(bauds=(1_000_000,), ids=(1,)).devices
    assert clash.clash in (
        "two devices: pwm_slope reads 140 and 77",
        "two devices: pwm_slope reads 77 and 140",
    )


def test_feetech_servos_with_one_id_are_found():
    wire = Wire(models=MODELS[:1], feetech=(("sts3215", 5, 500_000),) * 2)
    found = wire.scan(bauds=(500_000,), ids=range(1, 9)).devices
    assert [(d.id, bool(d.clash)) for d in found] == [(5, True)]


def test_an_id_used_in_both_protocols_is_no_clash():
    found = Wire(models=MODELS[:1], feetech=(("sts3215", 1, 1_000_000),)).scan(bauds=(1_000_000,))
    assert [(d.protocol, d.clash) for d in found.devices] == [("dynamixel2", ""), ("feetech", "")]


@pytest.mark.parametrize(
    "fault",
    [
        Corrupt(rate=0.05),
        Drop(rate=0.05),
        Garbage(rate=0.3),
        Delay(rate=0.02, seconds=0.034),
        Merge(rate=0.05),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_bad_line_makes_no_devices_and_no_clashes(fault, seed):
    wire = Wire(faults=(fault,), seed=seed)
    found = wire.scan(bauds=(1_000_000, 57_600)).devices
    assert {(d.id, d.model, d.clash) for d in found} == {
        (id, model, "") for id, model in enumerate(MODELS, 1)
    }


def test_an_adapter_that_gives_back_what_is_sent_is_noticed_and_hides_nothing():
    wire = Wire(feetech=(("sts3215", 7, 1_000_000),), echo=True)
    result = wire.scan(bauds=(1_000_000,))
    assert result.echo
    assert [d.id for d in result.devices] == [1, 2, 3, 4, 7]
    assert all(device.at_rest for device in result.devices)
    assert any("echo = true" in sentence for sentence in summary(result))


def test_what_is_amiss_is_said_in_words():
    wire = Wire(models=("xl330-m288",) * 5, feetech=(("sts3215", 9, 1_000_000),))
    wire.servos[0].overload()
    wire.servos[1].registers["secondary_id"] = 40
    wire.servos[2].registers["startup_configuration"] = 1
    wire.servos[3].registers["status_return_level"] = 0
    wire.feetech[0].overload()
    found = {d.id: d for d in wire.scan(bauds=(1_000_000,)).devices}
    assert found[1].alert == "overload"
    assert found[2].notes == ("also obeys id 40",)
    assert found[3].notes == ("switches torque on at power-up",)
    assert found[4].notes == ("answers pings only",)
    assert found[5].at_rest
    assert found[9].alert == "overload"


def test_nothing_is_written():
    wire = Wire(feetech=(("sts3215", 7, 1_000_000),))
    wire.servos[0].registers["torque_enable"] = 1
    settings = wire.settings()
    wire.scan()
    assert wire.settings() == settings


def test_baud_rates_the_port_does_not_have_are_left_out_and_said():
    wire = Wire()

    def slow(baud: int) -> Port:
        if baud > 1_000_000:
            raise PortError(f"the port cannot be opened at {baud} bit/s")
        return wire.open(baud)

    result = scan(slow, wire.clock)
    assert [device.id for device in result.devices] == [1, 2, 3, 4]
    assert sorted(baud for baud, _ in result.skipped) == [
        2_000_000,
        3_000_000,
        4_000_000,
        4_500_000,
    ]
    assert "4500000 bit/s" in summary(result)[-1]


def test_a_port_that_cannot_be_opened_at_all_is_an_error():
    def gone(baud: int) -> Port:
        raise PortError("there is no such port")

    with pytest.raises(PortError, match="no such port"):
        scan(gone, LockstepClock(Wire().virtual))


@pytest.mark.parametrize(
    "device",
    [
        Found(
            protocol="dynamixel2",
            baud=4_500_000,
            id=252,
            number=65_535,
            model="unknown (number 65535)",
            firmware="255",
        ),
        Found(
            protocol="feetech",
            baud=1_000_000,
            id=1,
            number=777,
            model="sts3215-12v",
            firmware="3.10",
            alert="supply voltage outside its limits, encoder fault, overheating, overload",
            notes=("torque is on", "also obeys id 40"),
            clash="two devices: max_position_limit reads 4095 and 3071",
        ),
    ],
)
def test_rows_fit_80_columns(device):
    assert len(HEADER) <= 80
    assert max(map(len, row(device))) <= 80


def test_the_verb_prints_a_table_of_80_columns(serve, capsys):
    wire = Wire(feetech=(("sts3215", 7, 1_000_000),))
    wire.servos[2].registers["id"] = 2
    wire.servos[3].registers["baud_rate"] = 1
    port = serve(wire.virtual)["main"]
    assert main(["scan", port, "--baud=1000000,57600", "--ids=1-8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == HEADER
    assert max(map(len, lines)) <= 80
    starts = [line.split()[:3] for line in lines if line.lstrip()[:1].isdigit()]
    for start in (
        ["1000000", "dynamixel2", "1"],
        ["1000000", "dynamixel2", "2"],
        ["57600", "dynamixel2", "4"],
        ["1000000", "feetech", "7"],
    ):
        assert start in starts
    said = " ".join(" ".join(lines).split())
    assert "two devices" in said
    assert "Id 2 at 1000000 bit/s" in said
    assert "2 baud rates" in said


def test_the_verb_says_what_to_check_where_nothing_answers(serve, capsys):
    port = serve(Wire().virtual)["main"]
    assert main(["scan", port, "--baud=1000000", "--ids=50-60"]) == 1
    said = capsys.readouterr().err
    assert "check the servos' supply" in said
    assert len(said.splitlines()) == 1


def test_a_port_that_is_not_there_is_one_sentence(capsys):
    assert main(["scan", "/dev/no-such-port"]) == 1
    said = capsys.readouterr().err
    assert "there is no port /dev/no-such-port" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("option", ["--ids=300", "--ids=a", "--ids=5-1", "--baud=0", "--baud=x"])
def test_options_that_cannot_be_are_refused(option):
    assert main(["scan", "/dev/null", option]) == 2


def test_a_device_that_is_no_serial_port_is_said_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["scan", "/dev/null"]) == 1
    said = capsys.readouterr().err
    assert "the port /dev/null cannot be opened: it is a device, but no serial port" in said
    assert "ioctl" not in said
