"""What every verb of the command line has in common."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys

import pytest

# A verb that prints a row, to somebody who has stopped reading.
PRINTING = """
import argparse
from retort.launch import cli
cli._parsed = lambda arguments: argparse.Namespace(
    verb="scan", act=lambda options: print("a row") or 0, **{more}
)
raise SystemExit(cli.main([]))
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [({}, ""), ({"recipe": "balancer"}, "what was done is saved")],
    ids=["a screen", "a run"],
)
def test_a_reader_who_has_seen_enough_is_no_error_to_show(more, said):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code = PRINTING.replace("{more}", repr(more))
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writer)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "Broken pipe" not in ended.stderr
    assert said in ended.stderr
    assert bool(ended.stderr) == bool(said)


def test_another_pipe_that_broke_is_said(monkeypatch, capfd):
    from retort.launch import cli

    def act(options):
        raise BrokenPipeError(32, "Broken pipe", "/dev/elsewhere")

    monkeypatch.setattr(cli, "_parsed", lambda arguments: argparse.Namespace(verb="scan", act=act))
    assert cli.main([]) == 1
    assert "/dev/elsewhere" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (
            PermissionError(13, "Permission denied", "/root/x"),
            "/root/x cannot be read or written (P",
        ),
        (OSError(27, "File too large"), "(File too large) without naming a file; look for room"),
    ],
)
def test_what_the_system_refuses_is_said_with_what_to_do(refused, words, monkeypatch, capfd):
    from retort.launch import cli

    def act(options):
        raise refused

    monkeypatch.setattr(cli, "_parsed", lambda arguments: argparse.Namespace(verb="scan", act=act))
    assert cli.main([]) == 1
    said = capfd.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ["trian", "balancer"],
            "there is no verb 'trian' (did you mean 'train'?); the verbs are lau",
        ),
        (["train", "balanser"], "there is no recipe 'balanser' (did you mean 'balancer'?); retort"),
        (["train", "nobody.toml"], "there is no file nobody.toml; give the path of a recipe"),
        (["train", "."], "the folder . holds no recipe.toml; give that of a run"),
        (
            ["train", "balancer", "--set", "task=stand.py"],
            "there is no file stand.py; give the path of one that defines TASK",
        ),
        (
            ["launch", "balancer", "--set", "virtual.faults=nothing.toml"],
            "nothing.toml cannot be read: No such file or directory",
        ),
        (["control", "/tmp/nobody"], "the following arguments are required: command\n"),
        (
            ["emulate", "arm7"],
            "there is no robot 'arm7' (did you mean 'arm6'?), neither as a folder",
        ),
        (["train", "balancer", "--set", "teacher.step=9"], "(did you mean 'steps'?); the keys are"),
        (
            ["train", "balancer", "--set", "teacher.steps=900000", "--set", "seed=abc"],
            "--set 'seed=abc': seed must be a whole number, got 'abc'",
        ),
        (
            ["launch", "balancer", "--set", "run.port=/dev/no-such-port"],
            "run.port is '/dev/no-such-port': there is no port /dev/no-such-port; there",
        ),
    ],
)
def test_what_there_is_not_is_said_with_what_was_meant(given, words, tmp_path, capsys):
    from retort.launch.cli import main

    out = ["--out", str(tmp_path / "run")] if given[0] in ("train", "launch") else []
    assert main([*given, *out]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_faults_that_do_not_fit_the_robot_are_said_before_anything_is_trained(tmp_path, capsys):
    from retort.launch.cli import main

    profile = tmp_path / "faults.toml"
    profile.write_text('[[fault]]\nkind = "stuck_encoder"\ndevice = "left_wheal"\nat = 1.0\n')
    given = ["launch", "balancer", "--set", f"virtual.faults={profile}"]
    assert main([*given, "--out", str(tmp_path / "run")]) == 2
    assert "virtual.faults: stuck_encoder has device 'left_wheal'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [profile]


def test_the_version_is_that_of_the_package(capsys):
    from retort.launch.cli import main

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"retort {importlib.metadata.version('retort')}\n"


# A training on a disk that takes no file of more than 2 kB.
TRAINING = """
import resource, sys
from retort.launch.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
sys.argv = ["retort", "train", "cartpole", "--set", "teacher.steps=40000", "--out", sys.argv[1]]
sys.exit(main())
"""


def test_a_training_that_can_write_no_more_says_where_and_what_to_do(tmp_path):
    # Without -B what it imports would be compiled into files of 2 kB too, for all to stumble over.
    command = [sys.executable, "-B", "-c", TRAINING, str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    said = ended.stderr.splitlines()[-1]
    folder = tmp_path / "run" / "teacher"
    assert said.startswith(
        f"retort: nothing more can be written to {folder} (File too large); make"
    )
    assert "Traceback" not in ended.stderr


# A stage's progress line as a screen of 80 columns gets it, with as much to say as there may be.
PROGRESS = """
from retort.launch.train import progress_bar
with progress_bar("distill") as report:
    report(
        {{
            "steps": 500, "budget": 1000, "steps_per_second": 12345.0, "score_student": 0.1234,
            "score_teacher": 0.5678, {more}
        }}
    )
"""


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ("'levels': dict(a=2, b=1, c=3, d=0, e=2)", "of 0.568  levels 2 1 3 0 2"),
        ("'levels': {i: 3 for i in range(20)}", "…"),
    ],
)
def test_the_progress_line_fits_its_screen_and_keeps_percentage_and_time(more, end):
    screen, terminal = os.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}
    code = PROGRESS.format(more=more)
    subprocess.run([sys.executable, "-c", code], stderr=terminal, env=environment, check=True)
    os.close(terminal)
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(screen, 65536).decode())
    os.close(screen)
    line = said.splitlines()[-1].rstrip()
    assert re.match(r"distill \S+ +50% (--|\d*):(--|\d\d) 12,345/s  score 0\.123 of", line)
    assert line.endswith(end)
    assert len(line) <= 80


# Ctrl-C at the moment at which the command line is to be loaded.
LOADING = """
import os, signal, sys
from retort.launch.__main__ import main

class Impatient:
    def find_spec(self, name, *_):
        if name == "retort.launch.cli":
            os.kill(os.getpid(), signal.SIGINT)

assert "numpy" not in sys.modules
sys.meta_path.insert(0, Impatient())
sys.exit(main())
"""


def test_an_interrupt_while_it_is_being_loaded_is_one_sentence():
    ended = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "retort: interrupted\n")
