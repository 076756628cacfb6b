"""A virtual Feetech STS servo: memory map, EEPROM lock, modes. Motor physics is the plant's.

An STS servo has **no communication watchdog**: when the host dies, the last goal stays active and
the servo goes on holding or turning. Whoever runs one must cut the power, or see to it from outside
(a supervising microcontroller, a relay behind a watchdog) that somebody does.

Source: the maker's memory map, firmware 3.7 to 3.10.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..errors import RobotFileError
from ..feetech.codec import Error
from ..model_table import ModelTable
from ..plant import Plant
from .feetech_loops import PERIOD, FeetechLoops
from .feetech_protection import FeetechProtection
from .feetech_settings import (
    DAMPING,
    FULL,
    OFF,
    ON,
    POSITION,
    PWM,
    SET_MIDDLE,
    STEP,
    VELOCITY,
    WATCHED,
    Settings,
)
from .registers import RegisterFile

MODES = ("position", "velocity")  # by register code, of those robot.toml can ask for
BAUDS = (1_000_000, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400)  # by register code
BOOT = 0.1  # [s] deaf after power comes
MIDDLE = 2048


class FeetechServo:
    """One servo on motor ``joint`` of ``plant``. Time comes with every call [s].

    Attributes:
        name: joint name.
        registers: the memory map as it works now.
        protection: its heat and faults; set ``temperature`` to provoke overheating.
        error: the error byte of every answer, which is the status register.
        booted: when it began to listen [s].

    Raises:
        RobotFileError: it has no such mode or baud rate.
    """

    watchdog_due = math.inf  # there is none
    tripped = False

    def __init__(
        self, name: str, table: ModelTable, id: int, baud: int, mode: str, plant: Plant, joint: int
    ) -> None:
        self.name = name
        self.table = table
        self.registers = RegisterFile(table, WATCHED)
        self.registers["id"] = id
        self.registers["baud_rate"] = _code(name, "baud rate", baud, BAUDS)
        self.registers["operating_mode"] = _code(name, "mode", mode, MODES)
        self.protection = FeetechProtection(table, plant, joint)
        self.booted = 0.0
        self._plant, self._joint = plant, joint
        self._loops = FeetechLoops()
        self._duty = 0.0  # on the bridge [0.1 %]
        self._saved = bytearray(self.registers.data)  # EEPROM as it is after a power cycle
        self._waiting: tuple[int, bytes] | None = None  # a reg write
        self._start()

    def set_up(self, values: Mapping[str, int]) -> None:
        """Save EEPROM registers, as its owner would before it is fitted.

        Raises:
            RobotFileError: it has no such register, or does not take the value.
        """
        for name, value in values.items():
            register = self.table.registers.get(name)
            if register is None or register.area != "eeprom" or not register.allows(value):
                raise RobotFileError(f"{self.name}: a {self.table.name} takes no {name} = {value}")
            self.registers[name] = value
        self._saved = bytearray(self.registers.data)

    @property
    def id(self) -> int:
        return self.registers["id"]

    @property
    def baud(self) -> int:
        """[bit/s]"""
        return BAUDS[self.registers["baud_rate"]]

    @property
    def return_delay(self) -> float:
        """Between the end of what it waits for and its answer [s]."""
        return self.registers["return_delay"] * self.table.registers["return_delay"].unit

    @property
    def torque(self) -> bool:
        return self.registers["torque_enable"] == ON

    @property
    def mode(self) -> int:
        return self.registers["operating_mode"]

    @property
    def controlling(self) -> bool:
        """Whether ``control`` must run."""
        return self.torque

    @property
    def temperature(self) -> float:
        """What its sensor measures [°C]."""
        return self.protection.winding.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.protection.winding.temperature = value

    def listening(self, time: float) -> bool:
        """False while it boots."""
        return time >= self.booted

    def reboot(self, time: float) -> None:
        """As after its power was cut: RAM is lost, EEPROM is as it was last saved."""
        data = self.registers.data
        for name, register in self.table.registers.items():
            if register.area == "ram":
                self.registers[name] = register.default
            else:
                span = slice(register.address, register.address + register.size)
                data[span] = self._saved[span]
        self.registers.stale = True
        self.booted = time + BOOT
        self._start()

    def overload(self) -> None:
        """Report overload, as after too much load for too long."""
        self.protection.latched |= Error.OVERLOAD
        self.error |= Error.OVERLOAD

    # Instructions

    def read(self, address: int, length: int, time: float) -> bytes:
        """``length`` bytes from ``address``; 0 where there is no register."""
        self._refresh(time)
        return self.registers.read(address, length).ljust(length, b"\0")

    def write(self, address: int, data: bytes) -> None:
        """Write what may be written; the firmware complains of nothing."""
        save = self.registers["lock"] == 0
        for name, register, value in self.registers.touched(address, data):
            if register.access == "r":
                continue
            span = slice(register.address, register.address + register.size)
            if value is None:  # one byte of two
                value = self._overlaid(span, address, data)
            decoded = register.decode(value)
            if not register.allows(decoded):
                continue
            torque = self.registers["torque_enable"]
            self.registers[name] = decoded
            if register.area == "eeprom" and save:
                self._save(span)
            self._written(name, decoded, torque)

    def reg_write(self, address: int, data: bytes) -> None:
        """Keep a write for ``action``; a second one takes the first one's place."""
        self._waiting = (address, data)
        self.registers["registered_instruction"] = 1

    def action(self) -> None:
        """Carry out what waits."""
        if self._waiting is not None:
            (address, data), self._waiting = self._waiting, None
            self.registers["registered_instruction"] = 0
            self.write(address, data)

    def _overlaid(self, span: slice, address: int, data: bytes) -> bytes:
        """The bytes of ``span`` with ``data`` written over them at ``address``."""
        held = bytearray(self.registers.data[span])
        for at in range(span.start, span.stop):
            if address <= at < address + len(data):
                held[at - span.start] = data[at - address]
        return bytes(held)

    # Firmware

    def supervise(self, time: float) -> None:
        """Look for faults, at the rate of the firmware."""
        if time < self._supervised + PERIOD:
            return
        self._supervised = time
        found = self.protection.look(self._now(), time)
        if found != self.error:
            self.error = found
            if self._released:
                self._drive(0.0)

    def control(self) -> None:
        """One period of the firmware's loop."""
        settings = self._now()
        angle, speed, current = self._plant.motor(self._joint)
        velocity = settings.sensor * speed * self.table.turn / math.tau
        if settings.mode == VELOCITY:
            duty = self._loops.velocity_duty(settings, velocity)
        elif settings.mode == PWM:
            duty = float(settings.goal_duty)
        else:
            duty = self._loops.position_duty(settings, self._position(angle))
        limit = settings.torque_limit
        duty = min(max(duty, -limit), limit)
        self.protection.count(settings, duty, velocity, current)
        latched = self.protection.latched
        if latched:
            self.error |= latched
            if latched & settings.unload & Error.OVERLOAD:
                cut = settings.protective_duty
                duty = min(max(duty, -cut), cut)
        self._drive(duty)

    def _written(self, name: str, value: int, torque_before: int) -> None:
        if name == "torque_enable":
            if value == SET_MIDDLE:
                self.registers["torque_enable"] = torque_before
                self._set_middle()
            else:
                self._switched()
        elif name == "operating_mode":
            self._switched()
        elif name in ("goal_position", "goal_time", "goal_velocity", "acceleration"):
            if name == "goal_position" and self.mode == STEP and self.torque:
                self._loops.goal += value
            if self.torque and self.mode in (POSITION, STEP):
                self._plan()
        elif name == "max_torque":
            self.registers["torque_limit"] = value

    def _switched(self) -> None:
        """Torque or mode has changed: the loops begin anew where the servo stands."""
        self.protection.reset()
        self._loops.begin(self._here())
        self._plan()
        if not self.torque:
            self._drive(0.0)

    def _plan(self) -> None:
        """Set out for the goal that the registers say."""
        settings, loops = self._now(), self._loops
        if settings.mode == POSITION:
            goal = self.registers["goal_position"]
            if settings.limits is not None:
                goal = min(max(goal, settings.limits[0]), settings.limits[1])
            loops.goal = float(goal)
        self.protection.heads(loops.goal - self._here())
        loops.plan(settings)

    def _start(self) -> None:
        """What the firmware does when power comes."""
        self._turns = 0
        self._turns = -(self._encoder(self._plant.motor(self._joint)[0]) // self.table.turn)
        self._supervised = -math.inf
        self._waiting = None  # a reg write
        self.error = 0
        self.registers["torque_limit"] = self.registers["max_torque"]
        self.registers.measure("goal_position", self._here())
        self._switched()

    def _set_middle(self) -> None:
        """Choose the offset that makes the present position 2048, kept whatever the lock says."""
        actual = self._encoder(self._plant.motor(self._joint)[0]) % self.table.turn
        self.registers["homing_offset"] = max(actual - MIDDLE, -2047)
        register = self.table.registers["homing_offset"]
        self._save(slice(register.address, register.address + register.size))
        self.registers.measure("goal_position", self._here())
        self._switched()

    def _save(self, span: slice) -> None:
        self._saved[span] = self.registers.data[span]

    def _refresh(self, time: float) -> None:
        """Bring what changes by itself up to ``time``."""
        self.supervise(time)
        registers, settings = self.registers, self._now()
        angle, speed, current = self._plant.motor(self._joint)
        velocity = settings.sensor * speed * self.table.turn / math.tau
        position = self._encoder(angle) - settings.offset
        if not settings.many_turns:
            position %= self.table.turn
        registers.measure("present_position", position)
        registers.measure("present_velocity", velocity / settings.speed_unit)
        registers.measure("present_load", self._duty)
        registers.measure("present_voltage", 10.0 * self._plant.supply())
        registers.measure("present_temperature", self.protection.winding.temperature)
        registers["hardware_error"] = self.error
        registers["moving"] = int(abs(velocity) > settings.moving_threshold)
        registers.measure("position_trajectory", self._loops.desired.position)
        registers.measure(
            "present_current",
            settings.sensor * current / self.table.registers["present_current"].unit,
        )

    @property
    def _released(self) -> bool:
        """Whether a fault has taken all output away; overload leaves the protective torque."""
        return bool(self.error & self._now().unload & ~Error.OVERLOAD)

    def _drive(self, duty: float) -> None:
        """Tell the plant's bridge what to do, duty in 0.1 % of the supply."""
        settings = self._now()
        self._duty = 0.0
        if settings.torque == DAMPING:
            self._plant.drive(self._joint, "voltage", 0.0)
        elif settings.torque == OFF or self._released:
            self._plant.drive(self._joint, "off", 0.0)
        else:
            self._duty = duty
            volts = settings.drive * duty / FULL * self._plant.supply()
            self._plant.drive(self._joint, "voltage", volts)

    def _now(self) -> Settings:
        """What the registers ask for."""
        if self.registers.stale:
            self.registers.stale = False
            self._settings = Settings.of(self.registers)
        return self._settings

    def _encoder(self, angle: float) -> int:
        """Where the sensor stands [counts] at a shaft angle, many turns since power came."""
        counts = round(self._now().sensor * angle * self.table.turn / math.tau)
        return counts + self._turns * self.table.turn

    def _position(self, angle: float) -> int:
        """Actual - offset [counts], as the position loop has it: endless or within one turn."""
        settings = self._now()
        counts = self._encoder(angle) - settings.offset
        endless = settings.limits is None or settings.many_turns
        return counts if endless else counts % self.table.turn

    def _here(self) -> int:
        return self._position(self._plant.motor(self._joint)[0])


def _code(name: str, what: str, value: int | str, known: tuple[int | str, ...]) -> int:
    """The register code of ``value``."""
    if value not in known:
        allowed = ", ".join(map(str, known))
        raise RobotFileError(f"{name}: a Feetech servo has no {what} {value}; it has {allowed}")
    return known.index(value)
