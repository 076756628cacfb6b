"""Real-time requests: what is refused is said, what is granted is undone."""

from __future__ import annotations

import ctypes
import gc
import os
import threading

import pytest
from retort.controller import StopFlag
from retort.controller.realtime import quiet_gc, realtime
from retort.controller.stop import stop_on_signals


def test_whatever_is_granted_is_undone() -> None:
    before = os.sched_getscheduler(0)
    files = len(os.listdir("/proc/self/fd"))
    with realtime(10) as refused:
        if not any("priority" in sentence for sentence in refused):
            assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == before
    assert len(os.listdir("/proc/self/fd")) == files


def test_each_refusal_is_a_sentence_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    class Libc:
        mlockall = staticmethod(lambda flags: -1)

    monkeypatch.setattr(os, "sched_setscheduler", denied)
    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(ctypes, "CDLL", lambda *arguments, **more: Libc)
    with realtime() as refused:
        pass
    assert len(refused) == 3
    for sentence, words in zip(
        refused, ("may sleep deeply", "memory is not locked", "no real-time priority"), strict=True
    ):
        assert words in sentence
        assert "as root" in sentence


def test_the_collector_is_left_as_it_was() -> None:
    gc.disable()
    try:
        with quiet_gc():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
    with quiet_gc():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen = []

    def work() -> None:
        with stop_on_signals(StopFlag()):
            seen.append("ran")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["ran"]


def test_the_first_reason_is_kept() -> None:
    flag = StopFlag()
    flag.request("SIGTERM")
    flag.request("SIGINT")
    assert (flag.requests, flag.reason) == (2, "SIGTERM")
