"""Running jobs that leave their owner: back to the queue, or to an end of another kind."""

from __future__ import annotations

from gearmanny.errors import GearmanException, JobCancelled
from gearmanny.payload.checks import PERIOD
from gearmanny.payload.failures import encode_failure
from gearmanny.records.ids import canonical
from gearmanny.records.session import ATTEMPTS, Session, line_of
from gearmanny.records.states import Event, returning
from gearmanny.records.values import Claim, Returned

_LOCK = """
    SELECT j.function, j.limited, j.cancelling, j.deaths, EXISTS (
        SELECT 1 FROM {jobs} newer WHERE newer.function = j.function
        AND newer.unique_waiting_key = j.unique_waiting_key AND newer.state = 'queued'
    ) FROM {jobs} j WHERE j.id = %s AND j.claim = %s AND j.state = 'running' {for_update}
"""

_BACK = {
    event: f"""
        UPDATE {{jobs}} SET {{event[{event}]}}, due = {{later}}, handed = NULL, unclaimed = 0,
            limited = NULL, held = NULL,
            error = coalesce(%s, error), errors = {{attempts}}
        WHERE id = %s AND claim = %s AND {{before[{event}]}}
        RETURNING {{tell_waiting}}
    """
    for event in (Event.RETRIED, Event.GIVEN_BACK, Event.OWNER_DIED)
}

_END = {
    event: f"""
        UPDATE {{jobs}} SET {{event[{event}]}}, finished = {{now}}, cancelling = FALSE,
            error = coalesce(%s, error), errors = {{attempts}}
        WHERE id = %s AND claim = %s AND {{before[{event}]}}
        RETURNING {{tell_waiting}}, {{tell_room}}
    """
    for event in (Event.INTERRUPTED, Event.SUPERSEDED, Event.POISONED)
}

_HELD_BY = "SELECT id, claim FROM {jobs} WHERE state = 'running' AND process = %s"


def give_back(
    session: Session, claim: Claim, event: Event, delay: float, error: str | None, max_deaths: int
) -> Returned | None:
    """Gives a running job back. See `gearmanny.records.contract.Store.give_back`.

    Args:
        session: on a connection of our own, outside of a transaction.
    """
    error = line_of(error)
    PERIOD.check("delay", delay)
    for _ in range(ATTEMPTS):
        try:
            with session.transaction():
                return _give_back(session, claim, event, delay, error, max_deaths)
        except Exception as failure:
            # A newer job with the same key came between the look and the update.
            if not session.dialect.is_duplicate(failure):
                raise
    raise GearmanException(
        f"The key of the job {claim.id} was taken and freed {ATTEMPTS} times while the job was "
        "given back. Try again."
    )


def _give_back(
    session: Session, claim: Claim, event: Event, delay: float, error: str | None, max_deaths: int
) -> Returned | None:
    id = session.dialect.id(claim.id)
    row = session.row(_LOCK, id, claim.token)
    if row is None:
        return None
    function, limit, cancelling, deaths, superseded = row
    decided = returning(
        event,
        cancelling=bool(cancelling),
        superseded=bool(superseded),
        deaths=deaths,
        max_deaths=max_deaths,
    )
    if decided in _BACK:
        values = float(delay), error, decided, error or "null", id, claim.token, "returned "
        session.rows(_BACK[decided], *values)
        if session.dialect.notifies:
            for subject in ("due",) if limit is None else ("due", f"room {limit}"):
                session.rows("SELECT {tell}", subject)
    else:
        error = _reason(decided, function, deaths + 1) if decided is not event else error
        session.rows(_END[decided], error, decided, error or "null", id, claim.token, "done ")
    return Returned(claim.id, function, decided)


def _reason(event: Event, function: str, deaths: int) -> str:
    if event is Event.POISONED:
        failure: GearmanException = GearmanException(
            f"{deaths} processes died while they ran {function}(), so it is not run again. Look "
            "into the log of the runner for their exit codes."
        )
    elif event is Event.SUPERSEDED:
        failure = GearmanException("A newer job waits under the same key.")
    else:
        failure = JobCancelled(function)
    return encode_failure(failure).decode()


def take_back(session: Session, process: str, *, counts: bool, max_deaths: int) -> list[Returned]:
    """Takes back the jobs of a dead process. See `gearmanny.records.contract.Store.take_back`."""
    event = Event.OWNER_DIED if counts else Event.GIVEN_BACK
    held = session.rows(_HELD_BY, session.dialect.id(process))
    returned = (
        give_back(session, Claim(canonical(id), token), event, 0.0, None, max_deaths)
        for id, token in held
    )
    return [job for job in returned if job is not None]
