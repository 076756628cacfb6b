"""What a receiver makes of several senders on one wire, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLES = 16  # per bit, as a UART takes them
_FRAME = 10 * SAMPLES  # samples of a start bit, eight data bits and a stop bit


def overlay(senders: Sequence[tuple[float, bytes]], bit: float) -> bytes:
    """The bytes heard when ``senders`` speak at once: a wire that idles high is the AND of all.

    Args:
        senders: (start [s], bytes) each; 8N1, least significant bit first.
        bit: duration of one [s].

    Returns:
        What a receiver cuts from it; a byte with a wrong stop bit is delivered as it was heard.
    """
    first = min(start for start, _ in senders)
    waves = []
    for start, data in senders:
        offset = round((start - first) / bit * SAMPLES)
        bits = np.ones((len(data), 10), dtype=bool)
        bits[:, 0] = False
        bits[:, 1:9] = np.unpackbits(
            np.frombuffer(data, dtype=np.uint8)[:, None], axis=1, bitorder="little"
        )
        waves.append((offset, np.repeat(bits.ravel(), SAMPLES)))
    wire = np.ones(max(offset + wave.size for offset, wave in waves) + _FRAME, dtype=bool)
    for offset, wave in waves:
        wire[offset : offset + wave.size] &= wave
    middle = SAMPLES // 2 + SAMPLES * np.arange(1, 9)
    heard, at = bytearray(), 0
    while True:
        low = np.flatnonzero(~wire[at:])
        if not low.size or at + low[0] + _FRAME > wire.size:
            return bytes(heard)
        start = at + int(low[0])
        if wire[start + SAMPLES // 2]:  # too short for a start bit
            at = start + SAMPLES // 2
            continue
        heard += np.packbits(wire[start + middle], bitorder="little").tobytes()
        at = start + SAMPLES // 2 + 9 * SAMPLES  # in the middle of the stop bit
        if not wire[at]:  # none: wait until the wire is idle
            high = np.flatnonzero(wire[at:])
            if not high.size:
                return bytes(heard)
            at += int(high[0])
