"""Ports are found by names that stay the same, and a name that fits nothing lists what there is."""

from __future__ import annotations

import pytest
from retort.hardware import PortError, find_port
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo


def adapter(device: str, vid: int | None, pid: int | None, serial: str | None) -> ListPortInfo:
    made = ListPortInfo(device)
    made.vid, made.pid, made.serial_number = vid, pid, serial
    return made


@pytest.fixture
def plugged(monkeypatch):
    there = [
        adapter("/dev/ttyUSB0", 0x0403, 0x6014, "FT1"),
        adapter("/dev/ttyUSB1", 0x0403, 0x6014, "FT2"),
        adapter("/dev/ttyACM0", 0x1A86, 0x55D3, None),
        adapter("/dev/ttyS0", None, None, None),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: there)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("0403:6014:FT2", "/dev/ttyUSB1"),
        ("1a86:55d3", "/dev/ttyACM0"),
        ("1A86:55D3", "/dev/ttyACM0"),
        ("loop://", "loop://"),
    ],
)
def test_an_adapter_is_found_by_what_it_says_of_itself(plugged, name, device):
    assert find_port(name) == device


def test_two_of_a_kind_need_their_serial_number(plugged):
    with pytest.raises(PortError, match=r"2 adapters are 0403:6014.*0403:6014:FT1.*serial number"):
        find_port("0403:6014")


@pytest.mark.parametrize("name", ["0403:6014:FT3", "1234:5678", "/dev/nowhere", "nothing", ""])
def test_what_is_not_there_lists_what_is(plugged, name):
    with pytest.raises(PortError, match=r"there is no port .*ttyACM0 \(1a86:55d3\)"):
        find_port(name)


def test_nothing_plugged_in_says_so(monkeypatch):
    monkeypatch.setattr(list_ports, "comports", list)
    with pytest.raises(PortError, match="plug the adapter in"):
        find_port("0403:6014")


def test_a_path_that_exists_is_taken_as_it_is(tmp_path):
    path = tmp_path / "port"
    path.touch()
    assert find_port(str(path)) == str(path)


def test_a_name_by_id_is_looked_up_where_the_system_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setitem(find_port.__globals__, "BY_ID", tmp_path)
    (tmp_path / "usb-FTDI_X").touch()
    assert find_port("usb-FTDI_X") == str(tmp_path / "usb-FTDI_X")
