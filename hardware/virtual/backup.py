"""The copy of its control table that a servo keeps on request.

Source: e-manual, "Control Table Backup (0x20)".
"""

from __future__ import annotations

from .loops import GAINS, PROFILE
from .registers import RegisterFile


class TableBackup:
    """Nothing is kept at first; what is kept survives reboots.

    Args:
        registers: the servo's.
    """

    def __init__(self, registers: RegisterFile) -> None:
        self._registers = registers
        self._kept: dict[str, int] = {}
        table = registers.table.registers
        self._eeprom = tuple(
            name for name, r in table.items() if r.area == "eeprom" and r.access == "rw"
        )
        windows = (name for name in table if name.startswith("indirect_address_"))
        self._ram = (*GAINS, *PROFILE, *windows)

    @property
    def exists(self) -> bool:
        return bool(self._kept)

    def store(self) -> None:
        """Keep EEPROM, gains, profile and indirect addresses as they are."""
        self._kept = {name: self._registers[name] for name in (*self._eeprom, *self._ram)}

    def restore_eeprom(self) -> None:
        self._restore(self._eeprom)

    def restore_ram(self) -> None:
        self._restore(self._ram)

    def _restore(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._registers[name] = self._kept[name]
