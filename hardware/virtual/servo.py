"""A virtual X-series servo: modes, goals and limits, latched errors, supervision.

Motor physics is the plant's; loops.py has the control loops, encoder.py the position, bridge.py the
power stage, protection.py what makes it give up. Where the maker's manual is silent (control rate,
overload, what "in position" means) a constant says what is assumed.
"""

from __future__ import annotations

import math

from ..dynamixel.codec import BACKUP_KEY, CLEAR_TURNS, Backup, Error, Instruction
from ..errors import RobotFileError
from ..model_table import ModelTable
from ..plant import Plant
from . import bridge, encoder, loops
from .backup import TableBackup
from .bridge import FULL_PWM, Bridge
from .device import VirtualDevice
from .encoder import POSITION, Encoder
from .heat import Winding
from .loops import GAINS, PROFILE, Loops
from .protection import OVERLOAD, Protection

CURRENT, VELOCITY, EXTENDED, CURRENT_POSITION, PWM = 0, 1, 4, 5, 16  # POSITION is the encoder's
MODE_CODES = {"effort": CURRENT, "velocity": VELOCITY, "position": POSITION}
TORQUE_BY_GOAL = 8  # bit of Drive Mode
STARTUP_TORQUE, STARTUP_RAM = 1, 2  # bits of Startup Configuration
CONTROL_PERIOD = loops.PERIOD
CHECK_PERIOD = 0.01  # [s] between looks at voltage, temperature and load
PROTOCOL_2 = 2  # of Protocol Type
IN_POSITION = 10  # [counts] from the goal at most
FOLLOWING = 100  # [counts] from the trajectory at most

_POSITIONS = (POSITION, EXTENDED, CURRENT_POSITION)
_GOALS = ("goal_pwm", "goal_current", "goal_velocity", "goal_position")
_LIMITS = {
    "goal_pwm": "pwm_limit",
    "goal_current": "current_limit",
    "goal_velocity": "velocity_limit",
}
_WATCHED = {*loops.WATCHED, *encoder.WATCHED, *bridge.WATCHED, "goal_current"}


