"""``retort run``: the whole way from a bundle to a flight log, on the virtual robot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from retort.controller import State, load_flight
from retort.launch import virtual
from retort.launch.cli import main
from retort.launch.results import load_results

SECONDS = 6.0  # of the flight in conftest.py


def _events(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "emulator.jsonl").read_text().splitlines()]


def test_a_lockstep_run_lasts_as_long_as_asked(flown: Path) -> None:
    results = load_results(flown)
    assert results.bus is not None
    assert results.bus.result["outcome"] == "completed"
    assert results.bus.seconds == pytest.approx(SECONDS, abs=0.05)


def test_the_flight_follows_the_commanded_schedule(flown: Path) -> None:
    bus = load_results(flown).bus
    assert bus is not None
    np.testing.assert_allclose(bus.command[bus.time < 1.9], 0.0)
    np.testing.assert_allclose(bus.command[bus.time > 2.1], [[0.2, 0.5]] * (bus.time > 2.1).sum())


def test_pushes_come_when_asked_and_with_the_strength_asked(flown: Path) -> None:
    results = load_results(flown)
    assert results.endured_pushes() == pytest.approx([1.0, 3.0], abs=0.05)
    pushes = [event["impulse"] for event in _events(flown) if event["event"] == "push"]
    assert [np.hypot(*impulse) for impulse in pushes] == pytest.approx([0.05, 0.05], abs=1e-4)


def test_the_log_tells_of_the_hand_and_of_the_faults(flown: Path) -> None:
    events = _events(flown)
    assert [event["event"] for event in events if event["event"].startswith("hand")][:1] == [
        "hand lets go"
    ]
    assert events[-1]["event"] == "end"
    assert events[-1]["dropped"] > 0
    assert events[-1]["corrupted"] > 0


def test_a_lockstep_run_is_the_same_every_time(bundle: Path, tmp_path: Path) -> None:
    flights = []
    for name in ("first", "second"):
        out = tmp_path / name
        arguments = ["run", str(bundle), "--lockstep", "--seconds=1", "--drop=0.02", "--seed=1"]
        assert main([*arguments, "--out", str(out)]) == 0
        flights.append(load_flight(out / "flight"))
    first, second = (flight.ticks[flight.ticks["state"] == State.RUN] for flight in flights)
    np.testing.assert_array_equal(first["joint_position"], second["joint_position"])
    np.testing.assert_array_equal(first["sent"], second["sent"])


def _arm_bundle(flown_arm: Path, out: Path, recipe: str = "") -> Path:
    shutil.copytree(flown_arm / "student", out / "student")
    if recipe:
        (out / "recipe.toml").write_text(recipe)
    return out / "student"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("", [0.23, 0.0, 0.145, 0.0]),
        ("command=[{time=1.0, values=[0.2, 0.1, 0.1, 0.5]}]", [0.2, 0.1, 0.1, 0.5]),
    ],
)
def test_without_a_command_an_arm_goes_where_its_recipe_begins_or_to_the_middle(
    flown_arm: Path,
    tmp_path: Path,
    command: str,
    expected: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = _arm_bundle(flown_arm, tmp_path, command and f'robot="arm6"\n[run]\n{command}\n')
    assert main(["run", str(bundle), "--lockstep", "--seconds=0.2"]) == 0
    flight = load_flight(tmp_path / "flight").ticks
    running = flight["command"][flight["state"] == State.RUN]
    np.testing.assert_allclose(running[1:], [expected] * (len(running) - 1), rtol=1e-6)
    assert f"command at first: x {expected[0]:g} m, y {expected[1]:g} m" in capsys.readouterr().out


def test_a_bundle_alone_asks_for_its_robots_folder(
    flown_arm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = _arm_bundle(flown_arm, tmp_path, 'robot = "leg"\n')
    assert main(["run", str(bundle), "--lockstep", "--seconds=1"]) == 2
    said = capsys.readouterr().err
    assert f"there is no robot 'leg', neither as a folder with a robot.toml at {Path.cwd()}" in said
    assert "copy that along, and add --robot FOLDER" in said


def test_commands_beyond_the_trained_range_are_refused(
    flown_arm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = _arm_bundle(flown_arm, tmp_path)
    millimetres = "--command=0:200,0,150,0"
    assert main(["run", str(bundle), "--lockstep", "--seconds=1", millimetres]) == 2
    said = capsys.readouterr().err
    assert "asks for x 200 m; this policy was trained with x 0.16 to 0.3 m, y -0.14" in said
    recipe = 'robot="arm6"\n[run]\ncommand=[{time=0.0, values=[200.0, 0.0, 150.0, 0.0]}]\n'
    (tmp_path / "recipe.toml").write_text(recipe)
    assert main(["run", str(bundle), "--lockstep", "--seconds=1"]) == 2
    assert "the recipe beside the bundle: run.command: " in capsys.readouterr().err


def test_without_an_end_lockstep_is_refused(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(bundle), "--lockstep"]) == 2
    assert "--seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        "--drop=3",
        "--drop=nan",
        "--seed=-1",
        "--seconds=nan",
        "--seconds=-1",
        "--command=0:nan,nan",
        "--push-impulse=nan",
        "--push-times=nan",
    ],
)
def test_a_value_that_cannot_be_is_one_sentence(
    bundle: Path, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(bundle), "--lockstep", "--seconds=1", option, "--out", str(tmp_path)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("retort: ")
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_port_is_one_sentence_and_costs_no_earlier_flight(
    flown: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (flown / "flight" / "flight.npy").read_bytes()
    code = main(["run", str(bundle), "--port", "/dev/no-such-port", "--out", str(flown)])
    said = capsys.readouterr().err
    assert code == 1
    assert "/dev/no-such-port" in said
    assert "Traceback" not in said
    assert (flown / "flight" / "flight.npy").read_bytes() == before


def test_a_missing_bundle_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "nothing"), "--port", "/dev/null"]) == 2
    assert capsys.readouterr().err.startswith("retort: ")


def test_a_virtual_port_says_what_to_install(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(virtual.importlib.util, "find_spec", lambda name: None)
    assert main(["run", str(bundle), "--port", "virtual", "--seconds=1"]) == 1
    assert "`--port virtual` needs retort[train]: pip install '.[train]' in a clone of retort" in (
        capsys.readouterr().err
    )


def test_faults_are_refused_on_a_real_port(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(bundle), "--port", "/dev/ttyUSB0", "--faults", str(tmp_path / "f.toml")]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "--faults is for virtual robots and /dev/ttyUSB0 is a real port" in said
    assert len(said.splitlines()) == 1


def test_a_profile_of_faults_acts_on_a_lockstep_run(bundle: Path, tmp_path: Path) -> None:
    profile = tmp_path / "faults.toml"
    profile.write_text('[[fault]]\nkind = "silence"\ndevice = "right_wheel"\nat = 2.0\n')
    out = tmp_path / "out"
    arguments = ["run", str(bundle), "--lockstep", "--seconds=5", "--out", str(out)]
    assert main([*arguments, f"--faults={profile}"]) == 1
    assert _events(out)[-1]["silenced"] > 0


def test_a_profile_that_does_not_fit_the_robot_is_one_sentence(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "faults.toml"
    for text in ('[[fault]]\nkind = "silence"\ndevice = "elbow"\n', '[[fault]]\nkind = "no"\n'):
        profile.write_text(text)
        arguments = ["run", str(bundle), "--lockstep", "--seconds=1", f"--faults={profile}"]
        assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert "left_wheel, right_wheel, imu" in said or "the kinds are" in said


def _flight(folder: Path) -> dict[str, bytes]:
    files = [*(folder / "flight").iterdir(), folder / "emulator.jsonl"]
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("port", ["--lockstep", "--port=loop://"])
def test_a_robot_that_does_not_answer_is_one_sentence_and_costs_no_earlier_flight(
    flown: Path, bundle: Path, port: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before, names = _flight(flown), sorted(flown.iterdir())
    faults = ["--drop=1"] if port == "--lockstep" else []
    code = main(["run", str(bundle), port, "--seconds=1", *faults, "--out", str(flown)])
    said, complained = capfd.readouterr()
    assert code == 1
    assert said.startswith("command at first: ")
    assert len(said.splitlines()) == 1
    assert "do not answer" in complained
    assert len(complained.splitlines()) == 1
    assert _flight(flown) == before
    assert sorted(flown.iterdir()) == names


def test_an_out_folder_that_is_a_file_is_one_sentence(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for verb in (["run", str(bundle), "--lockstep", "--seconds=1"], ["train", "balancer"]):
        assert main([*verb, "--out", str(file)]) == 2
        said = capsys.readouterr().err
        assert f"{file} cannot be the folder to write to (it is a file)" in said
        assert len(said.splitlines()) == 1


def test_an_out_folder_in_which_nothing_was_written_does_not_stay(
    bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(bundle), "--port=/dev/no-such-port", "--out", str(out)]) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--command=0", "'0' is not of the form T:V,V"),
        ("--command=0:x", "'0:x' is not of the form T:V,V"),
        ("--push-times=0.1,foo", "'0.1,foo' is not a list of seconds"),
    ],
)
def test_an_option_that_cannot_be_read_says_how_it_is_written(
    bundle: Path, option: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(bundle), "--lockstep", "--seconds=1", option]) == 2
    assert words in capsys.readouterr().err


def test_an_empty_port_and_a_file_as_port_are_said_in_words(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(bundle), "--port=", "--out", str(tmp_path)]) == 2
    assert "port is empty" in capsys.readouterr().err
    file = tmp_path / "file"
    file.touch()
    assert main(["run", str(bundle), f"--port={file}", "--out", str(tmp_path)]) == 1
    assert "it is a file, no device" in capsys.readouterr().err
