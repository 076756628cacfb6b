"""What a device's hardware error register says, in words."""

from __future__ import annotations

from collections.abc import Callable

from .dynamixel.codec import hardware_error_text
from .feetech.codec import error_text

_TEXTS: dict[str, Callable[[int], str]] = {
    "dynamixel2": hardware_error_text,
    "feetech": error_text,
}


def alert_text(protocol: str, bits: int) -> str:
    """The register in words; empty where nothing is wrong.

    Args:
        protocol: as in a ``[[line]]`` of robot.toml.
        bits: of ``hardware_error``.
    """
    return _TEXTS[protocol](bits) if bits else ""
