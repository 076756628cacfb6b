"""The real port, on a pseudo-terminal: waits, locks, and says what to do when it cannot."""

from __future__ import annotations

import os
import socket
import threading
import tty

import pytest
from retort.hardware import PortError, RealClock, SerialPort


class Pty:
    """A pseudo-terminal whose far end the test holds."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave: int | None = slave

    def unplug(self) -> None:
        for descriptor in (self.master, self._slave):
            if descriptor is not None:
                os.close(descriptor)
        self._slave = None
        self.master = -1


@pytest.fixture
def pty():
    made = Pty()
    yield made
    if made.master >= 0:
        made.unplug()


@pytest.fixture
def port(pty):
    made = SerialPort(pty.path, 1_000_000)
    yield made
    made.close()


def soon() -> float:
    return RealClock().now() + 1.0


def test_bytes_go_both_ways(pty, port):
    port.write(b"there")
    assert os.read(pty.master, 100) == b"there"
    os.write(pty.master, b"and back")
    assert port.read(8, soon()) == b"and back"


def test_more_than_fits_at_once_is_written_whole(pty, port):
    sent, heard = os.urandom(100_000), bytearray()

    def listen() -> None:
        while len(heard) < len(sent):
            heard.extend(os.read(pty.master, 4096))

    listener = threading.Thread(target=listen)
    listener.start()
    port.write(sent)
    listener.join(10.0)
    assert bytes(heard) == sent


def test_no_more_is_read_than_asked_for(pty, port):
    os.write(pty.master, b"abcdef")
    assert port.read(4, soon()) == b"abcd"
    assert port.read(2, soon()) == b"ef"


def test_a_read_returns_by_its_deadline_with_what_came(pty, port):
    os.write(pty.master, b"ab")
    assert port.read(4, RealClock().now() + 0.02) == b"ab"
    assert port.read(4, RealClock().now() - 1.0) == b""


def test_a_deadline_that_has_passed_still_takes_what_is_there(pty, port):
    os.write(pty.master, b"abcd")
    assert port.read(4, RealClock().now() - 1.0) == b"abcd"


def test_discard_empties_the_input(pty, port):
    os.write(pty.master, b"stale")
    assert port.discard() == b"stale"
    assert port.discard() == b""


def test_a_missing_port_is_named_with_those_that_exist():
    with pytest.raises(PortError, match=r"there is no port /dev/nowhere; there (are|is)"):
        SerialPort("/dev/nowhere", 1_000_000)


def test_a_port_held_by_another_is_refused_and_free_again_after_close(pty, port):
    with pytest.raises(PortError, match="held by another program"):
        SerialPort(pty.path, 1_000_000)
    port.close()
    SerialPort(pty.path, 1_000_000).close()


def test_a_url_pyserial_does_not_know_is_one_sentence():
    with pytest.raises(PortError, match="nosuch://here cannot be opened"):
        SerialPort("nosuch://here", 1_000_000)


def test_something_that_is_no_serial_port_is_one_sentence(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a port")
    with pytest.raises(PortError, match="cannot be opened"):
        SerialPort(str(file), 1_000_000)


def test_an_unplugged_port_is_a_port_error(pty, port):
    pty.unplug()
    with pytest.raises(PortError, match="gone away"):
        port.read(1, soon())
    with pytest.raises(PortError, match="gone away"):
        port.discard()
    with pytest.raises(PortError, match="gone away"):
        port.write(b"x")


def test_a_closed_port_does_not_touch_the_file_that_got_its_number(pty, port, tmp_path):
    port.close()
    with (tmp_path / "log").open("w+b") as file:
        file.write(b"what was recorded")
        file.seek(0)
        for use in (lambda: port.write(b"x"), lambda: port.read(1, soon()), port.discard):
            with pytest.raises(PortError, match="gone away"):
                use()
    assert (tmp_path / "log").read_bytes() == b"what was recorded"


def test_ports_without_a_descriptor_work_too():
    port = SerialPort("loop://", 1_000_000)
    port.write(b"around")
    assert port.read(3, soon()) == b"aro"
    assert port.read(3, soon()) == b"und"
    assert port.read(3, RealClock().now() + 0.01) == b""
    port.close()


def test_a_line_behind_a_socket_works_too():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = SerialPort(f"socket://127.0.0.1:{server.getsockname()[1]}", 1_000_000)
        far, _ = server.accept()
        with far:
            port.write(b"there")
            assert far.recv(100) == b"there"
            far.sendall(b"and back")
            assert port.read(8, soon()) == b"and back"
        with pytest.raises(PortError, match="gone away"):
            port.read(1, soon())
        port.close()
