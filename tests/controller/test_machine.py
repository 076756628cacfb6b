"""The state machine: every pair of state and event is decided here."""

from __future__ import annotations

import itertools

import pytest
from retort.controller import Event, State, next_state
from retort.controller.machine import TransitionError

ALLOWED = {
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
ALIVE = [state for state in State if state is not State.FAULT]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(ALIVE, Event)))
def test_only_these_transitions_exist(state: State, event: Event) -> None:
    if event is Event.FAULT:
        assert next_state(state, event) is State.FAULT
    elif event is Event.CUT:
        assert next_state(state, event) is State.DISARMED
    elif (state, event) in ALLOWED:
        assert next_state(state, event) is ALLOWED[state, event]
    else:
        with pytest.raises(TransitionError, match=f"{event.name} cannot happen in {state.name}"):
            next_state(state, event)


@pytest.mark.parametrize("event", Event)
def test_a_fault_is_left_only_when_a_person_clears_it(event: Event) -> None:
    expected = State.DISARMED if event is Event.CLEAR else State.FAULT
    assert next_state(State.FAULT, event) is expected


def test_the_policy_gets_authority_only_by_checks_and_ramp() -> None:
    into_run = {
        (state, event)
        for state, event in itertools.product(ALIVE, Event)
        if (state, event) in ALLOWED and next_state(state, event) is State.RUN
    }
    assert into_run == {(State.RAMP, Event.RAMPED)}
