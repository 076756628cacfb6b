"""The socket a served virtual robot takes commands on: one JSON object per line, and one answer.

``{"command": "hold", "device": "left_wheel"}`` is answered by ``{"ok": true}``, or by
``{"ok": false, "error": "..."}`` with what there is instead. commands.py lists the commands.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import PortError
from .commands import ControlError, run_command
from .robot import VirtualRobot

LONGEST = 65_536  # [bytes] of a command, and of answers nobody takes


class ControlServer:
    """The socket's side of a served robot. It never waits: ``serve`` is called when there is cause.

    Args:
        virtual: the robot.
        path: where to make the socket; one left over from before is replaced.
        carried_out: called after every command, before its answer is given.

    Raises:
        PortError: it cannot be made, or something else has that name, another robot say.
    """

    def __init__(
        self, virtual: VirtualRobot, path: Path, carried_out: Callable[[], None] = lambda: None
    ) -> None:
        self._virtual = virtual
        self._carried_out = carried_out
        self._path = path
        self._clients: dict[int, _Client] = {}
        if path.exists() and not path.is_socket():
            raise PortError(f"{path} exists and is not a socket; choose another name for it")
        if path.is_socket() and _somebody_listens(path):
            raise PortError(
                f"another virtual robot is controlled by {path}; end it or choose another name"
            )
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            self._listener.bind(str(path))
            self._listener.listen(8)
        except OSError as error:
            self._listener.close()
            raise PortError(f"the socket {path} cannot be made: {error}") from error
        self._listener.setblocking(False)
        self._made = path.stat().st_ino

    @property
    def descriptors(self) -> list[int]:
        """What to wait on for input."""
        return [self._listener.fileno(), *self._clients]

    def serve(self, readable: list[int]) -> None:
        """Take new clients and commands from those of ``readable`` that are this server's."""
        if self._listener.fileno() in readable:
            with contextlib.suppress(OSError):
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                self._clients[connection.fileno()] = _Client(connection)
        for descriptor in [d for d in self._clients if d in readable]:
            client = self._clients[descriptor]
            if not client.serve(self._answer):
                client.connection.close()
                del self._clients[descriptor]

    def close(self) -> None:
        """Let go of all clients and remove the socket."""
        for client in self._clients.values():
            client.connection.close()
        self._listener.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._made:  # else somebody has taken its name
                self._path.unlink()

    def _answer(self, line: bytes) -> bytes:
        try:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ControlError(f"not JSON: {error}") from error
            said = {"ok": True, **run_command(self._virtual, message)}
            self._carried_out()
        except ControlError as error:
            said = {"ok": False, "error": str(error)}
        return json.dumps(said).encode() + b"\n"


def _somebody_listens(path: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) in (0, errno.EAGAIN)


class _Client:
    """One connection and what of a command has come."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._received = b""

    def serve(self, answer: Callable[[bytes], bytes]) -> bool:
        """Read and answer; whether the client is still there and within bounds."""
        try:
            data = self.connection.recv(LONGEST)
        except BlockingIOError:
            return True
        except OSError:
            return False
        try:
            *lines, self._received = (self._received + data).split(b"\n")
            for line in lines:
                if line.strip() and self.connection.send(said := answer(line)) < len(said):
                    return False  # it does not read what it asks for
        except OSError:
            return False
        return bool(data) and len(self._received) <= LONGEST


class Control:
    """A client of a served robot's socket.

    Args:
        path: the socket.
        timeout: for an answer to come [s].

    Raises:
        PortError: nobody listens there.
    """

    def __init__(self, path: str | Path, timeout: float = 5.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise PortError(
                f"nobody listens at {path} ({error.strerror or error}); start one with "
                "`retort emulate ROBOT --control SOCKET`"
            ) from error
        self._stream = self._socket.makefile("rb")

    def __call__(self, command: str, **values: Any) -> dict[str, Any]:
        """Give one command; its answer without ``ok``.

        Raises:
            ControlError: it was refused.
            PortError: the emulator has gone.
        """
        try:
            self._socket.sendall(json.dumps({"command": command, **values}).encode() + b"\n")
            line = self._stream.readline()
        except OSError as error:
            raise PortError(f"the virtual robot does not answer: {error}") from error
        if not line:
            raise PortError("the virtual robot has gone")
        said = json.loads(line)
        if not said.pop("ok"):
            raise ControlError(said["error"])
        return said

    def close(self) -> None:
        self._stream.close()
        self._socket.close()
