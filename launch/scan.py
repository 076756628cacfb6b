"""``retort scan``: what is on a line, at every baud rate and in both protocols."""

from __future__ import annotations

import argparse
import sys
import textwrap

from ..hardware.clock import RealClock
from ..hardware.dialect import DIALECTS
from ..hardware.errors import DeviceError
from ..hardware.examine import Found
from ..hardware.scan import Progress, Scan, scan
from ..hardware.serial_port import SerialPort

WIDTH = 80
HEADER = f"{'bit/s':>8}  {'protocol':10}  {'id':>3}  {'model':18}  {'firmware':8}  state"
_STATE = HEADER.index("state")
_CLEAR = "\r\x1b[K"


def add_parser(verbs) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser(
        "scan",
        help="say what is on a line: every baud rate, both protocols",
        description="Ask every id at every baud rate in both protocols, which takes about half a "
        "minute, and say what answers, how it feels, and which ids two devices share. Nothing is "
        "written to any device.",
    )
    parser.add_argument("port", help="a device path, a name by id, VID:PID:SERIAL or a URL")
    parser.add_argument(
        "--baud",
        type=_bauds,
        default=(),
        metavar="N,N,...",
        help="only these baud rates [bit/s] (default: all the protocols know)",
    )
    parser.add_argument(
        "--protocol", choices=tuple(DIALECTS), help="only this protocol (default: both)"
    )
    parser.add_argument(
        "--ids", type=_ids, default=(), metavar="A-B,C,...", help="only these ids (default: all)"
    )
    parser.set_defaults(act=main)


def main(options: argparse.Namespace) -> int:
    """Scan; 0 if anything was found.

    Raises:
        DeviceError: nothing was.
        PortError: the port cannot be opened.
    """
    watched = sys.stderr.isatty()

    def progress(now: Progress) -> None:
        print(f"{_CLEAR}{progress_line(now)}", end="", file=sys.stderr, flush=True)

    def found(device: Found) -> None:
        nonlocal any_row
        if watched:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
        rows = row(device) if any_row else [HEADER, *row(device)]
        print("\n".join(rows), flush=True)
        any_row = True

    any_row = False
    protocols = (options.protocol,) if options.protocol else tuple(DIALECTS)
    try:
        result = scan(
            lambda baud: SerialPort(options.port, baud),
            RealClock(),
            bauds=options.baud,
            protocols=protocols,
            ids=options.ids,
            found=found,
            progress=progress if watched else lambda _: None,
        )
    finally:
        if watched:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
    if not result.devices:
        raise DeviceError(
            f"nothing answers on {options.port}; check the servos' supply, the data cable and the "
            "common ground, and that the adapter is a half-duplex one made for these servos"
        )
    for sentence in summary(result):
        print(textwrap.fill(sentence, WIDTH))
    return 0


def progress_line(now: Progress) -> str:
    """How far it is, on one line."""
    return (
        f"{100 * now.share:3.0f} %  {now.baud} bit/s, {now.protocol}, id {now.id}: "
        f"{now.found} found"
    )


def row(device: Found) -> list[str]:
    """A device's lines in the table; what it says below its row where that is long."""
    said = [device.alert] if device.alert else []
    said += device.notes
    if device.clash:
        said.append(device.clash)
    state = "; ".join(said) or "ok"
    start = (
        f"{device.baud:8}  {device.protocol:10}  {device.id:3}  {device.model:18}  "
        f"{device.firmware:8}  "
    )
    if len(start) + len(state) <= WIDTH:
        return [start + state]
    indent = " " * HEADER.index("model")
    return [
        start.rstrip(),
        *textwrap.wrap(state, WIDTH, initial_indent=indent, subsequent_indent=indent),
    ]


def summary(result: Scan) -> list[str]:
    """Sentences: how many, and what somebody should do about it."""
    count = len(result.devices)
    sentences = [f"{count} id{' answers' if count == 1 else 's answer'}."]
    for device in result.devices:
        if device.clash:
            sentences.append(
                f"Id {device.id} at {device.baud} bit/s: connect its devices one at a time; give "
                "one of two another id, or mend the cable."
            )
    bauds = sorted({device.baud for device in result.devices})
    if len(bauds) > 1:
        sentences.append(
            f"They speak at {len(bauds)} baud rates; those of one line in robot.toml must speak at "
            "one."
        )
    if len({device.protocol for device in result.devices}) > 1:
        sentences.append(
            "They speak two protocols; a line in robot.toml speaks one, so give each a line and an "
            "adapter of its own."
        )
    if result.echo:
        sentences.append(
            "The adapter gives back what is sent: write `echo = true` for its line in robot.toml."
        )
    if result.skipped:
        bauds = ", ".join(str(baud) for baud, _ in result.skipped)
        sentences.append(f"Not asked, as the port cannot be set to it: {bauds} bit/s.")
    return sentences


def _bauds(text: str) -> tuple[int, ...]:
    try:
        bauds = tuple(int(part) for part in text.split(","))
    except ValueError:
        bauds = (0,)
    if not all(0 < baud < 100_000_000 for baud in bauds):
        raise argparse.ArgumentTypeError(f"{text!r}: baud rates are positive numbers [bit/s]")
    return bauds


def _ids(text: str) -> tuple[int, ...]:
    ids: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            ids |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        ids = set()
    if not ids or not all(0 <= id <= 253 for id in ids):
        raise argparse.ArgumentTypeError(f"{text!r}: ids are 0 to 253, such as 1-12,20")
    return tuple(sorted(ids))
