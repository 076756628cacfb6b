"""The loop's ticks: read, observe, decide, check, write. It knows no signals, files or slots.

One ``Loop`` is one attempt to run: it begins where the checks ended and is finished when torque may
go off. Scheduling the ticks, and switching torque off whatever happens, is run.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..hardware.state import RobotState
from . import program
from .bundle import Bundle
from .command import CommandSource, resting, within_range
from .gate import FAULTS, GateResult, Reason, explain, gate, gate_limits
from .machine import Event, State, next_state
from .ramp import Ramp, damp_target, start_ramp
from .tick import Tick
from .timing import Slot
from .writer import ReadableBus, Writer

# While coming to rest, only a target that is no number counts: the fault is known already.
_DAMPING_FORGIVES = FAULTS & ~Reason.NOT_FINITE


@dataclasses.dataclass(frozen=True)
class _Decision:
    """What the present state wants of one tick."""

    target: np.ndarray
    action: np.ndarray | None = None
    forgive: Reason = Reason.NONE
    energise: bool = False
    event: Event | None = None
    sentence: str = ""


class Loop:
    """A policy on a robot, tick by tick.

    Args:
        bundle: the verified policy.
        bus: the side of the bus that reads.
        writer: the only holder of the side that writes.
        commands: what the policy should follow.
    """

    def __init__(
        self, bundle: Bundle, bus: ReadableBus, writer: Writer, commands: CommandSource
    ) -> None:
        self.state = State.DISARMED
        self.finished = False  # nothing is left to do but to switch torque off
        self.fault: str | None = None  # name of the first fault
        self.sentence = ""  # why it stopped, for a person
        self.authority_since: float | None = None  # [s], when the policy took over
        self.paused = False  # torque was switched in the last tick, which may have taken long
        self._bundle, self._bus, self._writer, self._commands = bundle, bus, writer, commands
        self._robot, self._contract = bus.robot, bundle.contract
        self._limits = gate_limits(self._robot)
        self._memory = program.initial_memory(bundle.contract)
        self._hidden = bundle.policy.initial_state()
        self._no_command = within_range(self._contract, resting(self._contract.command))
        self._last_sent = np.zeros(len(self._robot.joint))
        self._energised = False
        self._heartbeat = 0.0  # [s], when the policy last decided
        self._ramp: Ramp | None = None
        self._damping_since = 0.0  # [s]
        self._damping_pose = np.zeros(len(self._robot.joint))  # [rad], where it began

    def begin(self) -> None:
        """The checks begin."""
        self.state = next_state(self.state, Event.CHECK)

    def arm(self, time: float) -> None:
        """Everything fits: the ramp begins at ``time`` [s]."""
        self.state = next_state(self.state, Event.CHECKED)
        self._ramp = start_ramp(self._robot, time)
        self._heartbeat = time

    def handle(self, event: Event, sentence: str, time: float) -> None:
        """Something that stops the run happened at ``time`` [s].

        The first sentence is kept, but a fault's weighs more than a stop on purpose.
        """
        before = self.state
        self.state = next_state(before, event)
        if not self.sentence or (event is Event.FAULT and before is not State.FAULT):
            self.sentence = sentence
        if event is Event.CUT or not self._energised:
            self.finished = True
            if self.state is State.DAMP:  # without torque there is nothing to damp
                self.state = next_state(self.state, Event.DAMPED)
        elif before not in (State.DAMP, State.FAULT):
            self._damping_since = time
            self._damping_pose = self._memory.joint_position.astype(np.float64)

    def tick(self, slot: Slot, overruns: int) -> Tick:
        """One tick, begun at ``slot.start``.

        Raises:
            PortError: the port has gone away.
        """
        clock, robot, state = self._bus.clock, self._robot, self.state
        self.paused = False
        reading = self._bus.read(slot.start + robot.read_fraction * robot.period)
        read = clock.now()
        command = self._command(slot.start)
        observation, self._memory = program.observe(self._contract, reading, command, self._memory)
        decision = self._decide(observation, slot.start)
        switch_on = decision.energise and not self._energised
        if switch_on:
            self._last_sent = decision.target  # goals start where the robot is
        now = clock.now()
        result = gate(
            self._limits,
            reading,
            self._memory,
            decision.target,
            self._last_sent,
            now - self._heartbeat,
            robot.period,
            decision.forgive,
        )
        self._heartbeat = now
        computed = clock.now()
        sent = self._send(result) if self._energised or (switch_on and not result.fault) else None
        wrote = clock.now()
        if decision.event is Event.DAMPED:
            self.state = next_state(self.state, Event.DAMPED)
            self.finished = True
        elif result.fault:
            self._latch(result, reading, wrote)
        else:
            if switch_on:
                self._switch_on(wrote)
            if decision.event is Event.RAMPED and self.state is State.RAMP:
                self.state = next_state(self.state, Event.RAMPED)
                self.authority_since = clock.now()
            elif decision.event is Event.REFUSED:
                self.handle(Event.REFUSED, decision.sentence, wrote)
        return Tick(
            slot=slot.number,
            time=slot.start,
            lateness=slot.start - slot.due,
            read_time=read - slot.start,
            compute_time=computed - read,
            write_time=wrote - computed,
            state=state,
            overruns=overruns,
            reading=reading,
            memory=self._memory,
            command=command,
            observation=observation,
            action=decision.action,
            target=decision.target,
            sent=sent,
            reasons=result.reasons,
        )

    def _command(self, time: float) -> np.ndarray:
        if self.authority_since is None or self.state is not State.RUN:
            return self._no_command
        since = max(0.0, time - self.authority_since)
        return within_range(self._contract, self._commands.command(since))

    def _decide(self, observation: np.ndarray, time: float) -> _Decision:
        if self.state is State.RUN:
            action, self._hidden = self._bundle.policy.step(observation, self._hidden)
            if not np.all(np.isfinite(action)):  # the program's clip would hide an infinity
                return _Decision(np.full(len(self._robot.joint), np.nan), action)
            command, self._memory = program.act(self._contract, action, self._memory)
            return _Decision(command.target, action)
        if self.state is State.RAMP and self._ramp is not None:
            # In shadow: history, hidden state and caches are warm when the policy takes over.
            _, self._hidden = self._bundle.policy.step(observation, self._hidden)
            step = self._ramp.advance(self._memory, time)
            event = Event.RAMPED if step.done else Event.REFUSED if step.refused else None
            return _Decision(
                step.target,
                forgive=self._ramp.forgive,
                energise=step.energise,
                event=event,
                sentence=step.refused,
            )
        done = time - self._damping_since >= self._robot.damp.seconds
        return _Decision(
            damp_target(self._robot, self._memory, self._damping_pose),
            forgive=_DAMPING_FORGIVES,
            event=Event.DAMPED if done else None,
        )

    def _send(self, result: GateResult) -> np.ndarray:
        self._last_sent = self._writer.send(result).target
        return self._last_sent

    def _switch_on(self, time: float) -> None:
        self._energised = self.paused = True  # even a part of the servos is reason to damp
        missing = self._writer.torque_on()
        self._heartbeat = self._bus.clock.now()
        if missing:
            self.fault = self.fault or "TORQUE"
            self.handle(
                Event.FAULT,
                f"{', '.join(missing)} did not confirm torque; check cable, supply and hardware "
                "errors, then run again",
                time,
            )

    def _latch(self, result: GateResult, reading: RobotState, time: float) -> None:
        self.fault = self.fault or result.fault.name
        sentence = explain(self._limits, reading, self._memory, result.fault)
        self.handle(Event.FAULT, sentence, time)
