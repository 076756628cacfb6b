"""A virtual X-series servo: control table rules, modes, latched errors and the bus watchdog.

Motor physics is the plant's. Motion profiles are not modelled: a goal is taken as it is.
"""

from __future__ import annotations

import math

from ..dynamixel.codec import Error
from ..model_table import ModelTable
from ..plant import Plant
from .device import VirtualDevice

CURRENT, VELOCITY, POSITION, EXTENDED, CURRENT_POSITION, PWM = 0, 1, 3, 4, 5, 16
MODE_CODES = {"effort": CURRENT, "velocity": VELOCITY, "position": POSITION}
VOLTAGE_ERROR, OVERHEATING, ENCODER_ERROR, ELECTRICAL_SHOCK, OVERLOAD = 1, 4, 8, 16, 32
FULL_PWM = 885
CONTROL_PERIOD = 1e-3  # [s] of the firmware's position and velocity loops

_GOALS = ("goal_pwm", "goal_current", "goal_velocity", "goal_position")
_LIMITED = {
    "goal_pwm": "pwm_limit",
    "goal_current": "current_limit",
    "goal_velocity": "velocity_limit",
}


class VirtualServo(VirtualDevice):
    """One servo on motor ``joint`` of ``plant``.

    Attributes:
        temperature: what its sensor measures [°C]; set it to provoke overheating.
        watchdog_due: when the bus watchdog trips unless the line speaks [s]; inf if it is off.
    """

    def __init__(
        self, name: str, table: ModelTable, id: int, baud: int, mode: str, plant: Plant, joint: int
    ) -> None:
        super().__init__(name, table, id, baud)
        self.registers["operating_mode"] = MODE_CODES[mode]
        self.temperature = 30.0
        self.watchdog_due = math.inf
        self._plant, self._joint = plant, joint
        self._driving = False
        self._turns = 0  # whole turns added to the encoder's angle
        self._integral = 0.0
        self._last_error = 0.0
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
    def controlling(self) -> bool:
        """Whether ``control`` must run: a mode with a loop in firmware, torque on."""
        return self.torque and self.mode not in (CURRENT, PWM)

    @property
    def tripped(self) -> bool:
        """Whether the bus watchdog has stopped the servo."""
        return self.registers["bus_watchdog"] == -1

    def hear(self, time: float) -> None:
        """Any instruction packet on the line restarts the bus watchdog."""
        self._restart_watchdog(time)

    def supervise(self, time: float) -> None:
        """Trip what is due at ``time``: bus watchdog, supply voltage, temperature."""
        if time >= self.watchdog_due:
            self.watchdog_due = math.inf
            self.registers["bus_watchdog"] = -1
            self._stop_goals()
            self._drive()
        registers = self.registers
        volts = self._plant.supply() * 10.0
        if not registers["min_voltage_limit"] <= round(volts) <= registers["max_voltage_limit"]:
            self.fail(VOLTAGE_ERROR)
        if self.temperature > registers["temperature_limit"]:
            self.fail(OVERHEATING)

    def fail(self, error: int) -> None:
        """Latch a hardware error; one in the shutdown mask takes torque until a reboot."""
        self.registers["hardware_error"] |= error
        if error & self.registers["shutdown"] and self.torque:
            self._set_torque(False, 0.0)

    def control(self) -> None:
        """One period of the firmware's position or velocity loop, gains in register units.

        Position [counts]: ``pwm = P/128 e + I/65536 sum(e) + D/16 (e - e_last)``, velocity
        [0.229 rpm]: ``pwm = P/128 e + I/65536 sum(e)``; 885 is the whole supply voltage.
        """
        registers = self.registers
        if self.mode == VELOCITY:
            error = registers["goal_velocity"] - self._velocity()
            p, i, d = registers["velocity_p"], registers["velocity_i"], 0
        else:
            error = float(registers["goal_position"] - self._position())
            p, i, d = (registers[f"position_{gain}"] for gain in "pid")
        change, self._last_error = error - self._last_error, error
        limit = registers["pwm_limit"]
        if i:  # the integral alone may not ask for more than full PWM
            self._integral = min(max(self._integral + error, -limit * 65536 / i), limit * 65536 / i)
        pwm = p / 128 * error + i / 65536 * self._integral + d / 16 * change
        self._apply_pwm(min(max(pwm, -limit), limit))

    def refresh(self, time: float) -> None:
        super().refresh(time)
        registers = self.registers
        _, speed, current = self._plant.motor(self._joint)
        velocity = self._velocity()
        registers["present_position"] = self._position()
        registers["present_velocity"] = round(velocity)
        registers["present_current"] = round(self._turned(current) * 1000.0)
        registers["moving"] = int(abs(velocity) > registers["moving_threshold"])
        registers["present_voltage"] = round(self._plant.supply() * 10.0)
        registers["present_temperature"] = round(self.temperature)
        if self.torque and self.mode == CURRENT:
            registers["present_pwm"] = self._pwm_of(current, speed)
        elif not self.torque:
            registers["present_pwm"] = 0

    def refuse(self, name: str, value: int) -> int:
        registers = self.registers
        if self.tripped and name in _GOALS:
            return Error.DATA_RANGE
        error = super().refuse(name, value)
        if error:
            return error
        if name in _LIMITED and abs(value) > registers[_LIMITED[name]]:
            return Error.DATA_LIMIT
        if name == "goal_position" and self.mode == POSITION:
            low, high = registers["min_position_limit"], registers["max_position_limit"]
            return Error.NONE if low <= value <= high else Error.DATA_LIMIT
        if (
            name == "torque_enable"
            and value
            and registers["hardware_error"] & registers["shutdown"]
        ):
            return Error.ACCESS
        return Error.NONE

    def written(self, name: str, value: int, time: float) -> None:
        if name == "torque_enable":
            self._set_torque(value == 1, time)
        elif name == "operating_mode":
            self._enter_mode()
            if value == POSITION:
                self._snap()
        elif name == "bus_watchdog":
            self._restart_watchdog(time)
        elif name in _GOALS:
            if self.registers["drive_mode"] & 8 and not self.torque:
                self._set_torque(True, time, keep_goals=True)
            self._drive()

    def reboot(self, time: float) -> None:
        self._set_torque(False, time)
        super().reboot(time)
        self._enter_mode()
        self._snap()
        if self.registers["startup_configuration"] & 1:
            self.registers["torque_enable"] = 1
            self._set_torque(True, self.booted)

    def _set_torque(self, on: bool, time: float, keep_goals: bool = False) -> None:
        was = self.registers["torque_enable"] and self._driving
        self.registers["torque_enable"] = int(on)
        self._driving = on
        if on and not was:
            self._integral = self._last_error = 0.0
            if self.mode == POSITION:
                self._snap()
            if not keep_goals:
                self.registers["goal_position"] = self._position()
        self._restart_watchdog(time)
        self._drive()

    def _enter_mode(self) -> None:
        """A mode begins with goals that move nothing."""
        self._driving = False
        self.registers["goal_velocity"] = 0
        self.registers["goal_pwm"] = 0 if self.mode == PWM else self.registers["pwm_limit"]
        limited = self.mode == CURRENT_POSITION
        self.registers["goal_current"] = self.registers["current_limit"] if limited else 0
        self._drive()

    def _stop_goals(self) -> None:
        """What a tripped bus watchdog leaves: nothing moves, a held position stays held."""
        for goal in ("goal_pwm", "goal_current", "goal_velocity"):
            self.registers[goal] = 0
        self.registers["goal_position"] = self._position()
        self._integral = 0.0

    def _drive(self) -> None:
        """Tell the plant's bridge what the registers say; modes with a loop wait for it."""
        if not self.torque:
            self._plant.drive(self._joint, "off", 0.0)
        elif self.mode == CURRENT:
            limit = self.registers["current_limit"]
            current = min(max(self.registers["goal_current"], -limit), limit)
            self._plant.drive(self._joint, "current", self._turned(current) / 1000.0)
        elif self.mode == PWM:
            self._apply_pwm(self.registers["goal_pwm"])

    def _apply_pwm(self, pwm: float) -> None:
        self.registers["present_pwm"] = round(pwm)
        voltage = self._turned(pwm) / FULL_PWM * self._plant.supply()
        if self.mode == CURRENT_POSITION:
            voltage = self._within_current(voltage)
        self._plant.drive(self._joint, "voltage", voltage)

    def _within_current(self, voltage: float) -> float:
        """``voltage`` cut so that the goal current is not exceeded."""
        motor = self.table.motor
        assert motor is not None
        emf = motor.back_emf * self._plant.motor(self._joint)[1]
        span = motor.resistance * abs(self.registers["goal_current"]) / 1000.0
        return min(max(voltage, emf - span), emf + span)

    def _pwm_of(self, current: float, speed: float) -> int:
        motor = self.table.motor
        assert motor is not None
        voltage = motor.resistance * current + motor.back_emf * speed
        pwm = self._turned(voltage) / max(self._plant.supply(), 0.1) * FULL_PWM
        return round(min(max(pwm, -FULL_PWM), FULL_PWM))

    def _restart_watchdog(self, time: float) -> None:
        count = self.registers["bus_watchdog"]
        on = self.torque and count > 0
        self.watchdog_due = time + count * 0.02 if on else math.inf

    def _turned(self, value: float) -> float:
        """Between the register's and the motor's direction."""
        return -value if self.registers["drive_mode"] & 1 else value

    def _velocity(self) -> float:
        """Present velocity [0.229 rpm], not yet rounded."""
        speed = self._plant.motor(self._joint)[1]
        return self._turned(speed) / self.table.registers["present_velocity"].unit

    def _position(self) -> int:
        """Present position [counts]."""
        counts = round(self._turned(self._plant.motor(self._joint)[0]) * self.table.turn / math.tau)
        return counts + self._turns * self.table.turn + self._offset()

    def _offset(self) -> int:
        offset = self.registers["homing_offset"]
        return 0 if self.mode == POSITION and abs(offset) > 1024 else offset

    def _snap(self) -> None:
        """Forget whole turns: the present position is within one turn again."""
        self._turns -= (self._position() - self._offset()) // self.table.turn
        self.registers["goal_position"] = self._position()
