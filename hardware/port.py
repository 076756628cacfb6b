"""A byte pipe to one line. The only place that waits for bytes."""

from __future__ import annotations

from typing import Protocol


class Port(Protocol):
    """A half-duplex serial line as the host sees it."""

    baud: int

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the line.

        Raises:
            PortError: the port has gone away.
        """
        ...

    def read(self, size: int, deadline: float) -> bytes:
        """Up to ``size`` bytes; returns when they are there or at ``deadline`` [s] with fewer.

        Raises:
            PortError: the port has gone away.
        """
        ...

    def discard(self) -> bytes:
        """Everything that has arrived unasked, removed from the input."""
        ...

    def close(self) -> None: ...