class VirtualServo(VirtualDevice):
    """One servo on motor ``joint`` of ``plant``.

    Attributes:
        controlling: whether ``control`` must run every ``CONTROL_PERIOD``.

    Raises:
        RobotFileError: the model does not have the mode.
    """

    def __init__(
        self, name: str, table: ModelTable, id: int, baud: int, mode: str, plant: Plant, joint: int
    ) -> None:
        super().__init__(name, table, id, baud, watched=_WATCHED)
        if not table.registers["operating_mode"].allows(MODE_CODES[mode]):
            raise RobotFileError(
                f"{name} is in mode {mode!r}, which a {table.name} does not have; choose another "
                "mode or servo in robot.toml"
            )
        self.registers["operating_mode"] = MODE_CODES[mode]
        self.controlling = False
        self._plant, self._joint = plant, joint
        self._encoder = Encoder(self.registers)
        self._bridge = Bridge(self.registers, plant, joint)
        self._loops = Loops(self.registers)
        self._protection = Protection(self.registers, plant, joint)
        self._backup = TableBackup(self.registers)
        self._driving = False
        self._shut = False  # an error has taken torque; only a reboot gives it back
        self._silent_at = math.inf  # when the bus watchdog trips unless the line speaks [s]
        self._check_at = 0.0
        self._start_at = math.inf  # when a boot ends with torque on [s]
        self._load()
        self._enter_mode()
        self._snap()

    @property
    def torque(self) -> bool:
        return self.registers["torque_enable"] == 1

    @property
    def mode(self) -> int:
        return self.registers["operating_mode"]

    @property
    def locked(self) -> bool:
        return self.torque

    @property
    def tripped(self) -> bool:
        """Whether the bus watchdog has stopped the servo."""
        return self.registers["bus_watchdog"] == -1

    @property
    def error(self) -> int:
        """Its hardware error register."""
        return self.registers["hardware_error"]

    @property
    def watchdog_due(self) -> float:
        """When ``supervise`` has something to do by itself [s]."""
        return min(self._silent_at, self._check_at, self._start_at)

    @property
    def winding(self) -> Winding:
        """How warm it is."""
        return self._protection.winding

    @property
    def temperature(self) -> float:
        """What its sensor measures [°C]; set it to provoke overheating."""
        return self.winding.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.winding.temperature = value

    # In time

    def listening(self, time: float) -> bool:
        """False while it boots, and where it has been told to speak another protocol."""
        return super().listening(time) and self.registers["protocol_type"] == PROTOCOL_2

    def hear(self, time: float) -> None:
        """Any instruction packet on the line restarts the bus watchdog."""
        self._restart_watchdog(time)

    def supervise(self, time: float) -> None:
        """Do what is due at ``time``: end of a boot, bus watchdog, the look at the hardware."""
        if time >= self._start_at:
            self._start_at = math.inf
            if not self._shut:
                self._set_torque(True, time)
        if time >= self._silent_at:
            self._silent_at = math.inf
            self.registers["bus_watchdog"] = -1
            self._stop()
        if time >= self._check_at:
            errors = self._protection.look(time)
            if errors:
                self.fail(errors)
            self._check_at = (math.floor(time / CHECK_PERIOD + 1e-6) + 1) * CHECK_PERIOD

    def control(self) -> None:
        """One period of the firmware's loops."""
        if self.registers.stale:
            self._load()
        mode, bridge, loops, sense = self._mode, self._bridge, self._loops, self._encoder.sense
        if mode == CURRENT:
            bridge.apply_current(self._goal_current, sense)
            return
        if mode == PWM:
            bridge.apply_pwm(self._goal_pwm, sense)
            self.controlling = bridge.pwm != self._goal_pwm
            return
        angle, speed, _ = self._plant.motor(self._joint)
        velocity = self._encoder.velocity(speed)
        limit = abs(self._goal_pwm)
        if mode == VELOCITY:
            bridge.apply_pwm(loops.velocity(velocity / loops.velocity_counts, limit), sense)
        elif mode == CURRENT_POSITION:
            limit = abs(self._goal_current)
            position = self._encoder.position(angle)
            bridge.apply_current(loops.position(position, velocity, limit), sense)
        else:
            position = self._encoder.position(angle)
            bridge.apply_pwm(loops.position(position, velocity, limit), sense)

    def refresh(self, time: float) -> None:
        super().refresh(time)
        if self.registers.stale:
            self._load()
        registers, loops, bridge = self.registers, self._loops, self._bridge
        angle, speed, current = self._plant.motor(self._joint)
        position, sense = self._encoder.position(angle), self._encoder.sense
        velocity = self._encoder.velocity(speed) / loops.velocity_counts
        if self.torque and self._mode in (CURRENT, CURRENT_POSITION):
            bridge.measure_pwm(current, speed, sense)
        registers.measure("present_position", position)
        registers.measure("present_velocity", velocity)
        registers.measure("present_pwm", bridge.pwm)
        if bridge.current_unit:
            registers.measure("present_current", sense * current / bridge.current_unit)
        else:
            registers.measure("present_load", bridge.pwm / FULL_PWM * 1000.0)
        desired = loops.desired if self.torque and self._mode in _POSITIONS else None
        registers.measure("position_trajectory", desired.position if desired else position)
        registers.measure(
            "velocity_trajectory",
            desired.velocity / loops.velocity_counts if desired else loops.desired_velocity,
        )
        ongoing = desired is not None and loops.ongoing
        registers["moving"] = int(ongoing or abs(velocity) > registers["moving_threshold"])
        status = loops.shape << 4 | ongoing << 1
        if desired:
            status |= abs(registers["goal_position"] - position) <= IN_POSITION
            status |= (abs(desired.position - position) > FOLLOWING) << 3
        registers["moving_status"] = status
        registers.measure("present_voltage", self._plant.supply() * 10.0)
        registers.measure("present_temperature", self.winding.temperature)

    # From the line

    def refuse(self, name: str, value: int) -> int:
        registers = self.registers
        if self.tripped and (name in _GOALS or (name == "bus_watchdog" and value != 0)):
            return Error.DATA_RANGE  # only a 0 clears it
        error = super().refuse(name, value)
        if error:
            return error
        if name in _LIMITS and abs(value) > registers[_LIMITS[name]]:
            return Error.DATA_LIMIT
        if name == "goal_position" and self.mode == POSITION:
            low, high = registers["min_position_limit"], registers["max_position_limit"]
            return Error.NONE if low <= value <= high else Error.DATA_LIMIT
        if name == "torque_enable" and value and self._shut:
            return Error.ACCESS
        return Error.NONE

    def written(self, name: str, value: int, time: float) -> None:
        if name == "torque_enable":
            self._set_torque(value == 1, time)
        elif name == "operating_mode":
            if value != self._mode:
                self._load()
                self._enter_mode()
            if value == POSITION:
                self._snap()
        elif name == "bus_watchdog":
            self._restart_watchdog(time)
        elif name in _GOALS:
            if self.registers["drive_mode"] & TORQUE_BY_GOAL and not (self.torque or self._shut):
                self.registers["torque_enable"] = 1
                self._set_torque(True, time, keep_goals=True)
            self._aim(name, value)

    def act(
        self, instruction: int, parameters: bytes, time: float, broadcast: bool, shadow: bool
    ) -> int:
        if instruction == Instruction.CLEAR:
            if parameters != CLEAR_TURNS:
                return Error.DATA_RANGE
            return self._clear()
        if instruction == Instruction.CONTROL_TABLE_BACKUP:
            if len(parameters) != 5 or parameters[1:] != BACKUP_KEY or parameters[0] not in (1, 2):
                return Error.DATA_RANGE
            if shadow:
                return Error.ACCESS
            return self._keep(Backup(parameters[0]), time)
        return super().act(instruction, parameters, time, broadcast, shadow)

    def fail(self, error: int) -> None:
        """Latch a hardware error; one in the shutdown mask takes torque until a reboot."""
        self.registers["hardware_error"] |= error
        if error & self.registers["shutdown"]:
            self._shut = True
            if self.torque:
                self._set_torque(False, 0.0)

    def overload(self) -> None:
        """Report overload, as after too much load for too long."""
        self.fail(OVERLOAD)

    def reboot(self, time: float) -> None:
        self._set_torque(False, time)
        super().reboot(time)
        self._shut = False
        self._protection.reset()
        self._load()
        self._enter_mode()
        self._snap()
        startup = self.registers["startup_configuration"]
        if self._backup.exists:
            self.registers["backup_ready"] = 1
            if startup & STARTUP_RAM:
                self._backup.restore_ram()
        self._start_at = self.booted if startup & STARTUP_TORQUE else math.inf

    # Within

    def _load(self) -> None:
        """Take over what is needed every period."""
        registers = self.registers
        self._mode = registers["operating_mode"]
        self._goal_pwm = float(registers["goal_pwm"])
        self._goal_current = float(registers["goal_current"]) if "goal_current" in registers else 0
        for part in (self._encoder, self._bridge, self._loops):
            part.load()
        registers.stale = False

    def _set_torque(self, on: bool, time: float, keep_goals: bool = False) -> None:
        was = self._driving
        self.registers["torque_enable"] = int(on)
        self._driving = on
        if self.registers.stale:
            self._load()
        if on and not was:
            goal = self.registers["goal_position"]
            if self._mode == POSITION:
                self._snap()
            position = self._position()
            self.registers.measure("goal_position", goal if keep_goals else position)
            self._loops.rest(position)
            self._loops.aim_velocity(self.registers["goal_velocity"])
        self._restart_watchdog(time)
        self._drive()

    def _enter_mode(self) -> None:
        """A mode begins with its own gains, no profile, and goals that move nothing."""
        registers = self.registers
        self._driving = False
        for name in (*GAINS, *PROFILE):
            registers[name] = self.table.registers[name].default
        registers["goal_velocity"] = 0
        registers["goal_pwm"] = 0 if self._mode == PWM else registers["pwm_limit"]
        if "goal_current" in registers:
            limited = self._mode == CURRENT_POSITION
            registers["goal_current"] = registers["current_limit"] if limited else 0
        self._load()
        self._drive()

    def _aim(self, name: str, value: int) -> None:
        """A goal has been written."""
        if self.registers.stale:
            self._load()
        if self.torque:
            if name == "goal_position" and self._mode in _POSITIONS:
                self._loops.aim(value)
            elif name == "goal_velocity" and self._mode == VELOCITY:
                self._loops.aim_velocity(value)
        self._drive()

    def _stop(self) -> None:
        """What a tripped bus watchdog leaves: nothing moves, a held position stays held."""
        registers = self.registers
        registers["goal_velocity"] = 0
        if self._mode == PWM:
            registers["goal_pwm"] = 0
        if self._mode == CURRENT:
            registers["goal_current"] = 0
        registers.measure("goal_position", self._position())
        self._loops.rest(self._position())
        self._load()
        self._drive()

    def _drive(self) -> None:
        """Tell the bridge what the registers say; modes with a loop wait for it."""
        if not self.torque:
            self.controlling = False
            self._bridge.off()
        elif self._mode == CURRENT:
            self.controlling = self._bridge.watched
            self._bridge.apply_current(self._goal_current, self._encoder.sense)
        else:
            self.controlling = True

    def _restart_watchdog(self, time: float) -> None:
        count = self.registers["bus_watchdog"]
        on = self._driving and count > 0
        unit = self.table.registers["bus_watchdog"].unit
        self._silent_at = time + count * unit if on else math.inf

    def _position(self) -> int:
        """Present position [counts]."""
        return self._encoder.position(self._plant.motor(self._joint)[0])

    def _snap(self) -> int:
        """Forget whole turns, hold where it is; how the position changed [counts]."""
        self._load()
        moved = self._encoder.forget_turns(self._plant.motor(self._joint)[0])
        self.registers.measure("goal_position", self._position())
        return moved

    def _clear(self) -> int:
        """Forget whole turns, if at rest; a held goal moves along."""
        velocity = self._encoder.velocity(self._plant.motor(self._joint)[1])
        speed = abs(velocity) / self._loops.velocity_counts
        if self._loops.ongoing or speed > self.registers["moving_threshold"]:
            return Error.RESULT_FAIL
        goal = self.registers["goal_position"]
        moved = self._snap()
        self.registers.measure("goal_position", goal + moved)
        self._loops.shift(moved)
        return Error.NONE

    def _keep(self, what: Backup, time: float) -> int:
        """Store the control table, or take its EEPROM from what was stored and reboot."""
        if self.torque or (what == Backup.RESTORE and not self._backup.exists):
            return Error.RESULT_FAIL
        if what == Backup.STORE:
            self._backup.store()
            self.registers["backup_ready"] = 1
        else:
            self._backup.restore_eeprom()
            self.reboot(time)
        return Error.NONE
