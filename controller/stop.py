"""How a run is asked to stop: a flag that signals, other threads or tests set."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from ..hardware.clock import Clock, RealClock

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
def stop_on_signals(flag: StopFlag, clock: Clock | None = None) -> Iterator[None]:
    """While this holds, SIGINT, SIGTERM and SIGHUP set ``flag``; handlers are restored after.

    A signal that comes within ``ECHO`` of the first asks for nothing more. Outside the main
    thread, where Python allows no handlers, nothing is done.

    Args:
        flag: is set.
        clock: tells when signals come; the machine's if None.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    clock = clock or RealClock()
    first: list[float] = []

    def request(number: int, _: FrameType | None) -> None:
        if first and clock.now() - first[0] < ECHO:
            return
        first.append(clock.now())
        flag.request(signal.Signals(number).name)

    previous = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
