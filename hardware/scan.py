"""What is on a line of which nothing is known: every baud rate, protocol and id is asked.

Nothing is written to any device. Ids are asked in a sweep that waits for each answer no longer than
the wire takes, so that an adapter's delay costs once per baud rate instead of once per id; whoever
answered, and every id near bytes that nobody can read, is then looked at alone (``examine``).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from .clock import Clock
from .dialect import DIALECTS, Dialect, Listener
from .errors import PortError
from .examine import Found, examine
from .line import PATIENCE
from .port import Port

SLOT = 2e-3  # [s] per id beyond the wire's time: the longest return delay, and an adapter's frames
BLURRED = 0.04  # [s] bytes nobody can read may answer a question asked this long before
MANY = 32  # ids from which on a broadcast is worth its time
_LIMIT = 100_000  # [bytes] at once


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a scan is."""

    baud: int  # [bit/s]
    protocol: str
    id: int  # being asked
    share: float  # of the whole scan, 0 to 1
    found: int  # devices so far


@dataclasses.dataclass(frozen=True)
class Scan:
    """What was found.

    Attributes:
        devices: in the order found.
        skipped: baud rates the port cannot be opened at, and why.
        echo: the adapter gives back every byte the host sends.
    """

    devices: tuple[Found, ...]
    skipped: tuple[tuple[int, str], ...] = ()
    echo: bool = False


def baud_rates(protocols: Iterable[str] = tuple(DIALECTS)) -> tuple[int, ...]:
    """Every rate devices of ``protocols`` can be set to, the usual ones first."""
    return tuple(dict.fromkeys(baud for name in protocols for baud in DIALECTS[name].bauds))


def scan(
    open_port: Callable[[int], Port],
    clock: Clock,
    *,
    bauds: Sequence[int] = (),
    protocols: Sequence[str] = tuple(DIALECTS),
    ids: Sequence[int] = (),
    found: Callable[[Found], None] = lambda _: None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Scan:
    """Ask a whole line.

    Args:
        open_port: opens it at a baud rate; it is closed again before the next.
        clock: the port's time.
        bauds: to ask at [bit/s]; all that ``protocols`` know if none is given.
        protocols: to ask in.
        ids: to ask for; all if none is given.
        found: told of every device as it is found.
        progress: told as the scan goes on.

    Raises:
        PortError: the port cannot be opened at any baud rate, or has gone away.
    """
    steps = [
        (baud, [DIALECTS[name] for name in protocols if bauds or baud in DIALECTS[name].bauds])
        for baud in bauds or baud_rates(protocols)
    ]
    total, done = sum(len(dialects) for _, dialects in steps), 0
    devices: list[Found] = []
    skipped: list[tuple[int, PortError]] = []
    echo: bool | None = None

    def tell(baud: int, dialect: Dialect, before: int, id: int, part: float) -> None:
        share = (before + part) / total
        progress(Progress(baud, dialect.protocol, id, share, len(devices)))

    for baud, dialects in steps:
        try:
            port = open_port(baud)
        except PortError as error:
            skipped.append((baud, error))
            done += len(dialects)
            continue
        try:
            for dialect in dialects:
                if echo is None:
                    echo = _echoes(dialect, port, clock)
                wanted = [id for id in ids or dialect.ids if id in dialect.ids]
                sweep = _Sweep(dialect, port, clock, echo, partial(tell, baud, dialect, done))
                listener = Listener(dialect, port, clock, echo)
                for id in sweep.run(wanted):
                    device = examine(listener, id)
                    if device is not None:
                        devices.append(device)
                        found(device)
                done += 1
        finally:
            port.close()
    if skipped and len(skipped) == len(steps):
        raise skipped[0][1]
    return Scan(tuple(devices), tuple((baud, str(error)) for baud, error in skipped), echo is True)


class _Sweep:
    """One protocol at one baud rate.

    Args:
        dialect, port, clock: how and where to ask.
        echo: the adapter gives back every byte the host sends; no parser takes that for an answer.
        tell: told the id being asked and the share of the sweep that is done.
    """

    def __init__(
        self,
        dialect: Dialect,
        port: Port,
        clock: Clock,
        echo: bool,
        tell: Callable[[int, float], None],
    ) -> None:
        self._listener = Listener(dialect, port, clock)
        self._echo = echo
        self._tell = tell

    def run(self, ids: Sequence[int]) -> list[int]:
        """Those of ``ids`` at which something is or may be."""
        found = self._broadcast(ids) if len(ids) >= MANY else set()
        found |= self._one_by_one([id for id in ids if id not in found])
        return sorted(found & set(ids))

    def _broadcast(self, ids: Sequence[int]) -> set[int]:
        """Who answers when all are asked at once."""
        dialect, line = self._listener.dialect, self._listener.line
        if dialect.broadcast is None:
            return set()
        self._tell(ids[0], 0.0)
        packet, seconds = dialect.broadcast
        line.drain()
        line.send(packet)
        wire = line.wire_time(len(packet) + 2 * dialect.length(dialect.answer))
        heard = line.receive(_LIMIT, line.clock.now() + wire + seconds + PATIENCE)
        return {answer.id for answer in self._listener.sort(heard, dialect.answer).answers}

    def _one_by_one(self, ids: Sequence[int]) -> set[int]:
        """Who answers, and who was asked shortly before bytes came that nobody can read."""
        dialect, line = self._listener.dialect, self._listener.line
        size, packet_size = dialect.length(dialect.answer), len(dialect.ping(0))
        slot = line.wire_time(packet_size + size) + SLOT
        found: set[int] = set()
        asked: deque[tuple[float, int]] = deque()
        parser = dialect.parser(dialect.answer)
        unread, unread_since = 0, 0.0  # bytes of no intact answer yet; [s]
        line.drain()
        for place, id in enumerate([*ids, None]):
            now = line.clock.now()
            if id is None:
                data = line.receive(_LIMIT, now + PATIENCE)
                answers = [*parser.feed(data), *parser.flush()]
            else:
                if place % 8 == 0:
                    self._tell(id, place / len(ids))
                asked.append((now, id))
                line.send(dialect.ping(id))
                data = line.receive(_LIMIT, now + slot)
                answers = parser.feed(data)
                unread -= packet_size if self._echo else 0
            found |= {answer.id for answer in answers}
            if unread <= 0:
                unread_since = now
            unread += len(data) - size * len(answers)
            if unread > 0 and (id is None or now - unread_since > BLURRED):
                found |= {i for at, i in asked if at >= unread_since - BLURRED}
                unread = 0
            while asked and asked[0][0] < now - 3 * BLURRED:
                asked.popleft()
        return found


def _echoes(dialect: Dialect, port: Port, clock: Clock) -> bool:
    """Whether the adapter gives back what is sent."""
    line = dialect.line(port, clock, None, False)
    packet = dialect.ping(dialect.ids[-1])
    line.drain()
    line.send(packet)
    heard = line.receive(len(packet), clock.now() + line.wire_time(2 * len(packet)) + PATIENCE)
    return heard == packet
