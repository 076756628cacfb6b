"""``retort control``: one command to a virtual robot that ``retort emulate --control`` serves."""

from __future__ import annotations

import argparse
import json

from ..hardware.virtual.commands import __doc__ as COMMANDS
from ..hardware.virtual.control import Control


def add_parser(verbs) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser(
        "control",
        help="unplug, turn, push or break a virtual robot that is being served",
        description="Give one command to a virtual robot served with `--control SOCKET`, for\n"
        "example: retort control SOCKET power_cycle device=left_wheel seconds=0.5",
        epilog=(COMMANDS or "").replace("``", ""),  # absent under python -OO
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("socket", help="the one `retort emulate --control` was given")
    parser.add_argument("command", help="see below")
    parser.add_argument(
        "values",
        nargs="*",
        default=[],  # without, argparse calls them required
        type=_value,
        metavar="KEY=VALUE",
        help="what the command takes; a value is JSON, or else text",
    )
    parser.set_defaults(act=main)


def main(options: argparse.Namespace) -> int:
    """Give the command and print what there is to say."""
    control = Control(options.socket)
    try:
        said = control(options.command, **dict(options.values))
    finally:
        control.close()
    print(json.dumps(said, indent=2) if said else "done")
    return 0


def _value(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
