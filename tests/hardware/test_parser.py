"""The status parser delivers what is intact, whatever surrounds it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.parser import MAX_LENGTH, InstructionParser, StatusParser

LENGTH = 6
noise = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from(list(codec.HEADER)), max_size=30).map(bytes),
)
answer = st.tuples(
    st.integers(0, 252), st.integers(0, 255), st.binary(min_size=LENGTH, max_size=LENGTH)
)
answers = st.lists(answer, min_size=1, max_size=5)


def fast_frame(blocks) -> bytes:
    out = codec.fast_status_head(len(blocks), LENGTH)
    crc = codec.crc16(out)
    for block in blocks:
        data, crc = codec.fast_status_block(*block, crc)
        out += data
    return out


def feed_in_pieces(parser, data: bytes, cuts) -> list:
    got, at = [], 0
    for cut in sorted(cut % (len(data) + 1) for cut in cuts):
        got += parser.feed(data[at:cut])
        at = max(at, cut)
    return got + parser.feed(data[at:])


@given(answers, st.lists(st.integers(0, 10_000), max_size=8))
def test_pieces_of_any_size_give_the_same_answers(sent, cuts):
    plain = b"".join(codec.status(*one) for one in sent)
    assert feed_in_pieces(StatusParser(), plain, cuts) == sent
    assert feed_in_pieces(StatusParser(LENGTH), fast_frame(sent), cuts) == sent


@given(st.lists(st.binary(max_size=80), max_size=10), st.integers(0, 8))
def test_garbage_never_raises(pieces, length):
    for parser in (StatusParser(length), InstructionParser()):
        for piece in pieces:
            parser.feed(piece)
    assert StatusParser(length).flush() == []


@given(noise, answer)
def test_an_answer_behind_noise_is_found(before, sent):
    parser = StatusParser()
    # A header in the noise may claim the answer's bytes; giving it up sets them free.
    assert sent in parser.feed(before + codec.status(*sent)) + parser.flush()


@given(answers, st.data())
def test_fast_sync_read_delivers_every_block_before_the_first_damaged_byte(sent, data):
    frame = bytearray(fast_frame(sent))
    at = data.draw(st.integers(8, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    intact = (at - 8) // (LENGTH + 4)
    parser = StatusParser(LENGTH)
    assert parser.feed(bytes(frame)) == sent[:intact]
    assert parser.damaged >= 1


@given(answers, st.data())
def test_fast_sync_read_cut_short_delivers_its_prefix_at_once(sent, data):
    frame = fast_frame(sent)
    end = data.draw(st.integers(0, len(frame) - 1))
    parser = StatusParser(LENGTH)
    assert parser.feed(frame[:end]) == sent[: max(0, end - 8) // (LENGTH + 4)]
    assert parser.flush() == []


def test_a_damaged_length_does_not_hide_the_answer_behind_it_from_flush():
    damaged = bytearray(codec.status(1, 0, b"abc"))
    damaged[5] = 200
    parser = StatusParser()
    assert parser.feed(bytes(damaged) + codec.status(2, 0, b"xyz")) == []
    assert parser.flush() == [(2, 0, b"xyz")]


def test_the_hosts_own_echo_is_passed_over():
    echo = codec.read(1, 132, 4)
    assert StatusParser().feed(echo + codec.status(1, 0, b"1234")) == [(1, 0, b"1234")]


def test_an_unbelievable_length_is_not_waited_for():
    claim = codec.HEADER + bytes((1, 0xFF, 0xFF, 0x55))
    assert MAX_LENGTH < 0xFFFF
    assert StatusParser().feed(claim + codec.status(2, 0, b"")) == [(2, 0, b"")]


def test_needs_counts_down_to_a_whole_answer():
    frame, parser = codec.status(1, 0, b"123456"), StatusParser()
    parser.feed(frame[:9])
    assert parser.needs == len(frame) - 9


def test_reset_forgets_a_half_packet():
    parser = StatusParser(LENGTH)
    sent = [(1, 0, b"abcdef"), (2, 0, b"ghijkl")]
    parser.feed(fast_frame(sent)[:20])
    parser.reset()
    assert parser.feed(fast_frame(sent)) == sent


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 8), answers, st.data())
def test_intact_answers_behind_any_damage_are_delivered(noise, at, lost, behind, data):
    """Noise, or an answer damaged, cut short or lengthened; plain and fast, in pieces."""
    fast = data.draw(st.booleans())
    first, second = fast_frame([(1, 0, b"damage")]), fast_frame(behind)
    if not fast:
        first = codec.status(1, 0, b"damage")
        second = b"".join(codec.status(*one) for one in behind)
    stream = first[:at] + noise + first[at + lost :] + second
    parser = StatusParser(LENGTH if fast else 0)
    got = feed_in_pieces(parser, stream, data.draw(st.lists(st.integers(0, 300), max_size=4)))
    got += parser.flush()
    assert got[len(got) - len(behind) :] == behind


@given(st.binary(min_size=1, max_size=8), st.data())
def test_a_burst_of_sixteen_bits_is_always_noticed(payload, data):
    """In the contents, in the order the checksum takes bits."""
    frame = codec.status(3, 0, payload)
    bits = int.from_bytes(frame, "big")
    pattern = data.draw(st.integers(1, 0xFFFF))
    shift = data.draw(st.integers(16, 8 * (len(frame) - 8) - 1)) if len(frame) > 10 else 16
    damaged = (bits ^ pattern << shift).to_bytes(len(frame), "big")
    if damaged[:8] == frame[:8]:
        assert StatusParser().feed(damaged) == []


def test_a_packet_that_lost_its_last_byte_does_not_take_the_next_ones_first():
    """The checksum happens to end with FF, as the next header begins."""
    sent = next(
        (id, 0, bytes(LENGTH))
        for id in range(253)
        if codec.status(id, 0, bytes(LENGTH))[-1] == 0xFF
    )
    behind = (7, 0, b"behind")
    parser = StatusParser()
    stream = codec.status(*sent)[:-1] + codec.status(*behind)
    assert behind in parser.feed(stream) + parser.flush()


def test_a_fast_status_of_a_length_nobody_asked_for_is_damage():
    sent = [(1, 0, b"abcdef"), (2, 0, b"ghijkl")]
    assert StatusParser(fast_lengths=[(6, 6)]).feed(fast_frame(sent)) == sent
    for lengths in ((6, 6, 6), (6,), (6, 7)):
        parser = StatusParser(fast_lengths=[lengths])
        assert parser.feed(fast_frame(sent)) + parser.flush() == []
        assert parser.damaged >= 1


def test_blocks_of_a_bulk_read_have_lengths_of_their_own():
    head = codec.fast_bulk_status_head([2, 5])
    first, crc = codec.fast_status_block(1, 0, b"ab", codec.crc16(head))
    second, _ = codec.fast_status_block(2, 0, b"cdefg", crc)
    parser = StatusParser(fast_lengths=[(2, 5), (3, 6)])
    assert parser.feed(head + first + second) == [(1, 0, b"ab"), (2, 0, b"cdefg")]


@given(st.integers(0, 40))
def test_no_more_bytes_are_believed_than_were_asked_for(longest):
    """A stuffed answer of the longest data passes; a length beyond it is not waited for."""
    data = (b"\xff\xff\xfd" * 14)[:longest]
    assert StatusParser(longest=longest).feed(codec.status(1, 0, data)) == [(1, 0, data)]
    parser = StatusParser(longest=longest)
    claim = codec.status(1, 0, bytes(2 * longest + 8))[:9]
    assert parser.feed(claim + codec.status(2, 0, b"")) == [(2, 0, b"")]
