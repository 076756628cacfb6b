"""Feetech frames and the way back: vectors, and whatever a line may bring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware.feetech import codec
from retort.hardware.feetech.parser import InstructionParser, Packet, Status, StatusParser

LENGTH = 6
noise = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from([0xFF, 0x01, 0x08, 0x00]), max_size=40).map(bytes),
)
answer = st.builds(
    Status,
    st.integers(0, 253),
    st.integers(0, 255),
    st.binary(min_size=LENGTH, max_size=LENGTH),
)
answers = st.lists(answer, min_size=1, max_size=5)


def wire(sent: list[Status]) -> bytes:
    return b"".join(codec.status(*one) for one in sent)


@pytest.mark.parametrize(
    ("frame", "vector"),
    [
        (
            codec.sync_write(0x2A, [(1, b"\x00\x08"), (2, b"\x00\x08")]),
            "FFFF FE 0A 83 2A02 01 0008 02 0008 35",
        ),
        (codec.sync_read([1, 2], 0x38, 2), "FFFF FE 06 82 3802 01 02 3C"),
        (codec.ping(1), "FFFF 01 02 01 FB"),
        (codec.read(1, 0x38, 2), "FFFF 01 04 02 3802 BE"),
        (codec.write(1, 0x28, b"\x01"), "FFFF 01 04 03 2801 CE"),
        (codec.reg_write(1, 0x2A, b"\x00\x08"), "FFFF 01 05 04 2A0008 C3"),
        (codec.action(), "FFFF FE 02 05 FA"),
        (codec.status(1, 0), "FFFF 01 02 00 FC"),
    ],
)
def test_frames_are_those_of_the_manual(frame, vector):
    assert frame == bytes.fromhex(vector)


def test_a_frame_too_long_for_its_length_byte_is_refused():
    assert len(codec.write(1, 0, bytes(252))) == 259
    with pytest.raises(ValueError, match="split it"):
        codec.write(1, 0, bytes(253))


def test_errors_are_said_in_words():
    assert codec.error_text(codec.Error.OVERLOAD | codec.Error.VOLTAGE) == (
        "supply voltage outside its limits, overload"
    )


@given(st.integers(0, 253), st.sampled_from(codec.Instruction), st.binary(max_size=60))
def test_a_device_hears_what_the_host_says(id, instruction, parameters):
    parser = InstructionParser()
    assert parser.feed(codec.frame(id, instruction, parameters)) == [
        Packet(id, instruction, parameters)
    ]


@given(
    answers,
    st.lists(st.integers(0, 10_000), max_size=8),
    st.sampled_from([(), (LENGTH,), (LENGTH, LENGTH + 1)]),
)
def test_pieces_of_any_size_give_the_same_answers(sent, cuts, lengths):
    data, whole, parser = wire(sent), StatusParser(*lengths), StatusParser(*lengths)
    got, at = [], 0
    for cut in sorted(cut % (len(data) + 1) for cut in cuts):
        got += parser.feed(data[at:cut])
        at = max(at, cut)
    got += parser.feed(data[at:]) + parser.flush()
    assert got == whole.feed(data) + whole.flush()
    assert [one for one in got if one in sent] != []
    assert all(one in got for one in sent)


@given(st.lists(st.binary(max_size=80), max_size=10), st.sampled_from([(), (0,), (2,), (15, 16)]))
def test_garbage_never_raises(pieces, lengths):
    for parser in (StatusParser(*lengths), InstructionParser()):
        for piece in pieces:
            parser.feed(piece)
    parser = StatusParser(*lengths)
    parser.feed(b"".join(pieces))
    parser.flush()
    data = bytes(min(lengths, default=0))
    assert parser.feed(codec.status(1, 0, data)) == [(1, 0, data)]


@given(noise, answers, st.sampled_from([(), (LENGTH,), (LENGTH, LENGTH + 1)]))
def test_every_answer_behind_noise_is_found(before, sent, lengths):
    parser = StatusParser(*lengths)
    got = parser.feed(before + wire(sent)) + parser.flush()
    remaining = iter(got)
    assert all(any(one == other for other in remaining) for one in sent)  # in order


@given(answers, st.data())
def test_every_answer_behind_a_damaged_one_is_found(sent, data):
    frame = bytearray(codec.status(7, 0, bytes(LENGTH)))
    for _ in range(data.draw(st.integers(1, 5))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    parser = StatusParser()
    got = iter(parser.feed(bytes(frame) + wire(sent)) + parser.flush())
    assert all(any(one == other for other in got) for one in sent)


@given(noise, st.integers(0, 253), st.binary(min_size=1, max_size=8))
def test_a_device_hears_what_follows_noise_and_a_pause(before, id, parameters):
    parser = InstructionParser()
    parser.feed(before)
    parser = InstructionParser()  # a pause: the responder forgets
    assert parser.feed(codec.write(id, 0, parameters)) == [Packet(id, 3, b"\0" + parameters)]


def test_a_damaged_length_hides_nothing_from_flush():
    damaged = bytearray(codec.status(1, 0, b"abc"))
    damaged[3] = 200
    parser = StatusParser()
    assert parser.feed(bytes(damaged) + codec.status(2, 0, b"xyz")) == []
    assert parser.flush() == [(2, 0, b"xyz")]


def test_a_length_that_was_not_asked_for_is_not_waited_for():
    damaged = bytearray(codec.status(1, 0, b"abc"))
    damaged[3] = 200
    parser = StatusParser(3)
    assert parser.feed(bytes(damaged) + codec.status(2, 0, b"xyz")) == [(2, 0, b"xyz")]


def test_a_false_frame_over_a_frames_end_does_not_swallow_the_next():
    first = codec.status(1, 0, b"\xff\xff\x05\x0a\x00\x00")  # claims 7 bytes of what follows
    at = first.index(b"\xff\xff\x05")
    check = codec.checksum(first[at + 2 :] + b"\xff\xff\x02\x08\x00s")
    second = codec.status(2, 0, bytes((ord("s"), check)) + b"cond")
    parser = StatusParser()
    got = parser.feed(first[2:] + second)  # the first frame has lost its header
    got += parser.flush()
    assert [one.id for one in got] == [5, 2]
    assert got[1].data == second[5:-1]


def test_a_single_damaged_bit_is_always_noticed():
    frame = codec.status(3, 0, bytes(range(15)))
    for bit in range(16, 8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        parser = StatusParser(15)
        assert parser.feed(bytes(damaged)) + parser.flush() == []


def test_of_damage_in_several_bytes_one_in_256_passes():
    random, trials, accepted = np.random.default_rng(0), 20_000, 0
    frame = codec.status(3, 0, bytes(range(15)))
    parser = StatusParser(15)
    places = np.array([2, *range(4, len(frame))])  # all but header and length
    for _ in range(trials):
        damaged = bytearray(frame)
        for at in random.choice(places, random.integers(2, 6), replace=False):
            damaged[at] ^= int(random.integers(1, 256))
        parser.expect(15)
        accepted += bool(parser.feed(bytes(damaged)))
    sigma = np.sqrt(trials * (1 / 256) * (255 / 256))
    assert abs(accepted - trials / 256) < 4 * sigma


def test_needs_counts_down_to_a_whole_answer():
    frame, parser = codec.status(1, 0, b"123456"), StatusParser(6)
    assert parser.needs == len(frame)
    parser.feed(frame[:9])
    assert parser.needs == len(frame) - 9
    parser.feed(frame[9:])
    assert parser.needs == len(frame)


def test_what_was_fed_before_expect_is_forgotten():
    sent = [Status(1, 0, b"abcdef"), Status(2, 0, b"ghijkl")]
    parser = StatusParser(LENGTH)
    parser.feed(wire(sent)[:20])
    parser.expect(LENGTH)
    assert parser.feed(wire(sent)) == sent
