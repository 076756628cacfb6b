"""One way of asking a line's devices in one packet, and where every value stands in the answer."""

from __future__ import annotations

import bisect
import itertools
import operator
from collections.abc import Callable, Sequence

import numpy as np
from fastcrc.crc16 import umts as crc16

from ..line_driver import Device
from . import codec
from .codec import BROADCAST, HEADER, OVERHEAD, STATUS
from .layout import Block
from .parser import StatusParser

_FAST_HEAD = 8  # bytes before the first block of a fast status
_DATA_IN_STATUS = 9  # bytes of a plain status before its data
_ZERO = 3  # a byte of every answer that is 0: the end of its header


class Exchange:
    """A request to some devices in order, prebuilt, and its answer if nothing is amiss.

    An answer that is complete, intact and without errors is by far the most frequent; ``whole``
    knows it by its length, ids, error bytes and CRC, and indices computed here take all values out
    of it at once. Any other goes through ``parser``.

    Args:
        line: all devices of the line.
        blocks: what to ask of each.
        asked: whom to ask, in order, by place in ``line``.
        fast: by fast sync (or bulk) read, answered by one status; else one status from each.
        extra: bytes to read beyond every block.

    Attributes:
        packet: the request.
        size: bytes of the whole answer.
        lengths: data bytes of every device.
        around: bytes of every device's answer that are not data.
        places: ``asked``, to index arrays with.
        joints: those whose servos are asked, to index arrays with.
        servo_words: (values, 4 * servos), where their bytes stand in the answer; None: no servo.
        servo_counts: (values, servos), what ``load`` found there.
        imu_words: the same of the sensor, (4 * values,), and ``imu_flags``; None: no sensor.
        ticks: (devices, 2), where the bytes of their clocks stand.
        raw: (size,) the answer that ``load`` has taken.
    """

    def __init__(
        self,
        line: Sequence[Device],
        blocks: Sequence[Block],
        asked: Sequence[int],
        fast: bool,
        extra: int = 0,
    ) -> None:
        devices, blocks = [line[place] for place in asked], [blocks[place] for place in asked]
        ids = [device.id for device in devices]
        self.devices = tuple(devices)
        self.places = as_index(asked)
        self.lengths = tuple(block.length + extra for block in blocks)
        spans = {
            (block.address, length) for block, length in zip(blocks, self.lengths, strict=True)
        }
        if len(spans) == 1:
            ((address, length),) = spans
            self.packet = (codec.fast_sync_read if fast else codec.sync_read)(ids, address, length)
        else:
            each = [(d, b.address, n) for d, b, n in zip(ids, blocks, self.lengths, strict=True)]
            self.packet = (codec.fast_bulk_read if fast else codec.bulk_read)(each)
        self.fast = fast
        self.around = around = 4 if fast else OVERHEAD + 1
        head = _FAST_HEAD if fast else 0
        self.ends = [head + n for n in itertools.accumulate(n + around for n in self.lengths)]
        self.size = self.ends[-1]
        starts = [head, *self.ends[:-1]]
        error, id_, data = (0, 1, 2) if fast else (8, 4, _DATA_IN_STATUS)
        self._errors_at = _bytes_at([start + error for start in starts])
        self._ids_at = _bytes_at([start + id_ for start in starts])
        self._ids, self._no_errors = bytes(ids), bytes(len(ids))
        total = 1 + sum(self.lengths) + 4 * len(ids)
        self._head = HEADER + bytes((BROADCAST, total & 0xFF, total >> 8, STATUS))
        self._frames = [
            (start, end, HEADER + bytes((id, n + 4 & 0xFF, n + 4 >> 8, STATUS)))
            for start, end, id, n in zip(starts, self.ends, ids, self.lengths, strict=True)
        ]
        begins = [start + data for start in starts]
        words = [
            np.where(block.words >= 0, begin + block.words, _ZERO)
            for begin, block in zip(begins, blocks, strict=True)
        ]
        servos = [k for k, device in enumerate(devices) if device.joint is not None]
        sensor = next((k for k, device in enumerate(devices) if device.joint is None), None)
        self.joints = as_index([devices[k].index for k in servos])
        self._buffer = bytearray(self.size)
        self.raw = np.frombuffer(self._buffer, np.uint8)
        self.servo_words, self._servo_bytes = None, np.empty((0, 0), np.uint8)
        if servos:
            by_value = np.stack([words[k] for k in servos], axis=1).astype(np.intp)
            self.servo_words = by_value.reshape(len(by_value), -1)
            self._servo_bytes = np.empty(self.servo_words.shape, np.uint8)
        self.servo_counts = self._servo_bytes.view("<i4")
        self.imu_words, self.imu_flags = None, 0
        if sensor is not None:
            self.imu_words = words[sensor].reshape(-1).astype(np.intp)
            self.imu_flags = begins[sensor] + blocks[sensor].flags
        self.ticks = np.array(
            [
                (begin + block.tick, begin + block.tick + 1)
                for begin, block in zip(begins, blocks, strict=True)
            ],
            dtype=np.intp,
        )

    def whole(self, data: bytes) -> bool:
        """Whether ``data`` is everyone's answer, intact, and free of errors and alerts."""
        if len(data) != self.size:
            return False
        if self._errors_at(data) != self._no_errors or self._ids_at(data) != self._ids:
            return False
        if not self.fast:
            return all(
                data.startswith(head, start)
                and crc16(data[start : end - 2]) == data[end - 2] | data[end - 1] << 8
                for start, end, head in self._frames
            )
        # Every device's CRC goes over all before it, so that the last one answers for everything.
        return data.startswith(self._head) and crc16(data[:-2]) == data[-2] | data[-1] << 8

    def load(self, data: bytes) -> None:
        """Take ``size`` bytes for ``raw``, and ``servo_counts`` out of them."""
        self._buffer[:] = data
        if self.servo_words is not None:
            self.raw.take(self.servo_words, None, self._servo_bytes, "clip")  # faster than "raise"

    def reached(self, received: int) -> int:
        """How many devices' bytes are in whole, of ``received`` bytes."""
        return bisect.bisect_right(self.ends, received)

    def parser(self, others: Sequence[Exchange]) -> StatusParser:
        """A parser for the answer, and for late ones to ``others``."""
        ways = [self, *others]
        return StatusParser(
            fast_lengths=[way.lengths for way in ways if way.fast],
            longest=max(max(way.lengths) for way in ways),
        )


def as_index(places: Sequence[int]) -> slice | np.ndarray:
    """``places`` to index an array with: a slice if they are neighbours in order."""
    places = list(places)
    if places and places == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[0] + len(places))
    return np.array(places, dtype=np.intp)


def _bytes_at(places: Sequence[int]) -> Callable[[bytes], bytes]:
    """A function that takes the bytes at ``places``, which rise."""
    steps = {after - before for before, after in itertools.pairwise(places)} or {1}
    if len(steps) == 1:
        return operator.itemgetter(slice(places[0], places[-1] + 1, steps.pop()))
    several = operator.itemgetter(*places)
    return lambda data: bytes(several(data))
