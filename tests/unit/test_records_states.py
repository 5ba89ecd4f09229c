"""The states of a recorded job: every event in every state."""

from __future__ import annotations

import itertools
import pickle
import re

import pytest

from gearmanny.errors import InvalidTransition
from gearmanny.records import states
from gearmanny.records.states import (
    ENDINGS,
    RETURNS,
    TRANSITIONS,
    Counter,
    Event,
    State,
    Transition,
    after,
    returning,
)

EVERY_STATE = [None, *State]

ALLOWED = {
    (None, Event.SUBMITTED): (State.QUEUED, None),
    (State.QUEUED, Event.HANDED_OVER): (State.QUEUED, Counter.HANDOVERS),
    (State.QUEUED, Event.UNCLAIMED): (State.FAILED, None),
    (State.QUEUED, Event.CANCELLED): (State.CANCELLED, None),
    (State.QUEUED, Event.CLAIMED): (State.RUNNING, None),
    (State.RUNNING, Event.TAKEN_OVER): (State.RUNNING, Counter.DEATHS),
    (State.RUNNING, Event.SUCCEEDED): (State.SUCCEEDED, None),
    (State.RUNNING, Event.FAILED): (State.FAILED, Counter.FAILURES),
    (State.RUNNING, Event.POISONED): (State.FAILED, Counter.DEATHS),
    (State.RUNNING, Event.INTERRUPTED): (State.CANCELLED, None),
    (State.RUNNING, Event.SUPERSEDED): (State.CANCELLED, None),
    (State.RUNNING, Event.RETRIED): (State.QUEUED, Counter.FAILURES),
    (State.RUNNING, Event.GIVEN_BACK): (State.QUEUED, None),
    (State.RUNNING, Event.OWNER_DIED): (State.QUEUED, Counter.DEATHS),
    (State.FAILED, Event.REVIVED): (State.QUEUED, None),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(EVERY_STATE, Event)))
def test_every_event_in_every_state_is_allowed_or_refused(
    state: State | None, event: Event
) -> None:
    if (state, event) in ALLOWED:
        target, counter = ALLOWED[state, event]
        assert after(state, event) is target
        assert TRANSITIONS[event].counter is counter
    else:
        with pytest.raises(InvalidTransition) as caught:
            after(state, event)
        assert (caught.value.state, caught.value.event) == (state, event)


def test_the_picture_shows_the_table() -> None:
    arrow = re.compile(r"(?=(?<!\w)(\(new\)|\w+) +──(\w+)──► (\w+))")
    drawn = {
        Event(event): (None if source == "(new)" else State(source), State(target))
        for source, event, target in arrow.findall(states.__doc__ or "")
    }
    assert drawn == {event: transition[:2] for event, transition in TRANSITIONS.items()}


def test_only_what_is_queued_or_running_is_open() -> None:
    assert [state for state in State if state.is_open] == [State.QUEUED, State.RUNNING]
    assert {state for state, _ in ALLOWED if state and not state.is_open} == {State.FAILED}


def test_events_of_a_kind_share_their_state() -> None:
    assert {TRANSITIONS[event].source for event in (*ENDINGS, *RETURNS)} == {State.RUNNING}
    assert {TRANSITIONS[event].target for event in RETURNS} == {State.QUEUED}
    assert not {TRANSITIONS[event].target for event in ENDINGS} & {State.QUEUED, State.RUNNING}
    assert Transition(None, State.QUEUED).counter is None


def test_a_refusal_says_what_was_asked_of_which_state() -> None:
    error = InvalidTransition(State.RUNNING, Event.CLAIMED)
    assert str(error) == "A job that is running cannot be claimed."
    assert str(InvalidTransition(None, Event.CLAIMED)).startswith("A job that is not recorded")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("event", RETURNS)
def test_what_returns_goes_back_to_the_queue(event: Event) -> None:
    decided = returning(event, cancelling=False, superseded=False, deaths=0, max_deaths=3)
    assert decided is event


@pytest.mark.parametrize("event", RETURNS)
@pytest.mark.parametrize("superseded", [True, False])
def test_what_is_to_be_cancelled_does_not_return(event: Event, superseded: bool) -> None:
    decided = returning(event, cancelling=True, superseded=superseded, deaths=9, max_deaths=1)
    assert decided is Event.INTERRUPTED


@pytest.mark.parametrize("event", RETURNS)
def test_what_has_a_successor_does_not_return(event: Event) -> None:
    decided = returning(event, cancelling=False, superseded=True, deaths=0, max_deaths=3)
    assert decided is Event.SUPERSEDED


@pytest.mark.parametrize(
    ("event", "deaths", "decided"),
    [
        (Event.OWNER_DIED, 1, Event.OWNER_DIED),
        (Event.OWNER_DIED, 2, Event.POISONED),
        (Event.OWNER_DIED, 7, Event.POISONED),
        (Event.RETRIED, 7, Event.RETRIED),
        (Event.GIVEN_BACK, 7, Event.GIVEN_BACK),
    ],
)
def test_deaths_alone_make_poison(event: Event, deaths: int, decided: Event) -> None:
    found = returning(event, cancelling=False, superseded=False, deaths=deaths, max_deaths=3)
    assert found is decided
