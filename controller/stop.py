"""How a run is asked to stop: a flag that signals, other threads or tests set."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
def stop_on_signals(flag: StopFlag) -> Iterator[None]:
    """While this holds, SIGINT, SIGTERM and SIGHUP set ``flag``; handlers are restored after.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {
        number: signal.signal(number, lambda got, _: flag.request(signal.Signals(got).name))
        for number in SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
