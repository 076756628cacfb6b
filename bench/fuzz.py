"""A million damaged frames per parser: no exception, nothing intact lost, few mutants accepted.

    python bench/fuzz.py [--count 1000000] [--seed 0]

Every case is a damaged answer followed by intact ones, in pieces, ended by ``flush()``. Whatever
the damage (bursts, replaced, lost or added bytes, wrong lengths, cut frames, plain noise), the
intact answers behind it must come out. How many damaged frames pass as answers is counted where
random bytes took the place of contents and checksum: of those, a checksum of n bits lets 2^-n pass
by chance, and the count must lie within 4 sigma of that.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.parser import StatusParser

LENGTH = 10  # data bytes
SIGMAS = 4


@dataclasses.dataclass(frozen=True)
class Subject:
    """A parser under test."""

    name: str
    parser: Callable[[], Any]
    frame: Callable[[random.Random, int], tuple[bytes, list[Any]]]  # bytes and their answers
    body: int  # where contents begin
    header: bytes
    bits: int  # of the checksum


@dataclasses.dataclass
class Tally:
    """What became of all cases."""

    cases: int = 0
    mutants: int = 0  # with random contents
    accepted: int = 0  # of those
    hidden: int = 0  # intact ones lost because damage in front of them passed by chance
    lost: int = 0  # intact ones lost for no such reason


def run(subject: Subject, count: int, seed: int) -> Tally:
    """``count`` cases."""
    rng, tally = random.Random(seed), Tally()
    for case in range(count):
        damaged, own = subject.frame(rng, 1 + case % 50)
        counted = case % 2 == 0
        damaged = (_replace_contents if counted else _damage)(damaged, subject, rng)
        behind, wanted = subject.frame(rng, 100 + case % 100)
        parser = subject.parser()
        stream = damaged + behind
        cut = rng.randrange(len(stream) + 1)
        got = list(parser.feed(stream[:cut])) + list(parser.feed(stream[cut:]))
        got += parser.flush()
        tally.cases += 1
        tally.mutants += counted
        wrong = [answer for answer in got if answer not in own and answer not in wanted]
        tally.accepted += counted and bool(wrong)
        if [answer for answer in got if answer in wanted] != wanted:
            if wrong:
                tally.hidden += 1
            else:
                tally.lost += 1
                print(f"lost: {stream.hex()} cut at {cut}", file=sys.stderr)
    return tally


def _replace_contents(frame: bytes, subject: Subject, rng: random.Random) -> bytes:
    """Random bytes in the place of a frame's contents and checksum."""
    while True:
        body = rng.randbytes(len(frame) - subject.body)
        if body != frame[subject.body :] and subject.header not in body:
            return frame[: subject.body] + body


def _damage(frame: bytes, subject: Subject, rng: random.Random) -> bytes:
    """One of many kinds of damage."""
    data, kind = bytearray(frame), rng.randrange(8)
    at = rng.randrange(len(data))
    if kind == 0:  # a burst of at most 16 bits
        pattern = (rng.getrandbits(16) | 1) << rng.randrange(8 * (len(data) - 1))
        return (int.from_bytes(data, "little") ^ pattern).to_bytes(len(data) + 2, "little")
    if kind == 1:  # some bytes replaced
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 2:  # cut short
        del data[at:]
    elif kind == 3:  # bytes lost
        del data[at : at + rng.randrange(1, 5)]
    elif kind == 4:  # bytes too many
        data[at:at] = rng.randbytes(rng.randrange(1, 9))
    elif kind == 5:  # a wrong length
        data[len(subject.header) : subject.body] = rng.randbytes(subject.body - len(subject.header))
    elif kind == 6:  # noise only
        return rng.randbytes(rng.randrange(1, 60))
    else:  # noise full of headers
        alphabet = subject.header + b"\x05\x00\x55"
        return bytes(rng.choice(alphabet) for _ in range(rng.randrange(1, 60)))
    return bytes(data)


def _plain(rng: random.Random, id: int) -> tuple[bytes, list[Any]]:
    data = rng.randbytes(LENGTH)
    return codec.status(id, 0, data), [(id, 0, data)]


def _fast(rng: random.Random, id: int) -> tuple[bytes, list[Any]]:
    answers = [((id + i) % 250, 0, rng.randbytes(LENGTH)) for i in range(3)]
    frame = codec.fast_status_head(3, LENGTH)
    crc = codec.crc16(frame)
    for answer in answers:
        block, crc = codec.fast_status_block(*answer, crc)
        frame += block
    return frame, answers


SUBJECTS: Sequence[Subject] = (
    Subject(
        "DYNAMIXEL status",
        lambda: StatusParser(longest=LENGTH),
        _plain,
        body=8,
        header=codec.HEADER,
        bits=16,
    ),
    Subject(
        "DYNAMIXEL fast status",
        lambda: StatusParser(fast_lengths=[(LENGTH,) * 3], longest=LENGTH),
        _fast,
        body=8,
        header=codec.HEADER,
        bits=16,
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    met = True
    for subject in SUBJECTS:
        began = time.perf_counter()
        tally = run(subject, arguments.count, arguments.seed)
        chance = 2.0**-subject.bits
        expected = tally.mutants * chance
        spread = SIGMAS * math.sqrt(expected * (1 - chance))
        good = tally.lost == 0 and abs(tally.accepted - expected) <= spread
        met = met and good
        print(
            f"{subject.name}: {tally.cases} cases in {time.perf_counter() - began:.0f} s, no "
            f"exception, {tally.lost} intact lost (at most 0), {tally.hidden} hidden by chance;\n"
            f"  {tally.accepted} of {tally.mutants} mutants accepted, {expected:.1f} expected "
            f"(within {spread:.1f}): {'met' if good else 'MISSED'}"
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
