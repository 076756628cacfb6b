"""A million damaged answers and random streams through the Feetech parsers.

No exception; every intact answer that begins behind the damage is delivered, at the latest by
``flush()``; of answers with several damaged bytes 2^-8 pass the checksum, within 4 sigma.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
from retort.hardware.feetech import codec
from retort.hardware.feetech.parser import InstructionParser, Status, StatusParser

TRIALS = 1_000_000
LENGTH = 15
BATCH = 10_000
EXPECTED = 2.0**-8


def damaged(random: np.random.Generator) -> tuple[int, int, int]:
    """Answers with 2 to 5 damaged bytes, an intact one behind each: trials, passed, lost."""
    parser, behind = StatusParser(LENGTH), Status(9, 0, bytes(range(LENGTH)))
    tail = codec.status(*behind)
    passed = lost = 0
    size = codec.OVERHEAD + LENGTH
    body = np.array([2, *range(4, size)])  # neither header nor length, which alone are noticed
    for _ in range(TRIALS // BATCH):
        answers = random.bytes(BATCH * LENGTH)
        order = np.argsort(random.random((BATCH, len(body))), axis=1)[:, :5]
        places, counts = body[order], random.integers(2, 6, BATCH)
        flips = random.integers(1, 256, (BATCH, 5))
        for k in range(BATCH):
            frame = bytearray(codec.status(k % 250, 0, answers[k * LENGTH : (k + 1) * LENGTH]))
            for at, flip in zip(places[k, : counts[k]].tolist(), flips[k].tolist(), strict=False):
                frame[at] ^= flip
            sent = Status(frame[2], frame[4], bytes(frame[5:-1]))
            parser.expect(LENGTH)
            got = parser.feed(bytes(frame) + tail) + parser.flush()
            passed += sent in got
            lost += behind not in got
    return TRIALS, passed, lost


def streams(random: np.random.Generator) -> tuple[int, int]:
    """Random bytes, rich in headers, with an intact answer behind: streams, answers lost."""
    parsers = (StatusParser(), StatusParser(LENGTH), StatusParser(LENGTH, LENGTH + 1))
    instructions = InstructionParser()
    behind = Status(9, 0, bytes(range(LENGTH)))
    tail = codec.status(*behind)
    lost = 0
    for k in range(TRIALS):
        noise = bytearray(random.bytes(int(random.integers(0, 40))))
        if k % 2:
            noise = bytearray(b if b & 3 else 0xFF for b in noise)
        parser = parsers[k % 3]
        cut = len(noise) // 2
        got = parser.feed(bytes(noise[:cut])) + parser.feed(bytes(noise[cut:]) + tail)
        lost += behind not in got + parser.flush()
        instructions.feed(bytes(noise))
    return TRIALS, lost


def main() -> int:
    begin = time.perf_counter()
    random = np.random.default_rng(0)
    trials, passed, lost = damaged(random)
    sigma = math.sqrt(trials * EXPECTED * (1.0 - EXPECTED))
    deviation = (passed - trials * EXPECTED) / sigma
    print(f"damaged answers: {trials}, passed {passed} (2^-8 {deviation:+.1f} sigma, limit 4)")
    print(f"intact answers lost behind them: {lost}, limit 0")
    count, gone = streams(random)
    print(f"random streams: {count}, intact answers lost behind them: {gone}, limit 0")
    print(f"no exception; {time.perf_counter() - begin:.0f} s")
    return 0 if abs(deviation) < 4.0 and lost == gone == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
