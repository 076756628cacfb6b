"""Feetech servos on a virtual line: instruction packets to devices, their answers to the line.

In a sync read a device waits for the one before it, so that a silent one loses everything behind.
Instructions the sources disagree on (06, 08) and unknown ones are not answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..feetech import codec
from ..feetech.codec import BROADCAST, Instruction
from ..feetech.parser import InstructionParser, Packet
from .feetech_servo import FeetechServo
from .line import VirtualLine

LONGEST_ANSWER = codec.LONGEST - 2  # [bytes of data]; a read of more is not answered
PACKET_GAP = 1.5e-3  # [s]


class FeetechResponder:
    """See ``Responder``.

    Args:
        line: where answers go.
        devices: those of this protocol on it.
    """

    packet_gap = PACKET_GAP
    burst_bits = 1  # what an 8-bit sum notices for certain

    def __init__(self, line: VirtualLine, devices: Sequence[FeetechServo]) -> None:
        self.devices = list(devices)
        self._line = line
        self._parser = InstructionParser()

    def hear(self, data: bytes, time: float) -> None:
        for packet in self._parser.feed(data):
            by_id: dict[int, list[FeetechServo]] = {}
            for device in self.devices:
                if self._line.hears(device, time):
                    by_id.setdefault(device.id, []).append(device)
            self._carry_out(packet, by_id, time)

    def forget(self) -> None:
        self._parser = InstructionParser()

    def _carry_out(self, packet: Packet, by_id: dict[int, list[FeetechServo]], time: float) -> None:
        if packet.instruction == Instruction.SYNC_READ:
            self._sync_read(packet.parameters, by_id, time)
        elif packet.instruction == Instruction.SYNC_WRITE:
            _sync_write(packet.parameters, by_id)
        elif packet.id == BROADCAST:
            devices = [device for id in sorted(by_id) for device in by_id[id]]
            answers = [_asked(device, packet, time) for device in devices]
            if packet.instruction == Instruction.PING and answers:  # all speak at once
                self._line.send([a for a in answers if a is not None], time)
        else:
            answers = [_asked(device, packet, time) for device in by_id.get(packet.id, ())]
            heard = [answer for answer in answers if answer is not None]
            if heard:
                self._line.send(heard, time)

    def _sync_read(
        self, parameters: bytes, by_id: dict[int, list[FeetechServo]], time: float
    ) -> None:
        if len(parameters) < 3:
            return
        address, length, ids = parameters[0], parameters[1], parameters[2:]
        if length > LONGEST_ANSWER:
            return
        # Every device takes its values when the packet ends, whenever its turn to speak comes.
        answers = {
            id: [(d, _status(d, d.read(address, length, time))) for d in by_id[id]]
            for id in ids
            if id in by_id
        }
        for id in ids:
            if id not in answers or not self._line.send(answers[id], time):
                return


def _asked(device: FeetechServo, packet: Packet, time: float) -> tuple[FeetechServo, bytes] | None:
    """A device's answer to an instruction for it alone, or for all; None where it says nothing."""
    instruction, parameters = packet.instruction, packet.parameters
    if instruction == Instruction.PING:
        return device, _status(device, b"")
    if instruction == Instruction.READ:
        if len(parameters) != 2 or parameters[1] > LONGEST_ANSWER:
            return None
        return device, _status(device, device.read(parameters[0], parameters[1], time))
    if instruction == Instruction.WRITE and len(parameters) >= 2:
        asked_as = device.id  # a new id speaks from the next packet on
        device.write(parameters[0], parameters[1:])
        return _confirmed(device, asked_as)
    if instruction == Instruction.REG_WRITE and len(parameters) >= 2:
        device.reg_write(parameters[0], parameters[1:])
        return _confirmed(device, device.id)
    if instruction == Instruction.ACTION:
        asked_as = device.id
        device.action()
        return _confirmed(device, asked_as)
    return None


def _confirmed(device: FeetechServo, id: int) -> tuple[FeetechServo, bytes] | None:
    if device.registers["status_return_level"] == 0:
        return None
    return device, codec.status(id, device.error)


def _sync_write(parameters: bytes, by_id: dict[int, list[FeetechServo]]) -> None:
    if len(parameters) < 3:
        return
    address, length = parameters[0], parameters[1]
    for at in range(2, len(parameters) - length, length + 1):
        for device in by_id.get(parameters[at], ()):
            device.write(address, parameters[at + 1 : at + 1 + length])


def _status(device: FeetechServo, data: bytes) -> bytes:
    return codec.status(device.id, device.error, data)
