"""What a device's hardware error register says, in words."""

from __future__ import annotations

from .dynamixel.identify import HARDWARE_ERRORS
from .feetech.codec import error_text


def alert_text(protocol: str, bits: int) -> str:
    """The register in words; empty where nothing is wrong.

    Args:
        protocol: as in a ``[[line]]`` of robot.toml.
        bits: of ``hardware_error``.
    """
    if not bits:
        return ""
    if protocol == "feetech":
        return error_text(bits)
    names = [text for bit, text in HARDWARE_ERRORS.items() if bits >> bit & 1]
    return ", ".join(names) or f"hardware error {bits}"
