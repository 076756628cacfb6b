"""Real-time behaviour of this process: priority, locked memory, awake processor, silent garbage
collector. Everything is asked for, nothing is required, and what was not granted is said."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import struct
from collections.abc import Iterator

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_DMA_LATENCY = "/dev/cpu_dma_latency"


@contextlib.contextmanager
def realtime(priority: int = 50) -> Iterator[tuple[str, ...]]:
    """Ask for SCHED_FIFO at ``priority``, locked memory and a processor kept out of deep sleep.

    Yields one sentence for each thing that was not granted. Everything is undone afterwards.
    Children do not inherit the priority.
    """
    refused: list[str] = []
    with contextlib.ExitStack() as undo:
        for ask, *arguments in ((_hold_dma_latency,), (_lock_memory,), (_raise_priority, priority)):
            try:
                ask(undo, *arguments)
            except OSError as error:
                refused.append(str(error))
        yield tuple(refused)


@contextlib.contextmanager
def quiet_gc() -> Iterator[None]:
    """No garbage collection meanwhile; what exists now is never looked at again until the end."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


def _raise_priority(undo: contextlib.ExitStack, priority: int) -> None:
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        raise OSError(
            f"no real-time priority ({error.strerror}): run as root or give this user an rtprio "
            "limit in /etc/security/limits.conf; expect late ticks on a busy computer"
        ) from error
    undo.callback(_ignoring_errors, os.sched_setscheduler, 0, policy, param)


def _lock_memory(undo: contextlib.ExitStack) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # With a finite limit, locking future pages would let later allocations fail mid-run.
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    flags = _MCL_CURRENT | (_MCL_FUTURE if unlimited or os.geteuid() == 0 else 0)
    # What is in memory stays there; a mapped library's unused gigabyte is not fetched for it.
    flags |= _MCL_ONFAULT
    if libc.mlockall(flags) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise OSError(
            f"memory is not locked ({reason}): run as root or raise this user's memlock limit; a "
            "swapped-out page can delay a tick"
        )
    undo.callback(libc.munlockall)


def _hold_dma_latency(undo: contextlib.ExitStack) -> None:
    try:
        file = os.open(_DMA_LATENCY, os.O_WRONLY)
    except OSError as error:
        raise OSError(
            f"the processor may sleep deeply between ticks ({_DMA_LATENCY}: {error.strerror}): run "
            "as root for smaller lateness"
        ) from error
    undo.callback(os.close, file)
    os.write(file, struct.pack("i", 0))


def _ignoring_errors(function: object, *arguments: object) -> None:
    with contextlib.suppress(OSError):
        function(*arguments)  # type: ignore[operator]
