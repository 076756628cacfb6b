"""Every fault that befalls answers does what it is called, as often as it counts."""

from __future__ import annotations

import pytest
from retort.hardware.dynamixel import codec
from retort.hardware.virtual.faults import (
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    Garbage,
    Merge,
    Silence,
    Truncate,
)

BYTE = 1e-5  # [s] at 1 Mbit/s
PING = 14  # bytes of a ping's answer
COUNTS = {
    Drop: "dropped",
    Corrupt: "corrupted",
    Truncate: "truncated",
    Duplicate: "duplicated",
    Garbage: "garbage",
}


@pytest.mark.parametrize("kind", [Drop, Corrupt, Truncate])
def test_answers_are_lost_as_often_as_counted(asker, kind):
    host = asker([kind(rate=0.2)], seed=3)
    lost = host.pings(300).count(False)
    assert lost == getattr(host.virtual.fault_counts, COUNTS[kind])
    assert 30 <= lost <= 90


@pytest.mark.parametrize("kind", [Duplicate, Garbage])
def test_answers_survive_company(asker, kind):
    host = asker([kind(rate=0.5)], seed=3)
    assert all(host.pings(100))
    longer = sum(len(data) > PING for data in host.bytes)
    assert longer == getattr(host.virtual.fault_counts, COUNTS[kind])
    assert 30 <= longer <= 70


def test_a_duplicate_is_the_answer_twice(asker):
    first, second = asker([Duplicate()]).ask(codec.ping(1))
    assert first == second


def test_a_truncated_answer_is_its_beginning(asker):
    whole = asker().raw(codec.ping(1))
    for seed in range(10):
        piece = asker([Truncate()], seed).raw(codec.ping(1))
        assert 0 < len(piece) < len(whole)
        assert whole.startswith(piece)


def test_a_merged_answer_comes_in_one_piece_with_the_next(asker):
    host = asker([Merge(until=0.001)])
    host.port.write(codec.ping(1))
    assert host.port.read(PING, 0.002) == b""
    host.port.write(codec.ping(2))
    assert len(host.port.read(2 * PING, 1.0)) == 2 * PING
    assert host.clock.now() == pytest.approx(0.002 + (10 + PING) * BYTE)


def test_a_merged_answer_without_a_next_comes_when_the_adapter_gives_up(asker):
    host = asker([Merge()])
    host.port.write(codec.ping(1))
    assert len(host.port.read(PING, 1.0)) == PING
    assert host.clock.now() == pytest.approx((10 + PING) * BYTE + 0.016)


def test_a_late_answer_comes_late_and_whole(asker):
    host = asker([Delay(seconds=0.02)])
    host.port.write(codec.ping(1))
    assert len(host.port.read(PING, 1.0)) == PING
    assert host.clock.now() == pytest.approx(0.02 + (10 + PING) * BYTE)


def test_a_silent_device_neither_hears_nor_answers(asker):
    host = asker([Silence(device="left_wheel", at=0.1, until=0.2)])
    host.clock.sleep_until(0.1)
    assert host.ask(codec.write(1, 65, b"\x01")) == []
    assert host.virtual.servos[0].registers["led"] == 0
    host.clock.sleep_until(0.2)
    assert host.ask(codec.ping(1))
    assert host.virtual.fault_counts.silenced == 1


def test_a_fault_keeps_to_its_device_and_time(asker):
    host = asker([Drop(device="right_wheel", at=0.1, until=0.2)])
    heard = {id: [] for id in (1, 2)}
    for time in (0.05, 0.15, 0.25):
        host.clock.sleep_until(time)
        for id, answers in heard.items():
            answers.append(bool(host.ask(codec.ping(id))))
    assert heard == {1: [True, True, True], 2: [True, False, True]}


def test_garbage_never_stands_within_a_frame(asker):
    """The blocks of a fast sync read are one frame."""
    host = asker([Garbage()])
    data = host.raw(codec.fast_sync_read([10, 1, 2], 120, 27))
    whole = asker().raw(codec.fast_sync_read([10, 1, 2], 120, 27))
    assert data.endswith(whole)
    assert len(data) > len(whole)


@pytest.mark.parametrize("kind", [Drop, Truncate])
def test_a_device_behind_a_lost_answer_is_lost_with_it(asker, kind):
    host = asker([kind(device="left_wheel")])
    answers = host.ask(codec.sync_read([10, 1, 2], 120, 27))
    assert [answer.id for answer in answers] == [10]


def test_a_corrupt_answer_costs_nothing_behind_it(asker):
    host = asker([Corrupt(device="left_wheel")])
    answers = host.ask(codec.sync_read([10, 1, 2], 120, 27))
    assert [answer.id for answer in answers] == [10, 2]


def test_one_fault_more_leaves_the_chances_of_the_others(asker):
    alone = asker([Drop(rate=0.3)]).pings(100)
    host = asker([Drop(rate=0.3), Duplicate(rate=0.3)])
    assert host.pings(100) == alone


def test_two_runs_are_the_same_to_the_byte(asker):
    every = [
        *(Drop(rate=0.05), Corrupt(rate=0.05), Truncate(rate=0.05), Merge(rate=0.05)),
        *(Delay(rate=0.05, seconds=0.012), Duplicate(rate=0.05), Garbage(rate=0.05)),
    ]

    def run(seed: int) -> list[bytes]:
        host = asker(every, seed)
        for tick in range(150):
            host.clock.sleep_until(tick * 0.01)
            host.raw(codec.sync_read([10, 1, 2], 120, 27))
        return host.bytes

    assert run(1) == run(1)
    assert run(1) != run(2)
