"""From the name a person gives a serial port to the path that opens it now."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from serial.tools import list_ports

from .errors import PortError

BY_ID = Path("/dev/serial/by-id")
_ADAPTER = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::(.+))?")


def find_port(name: str) -> str:
    """The path or URL to open.

    Args:
        name: a device path, a pyserial URL, a name in /dev/serial/by-id, or an adapter's VID:PID or
            VID:PID:SERIAL in hexadecimal, which stay the same whatever is plugged in first.

    Raises:
        PortError: there is no such port, or several; the message lists what there is.
    """
    if "://" in name or os.path.exists(name):
        return name
    if name and "/" not in name and (BY_ID / name).exists():
        return str(BY_ID / name)
    there = sorted(list_ports.comports(), key=lambda port: port.device)
    if match := _ADAPTER.fullmatch(name):
        vendor, product, serial = int(match[1], 16), int(match[2], 16), match[3]
        found = [
            port
            for port in there
            if (port.vid, port.pid) == (vendor, product) and serial in (None, port.serial_number)
        ]
        if len(found) == 1:
            return found[0].device
        if found:
            raise PortError(
                f"{len(found)} adapters are {name}: {', '.join(map(_described, found))}; add the "
                "serial number"
            )
    known = ", ".join(map(_described, there))
    raise PortError(
        f"there is no port {name}; "
        + (f"there are {known}" if known else "there is none; plug the adapter in")
    )


def _described(port: Any) -> str:
    """A port's path, and what names it for good."""
    if port.vid is None or port.pid is None:
        return port.device
    serial = f":{port.serial_number}" if port.serial_number else ""
    return f"{port.device} ({port.vid:04x}:{port.pid:04x}{serial})"
