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
