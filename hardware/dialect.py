"""What there is to know of a protocol to ask a line on which nobody is known yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from .clock import Clock
from .dynamixel import codec as dynamixel
from .dynamixel.line import DynamixelLine
from .dynamixel.parser import StatusParser as DynamixelParser
from .feetech import codec as feetech
from .feetech.line import FeetechLine
from .feetech.parser import StatusParser as FeetechParser
from .line import Line, Status, StatusParser
from .model_table import ModelTable, load_model, model_names
from .port import Port
from .robot import BAUDS

_VERSION = 5  # bytes from address 0 on that tell a Feetech servo's firmware and model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialect:
    """One protocol.

    Attributes:
        protocol: its name, as in robot.toml.
        bauds: every rate a device can be set to [bit/s].
        ids: every id a device can have.
        line: opens a line.
        ping: the packet that asks one device what it is.
        read: the packet that asks one device for ``length`` bytes from ``address``.
        status: a device's answer, to know its length.
        parser: for answers of so many data bytes.
        answer: data bytes in the answer to a ping.
        identity: model number and firmware in the answer to a ping.
        spoken: bytes from address 0 on that every device has.
        broadcast: a packet that every device answers in its turn, and for how long [s]; None: the
            protocol has none whose answers do not collide.
    """

    protocol: str
    bauds: tuple[int, ...]
    ids: range
    line: Callable[[Port, Clock, None, bool], Line]
    ping: Callable[[int], bytes]
    read: Callable[[int, int, int], bytes]
    status: Callable[[int, int, bytes], bytes]
    parser: Callable[[int], StatusParser]
    answer: int
    identity: Callable[[bytes], tuple[int, str]]
    spoken: int
    broadcast: tuple[bytes, float] | None = None

    def tables(self, number: int) -> list[ModelTable]:
        """The tables of the models that report ``number``."""
        tables = [load_model(name) for name in model_names()]
        return [t for t in tables if t.protocol == self.protocol and t.number == number]

    def length(self, data: int) -> int:
        """Bytes of an answer with ``data`` bytes of data."""
        return len(self.status(0, 0, bytes(data)))


DIALECTS: dict[str, Dialect] = {
    "dynamixel2": Dialect(
        protocol="dynamixel2",
        bauds=BAUDS["dynamixel2"],
        ids=range(253),
        line=DynamixelLine,
        ping=dynamixel.ping,
        read=dynamixel.read,
        status=dynamixel.status,
        parser=lambda length: DynamixelParser(longest=length),
        answer=3,
        identity=lambda data: (data[0] | data[1] << 8, str(data[2])),
        spoken=13,
        # A device waits 3 ms per id for its turn.
        broadcast=(dynamixel.ping(dynamixel.BROADCAST), 253 * 3e-3),
    ),
    "feetech": Dialect(
        protocol="feetech",
        bauds=BAUDS["feetech"],
        ids=range(254),
        line=FeetechLine,
        # A ping's own answer is empty, and an adapter's echo looks like it.
        ping=lambda id: feetech.read(id, 0, _VERSION),
        read=feetech.read,
        status=feetech.status,
        parser=FeetechParser,
        answer=_VERSION,
        identity=lambda data: (data[3] | data[4] << 8, f"{data[0]}.{data[1]}"),
        spoken=8,
    ),
}


@dataclasses.dataclass(frozen=True)
class Heard:
    """What came back."""

    answers: Sequence[Status]
    strays: int  # bytes of no intact answer


class Listener:
    """Asks, and keeps all that comes back, damaged or not.

    Args:
        dialect: how to ask.
        port, clock: where.
        echo: the adapter gives back every byte the host sends.
    """

    def __init__(self, dialect: Dialect, port: Port, clock: Clock, echo: bool = False) -> None:
        self.dialect = dialect
        self.line = dialect.line(port, clock, None, echo)

    def hear(self, packet: bytes, data: int, patience: float, tail: float) -> Heard:
        """Send ``packet`` and listen.

        Args:
            packet: for one device or all.
            data: bytes of data in an answer.
            patience: beyond the wire's own time, until the first answer is there [s].
            tail: after it, for what a second device has to say [s].
        """
        line, size = self.line, self.dialect.length(data)
        line.drain()
        line.send(packet)
        heard = line.receive(size, line.clock.now() + line.wire_time(len(packet) + size) + patience)
        if len(heard) >= size:
            heard += line.receive(4 * size, line.clock.now() + line.wire_time(size) + tail)
        return self.sort(heard, data)

    def sort(self, heard: bytes, data: int) -> Heard:
        """Answers of ``data`` bytes of data among ``heard``, and the rest."""
        parser = self.dialect.parser(data)
        answers = [*parser.feed(heard), *parser.flush()]
        intact = sum(len(self.dialect.status(a.id, a.error, a.data)) for a in answers)
        return Heard(answers, max(0, len(heard) - intact))
