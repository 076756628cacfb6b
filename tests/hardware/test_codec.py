"""Frames as the manufacturer's manual computes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.parser import InstructionParser, StatusParser

tricky = st.lists(st.sampled_from([0xFF, 0xFD, 0xFE, 0x00, 0x55]), max_size=40).map(bytes)
payload = st.one_of(st.binary(max_size=60), tricky)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (codec.ping(1), "FFFFFD00 01 0300 01 194E"),
        (codec.status(1, 0, bytes.fromhex("060426")), "FFFFFD00 01 0700 55 00 0604 26 655D"),
        (codec.read(1, 132, 4), "FFFFFD00 01 0700 02 8400 0400 1D15"),
        (codec.sync_read([1, 2], 132, 4), "FFFFFD00 FE 0900 82 8400 0400 01 02 CEFA"),
        # e-manual, Protocol 2.0: write 512 to goal position, sync write of 150 and 170, reboot
        (
            codec.write(1, 116, (512).to_bytes(4, "little")),
            "FFFFFD00 01 0900 03 7400 00020000 CA89",
        ),
        (
            codec.sync_write(116, [(1, (150).to_bytes(4, "little")), (2, b"\xaa\0\0\0")]),
            "FFFFFD00 FE 1100 83 7400 0400 01 96000000 02 AA000000 8287",
        ),
        (codec.reboot(1), "FFFFFD00 01 0300 08 2F4E"),
    ],
)
def test_frames_are_those_of_the_manual(frame, expected):
    assert frame == bytes.fromhex(expected)


def test_fast_sync_read_blocks_carry_cumulative_crcs():
    out = codec.fast_status_head(3, 4)
    crc = codec.crc16(out)
    for id, data in ((3, "A6000000"), (7, "1F080000"), (4, "FF030000")):
        block, crc = codec.fast_status_block(id, 0, bytes.fromhex(data), crc)
        out += block
    assert out == bytes.fromhex(
        "FFFFFD00 FE 1900 55 0003A60000008408 00071F08000016CA 0004FF030000D19E"
    )


@given(payload)
def test_stuffing_is_undone(body):
    assert codec.unstuff(codec.stuff(body)) == body


@given(payload)
def test_no_header_stands_inside_a_stuffed_packet(parameters):
    assert codec.HEADER not in codec.frame(1, 3, parameters)[4:-2]


@given(st.integers(0, 252), st.integers(0, 255), payload)
def test_statuses_survive_the_way_there_and_back(id, error, data):
    assert StatusParser().feed(codec.status(id, error, data)) == [(id, error, data)]


@given(st.integers(0, 252), payload)
def test_instructions_survive_the_way_there_and_back(id, parameters):
    packet = codec.frame(id, codec.Instruction.WRITE, parameters)
    assert InstructionParser().feed(packet) == [(id, codec.Instruction.WRITE, parameters)]
