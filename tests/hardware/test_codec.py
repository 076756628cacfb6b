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
        (codec.ping(codec.BROADCAST), "FFFFFD00 FE 0300 01 3142"),
        (codec.fast_sync_read([3, 7, 4], 132, 4), "FFFFFD00 FE 0A00 8A 8400 0400 030704 20F2"),
        (codec.backup(1, codec.Backup.STORE), "FFFFFD00 01 0800 20 01 4354524C 16F5"),
        (codec.reg_write(1, 104, b"\xc8\0\0\0"), "FFFFFD00 01 0900 04 6800 C8000000 AE8E"),
        (codec.action(1), "FFFFFD00 01 0300 05 02CE"),
        (codec.factory_reset(1, codec.Reset.ALL_BUT_ID), "FFFFFD00 01 0400 06 01 A1E6"),
        (codec.clear_turns(1), "FFFFFD00 01 0800 10 01 44584C22 B1DC"),
        (
            codec.bulk_read([(1, 144, 2), (2, 146, 1)]),
            "FFFFFD00 FE 0D00 92 01 9000 0200 02 9200 0100 1A05",
        ),
        (
            codec.bulk_write([(1, 32, b"\xa0\0"), (2, 31, b"\x50")]),
            "FFFFFD00 FE 1000 93 01 2000 0200 A000 02 1F00 0100 50 B768",
        ),
        (codec.status(1, 0, b"\xa6\0\0\0"), "FFFFFD00 01 0800 55 00 A6000000 8CC0"),
    ],
)
def test_frames_are_those_of_the_manual(frame, expected):
    assert frame == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        (
            ((3, "A6000000"), (7, "1F080000"), (4, "FF030000")),
            "FFFFFD00 FE 1900 55 0003A60000008408 00071F08000016CA 0004FF030000D19E",
        ),
        (
            ((3, "A6000000"), (7, "A501"), (4, "1F")),
            "FFFFFD00 FE 1400 55 0003A600000067A4 0007A5012474 00041FD9C1",
        ),
    ],
)
def test_blocks_of_a_fast_read_carry_cumulative_crcs(blocks, expected):
    out = codec.fast_bulk_status_head([len(bytes.fromhex(data)) for _, data in blocks])
    crc = codec.crc16(out)
    for id, data in blocks:
        block, crc = codec.fast_status_block(id, 0, bytes.fromhex(data), crc)
        out += block
    assert out == bytes.fromhex(expected)


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
