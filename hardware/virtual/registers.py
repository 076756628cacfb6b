"""A control table's bytes in a virtual device: registers by name, and windows onto other bytes."""

from __future__ import annotations

from collections.abc import Collection

from ..model_table import ModelTable, Register


class RegisterFile:
    """Every register of ``table``, at its default at first.

    Args:
        table: the device's model.
        watched: registers whose change sets ``stale``, whoever changes them.

    Attributes:
        data: the bytes as they lie in the device.
        stale: a watched register has changed; for the device to clear.
    """

    def __init__(self, table: ModelTable, watched: Collection[str] = ()) -> None:
        self.table = table
        self.data = bytearray(max(r.address + r.size for r in table.registers.values()))
        self.stale = True
        self._watched = frozenset(watched)
        self._places = {  # address, end, and whether the bytes are a plain integer
            name: (r.address, r.address + r.size, r.sign_bit is None)
            for name, r in table.registers.items()
        }
        self._at: list[str | None] = [None] * len(self.data)
        for name, register in table.registers.items():
            for address in range(register.address, register.address + register.size):
                self._at[address] = name
            self[name] = register.default
        self._windows = {  # address of a window's byte: address of what it shows
            block.data + i: block.address + 2 * i
            for block in table.indirect
            for i in range(block.count)
        }

    def __getitem__(self, name: str) -> int:
        start, end, plain = self._places[name]
        register = self.table.registers[name]
        if plain:  # what decode does, without its way there: this is called a lot
            return int.from_bytes(self.data[start:end], "little", signed=register.signed)
        return register.decode(bytes(self.data[start:end]))

    def __setitem__(self, name: str, value: int) -> None:
        register = self.table.registers[name]
        self.data[register.address : register.address + register.size] = register.encode(value)
        if name in self._watched:
            self.stale = True

    def measure(self, name: str, value: float) -> None:
        """Let a register show ``value`` rounded, or as much of it as its bytes can hold."""
        low, high = self.table.registers[name].span
        self[name] = round(min(max(low, value), high))  # in this order a NaN becomes ``low``

    def __contains__(self, name: str) -> bool:
        return name in self.table.registers

    def read(self, address: int, length: int) -> bytes:
        """Bytes as the line sees them, through the windows; 0 where there is no register."""
        data = self.data
        if not any(a in self._windows for a in range(address, address + length)):
            return bytes(data[address : address + length])
        return bytes(data[self._target(a)] for a in range(address, address + length))

    def touched(self, address: int, data: bytes) -> list[tuple[str, Register, bytes | None]]:
        """The registers that writing ``data`` at ``address`` changes, windows followed.

        Returns:
            Name, register and its new bytes, in the order of the first byte of each; None instead
            of the bytes where not all of them are there.
        """
        bytes_at: dict[int, int] = {}
        names: dict[str, None] = {}
        for offset, byte in enumerate(data):
            target = self._target(address + offset)
            if target < len(self._at) and (name := self._at[target]) is not None:
                bytes_at[target] = byte
                names[name] = None
        found = []
        for name in names:
            register = self.table.registers[name]
            span = range(register.address, register.address + register.size)
            whole = all(a in bytes_at for a in span)
            found.append((name, register, bytes(bytes_at[a] for a in span) if whole else None))
        return found

    def _target(self, address: int) -> int:
        pointer = self._windows.get(address)
        if pointer is None:
            return address
        target = self.data[pointer] | self.data[pointer + 1] << 8
        return target if target < len(self.data) else address
