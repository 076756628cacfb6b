"""What every verb of the command line has in common."""

from __future__ import annotations

import argparse
import os
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
