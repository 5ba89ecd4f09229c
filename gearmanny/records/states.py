"""The states of a recorded job, and the events that change them.

::

    (new)  ──submitted──► queued  ──claimed──► running  ──succeeded──► succeeded

    queued ──handed_over──► queued                       the job server has got it
    queued ──unclaimed──► failed                         again and again, and no worker took it
    queued ──cancelled──► cancelled

    running ──taken_over──► running                      by another worker: the owner is dead
    running ──failed──► failed
    running ──poisoned──► failed                         too many processes died of it
    running ──interrupted──► cancelled
    running ──superseded──► cancelled                    a newer job waits under the same key
    running ──retried──► queued                          the task failed, and has attempts left
    running ──given_back──► queued                       no fault of the job
    running ──owner_died──► queued

    failed ──revived──► queued                           on request

Three counters stay apart, because each has a limit of its own: failures of the task, deaths of
processes that ran it, and hand-overs to a job server.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from gearmanny.errors import InvalidTransition


class State(StrEnum):
    """The state of a recorded job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether the job may still run."""
        return self in (State.QUEUED, State.RUNNING)


class Counter(StrEnum):
    """A number that an event raises by one."""

    FAILURES = "failures"
    DEATHS = "deaths"
    HANDOVERS = "handovers"


class Event(StrEnum):
    """An event in the life of a recorded job."""

    SUBMITTED = "submitted"
    HANDED_OVER = "handed_over"
    UNCLAIMED = "unclaimed"
    CANCELLED = "cancelled"
    CLAIMED = "claimed"
    TAKEN_OVER = "taken_over"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    POISONED = "poisoned"
    INTERRUPTED = "interrupted"
    SUPERSEDED = "superseded"
    RETRIED = "retried"
    GIVEN_BACK = "given_back"
    OWNER_DIED = "owner_died"
    REVIVED = "revived"


class Transition(NamedTuple):
    """The effect of an event."""

    source: State | None
    """The only state in which the event is allowed; None for a job that is not recorded yet."""
    target: State
    """The state afterwards."""
    counter: Counter | None = None
    """The counter that is raised by one."""


TRANSITIONS: dict[Event, Transition] = {
    Event.SUBMITTED: Transition(None, State.QUEUED),
    Event.HANDED_OVER: Transition(State.QUEUED, State.QUEUED, Counter.HANDOVERS),
    Event.UNCLAIMED: Transition(State.QUEUED, State.FAILED),
    Event.CANCELLED: Transition(State.QUEUED, State.CANCELLED),
    Event.CLAIMED: Transition(State.QUEUED, State.RUNNING),
    Event.TAKEN_OVER: Transition(State.RUNNING, State.RUNNING, Counter.DEATHS),
    Event.SUCCEEDED: Transition(State.RUNNING, State.SUCCEEDED),
    Event.FAILED: Transition(State.RUNNING, State.FAILED, Counter.FAILURES),
    Event.POISONED: Transition(State.RUNNING, State.FAILED, Counter.DEATHS),
    Event.INTERRUPTED: Transition(State.RUNNING, State.CANCELLED),
    Event.SUPERSEDED: Transition(State.RUNNING, State.CANCELLED),
    Event.RETRIED: Transition(State.RUNNING, State.QUEUED, Counter.FAILURES),
    Event.GIVEN_BACK: Transition(State.RUNNING, State.QUEUED),
    Event.OWNER_DIED: Transition(State.RUNNING, State.QUEUED, Counter.DEATHS),
    Event.REVIVED: Transition(State.FAILED, State.QUEUED),
}
"""Every event. The SQL of the store is made from this table."""

ENDED = (State.SUCCEEDED, State.CANCELLED, State.FAILED)
"""The states of jobs that have ended."""

ENDINGS = (Event.SUCCEEDED, Event.FAILED, Event.INTERRUPTED)
"""The events by which the owner of a running job ends it."""

RETURNS = (Event.RETRIED, Event.GIVEN_BACK, Event.OWNER_DIED)
"""The events by which a running job goes back to the queue, unless `returning` says otherwise."""


def after(state: State | None, event: Event) -> State:
    """Returns the state after an event.

    Args:
        state: before it; None for a job that is not recorded yet.
        event: the event.

    Raises:
        InvalidTransition: the event is not allowed in this state.
    """
    transition = TRANSITIONS[event]
    if transition.source is not state:
        raise InvalidTransition(state, event)
    return transition.target


def returning(
    event: Event, *, cancelling: bool, superseded: bool, deaths: int, max_deaths: int
) -> Event:
    """Returns the event by which a running job that should go back to the queue really moves.

    Args:
        event: one of `RETURNS`.
        cancelling: whether its cancellation was requested.
        superseded: whether a newer job waits under its key.
        deaths: of processes that ran it, before this event.
        max_deaths: with so many deaths it is not run again.
    """
    if cancelling:
        return Event.INTERRUPTED
    if event is Event.OWNER_DIED and deaths + 1 >= max_deaths:
        return Event.POISONED
    if superseded:
        return Event.SUPERSEDED
    return event
