"""How a run is asked to stop: a flag that signals, other threads or tests set."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ECHO = 0.05  # [s] in which a signal is one with that before: `timeout` signals process and group


class StopFlag:
    """Requests to stop. The first asks for a damped stop, the second for no torque at once."""

    def __init__(self) -> None:
        self.requests = 0
        self.reason = ""

    def request(self, reason: str) -> None:
        """Ask for a stop; ``reason`` ends up in the result."""
        self.requests += 1
        self.reason = self.reason or reason


@contextlib.contextmanager
def stop_on_signals(flag: StopFlag, now: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """While this holds, SIGINT, SIGTERM and SIGHUP set ``flag``; handlers are restored after.

    A signal that comes within ``ECHO`` of the first asks for nothing more. Outside the main
    thread, where Python allows no handlers, nothing is done.

    Args:
        flag: is set.
        now: time [s].
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def request(number: int, _: FrameType | None) -> None:
        if first and now() - first[0] < ECHO:
            return
        first.append(now())
        flag.request(signal.Signals(number).name)

    previous = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
