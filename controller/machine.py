"""The states of a run and the events that move between them. Pure; what a state does is loop.py.

disarmed -> checking -> ramp -> run -> damp -> disarmed
                any of them -> fault, which latches until a person clears it
"""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """Where a run stands. The numbers are stored in flight logs."""

    DISARMED = 0  # no torque
    CHECKING = 1  # bundle, robot file and servos are compared; no torque
    RAMP = 2  # what must happen before the policy has authority
    RUN = 3  # the policy acts
    DAMP = 4  # a stop on purpose: damped, then no torque
    FAULT = 5  # a stop because something is wrong: damped, then no torque; latched


class Event(enum.Enum):
    """What can happen to a run."""

    CHECK = enum.auto()  # somebody asks to run
    CHECKED = enum.auto()  # everything fits
    REFUSED = enum.auto()  # something does not fit, or the ramp was not completed in time
    RAMPED = enum.auto()  # the ramp is complete
    STOP = enum.auto()  # a person, a signal or the end of the time
    DAMPED = enum.auto()  # damping has lasted its time
    CUT = enum.auto()  # no torque now, without damping
    FAULT = enum.auto()  # the gate or the bus found something wrong
    CLEAR = enum.auto()  # a person has looked and clears the fault


class TransitionError(ValueError):
    """An event that cannot happen in this state: an error in the caller."""


_TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.DISARMED, Event.CHECK): State.CHECKING,
    (State.DISARMED, Event.STOP): State.DISARMED,
    (State.DISARMED, Event.CLEAR): State.DISARMED,
    (State.CHECKING, Event.CHECKED): State.RAMP,
    (State.CHECKING, Event.REFUSED): State.DISARMED,
    (State.CHECKING, Event.STOP): State.DISARMED,
    (State.RAMP, Event.RAMPED): State.RUN,
    (State.RAMP, Event.REFUSED): State.DAMP,
    (State.RAMP, Event.STOP): State.DAMP,
    (State.RUN, Event.STOP): State.DAMP,
    (State.DAMP, Event.STOP): State.DAMP,
    (State.DAMP, Event.DAMPED): State.DISARMED,
}


def next_state(state: State, event: Event) -> State:
    """The state after ``event``.

    Raises:
        TransitionError: ``event`` cannot happen in ``state``; the message lists those that can.
    """
    if state is State.FAULT:
        return State.DISARMED if event is Event.CLEAR else State.FAULT
    if event is Event.FAULT:
        return State.FAULT
    if event is Event.CUT:
        return State.DISARMED
    if (state, event) not in _TRANSITIONS:
        possible = [known.name for where, known in _TRANSITIONS if where is state]
        raise TransitionError(
            f"{event.name} cannot happen in {state.name}; possible are FAULT, CUT, "
            + ", ".join(possible)
        )
    return _TRANSITIONS[state, event]
