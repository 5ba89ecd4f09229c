"""A job is claimed by the process that runs it, and finished by the same process.

The token of a claim decides everything: a process that lost its job to another one cannot finish
it. Every statement may be repeated when its answer was lost, because the token stays in the row.
"""

from __future__ import annotations

import secrets

from gearmanny.records.ids import canonical
from gearmanny.records.session import Session, arguments_of, columns_of, line_of, time_of
from gearmanny.records.states import ENDINGS, Event, State
from gearmanny.records.values import Claim, Claimed, Payload, Refusal, Refused, Settled

_CLAIMED = """RETURNING function, arguments, arguments_raw, attempts, failures, deaths,
    {epoch[created]}, trace, headers"""

_OWNED = """claim = %s, process = %s, started = {now}, attempts = attempts + 1"""

_CLAIM = f"""
    UPDATE {{jobs}} SET {{event[claimed]}}, unclaimed = 0, {_OWNED}
    WHERE id = %s AND {{before[claimed]}} AND function = %s AND handovers = %s AND due <= {{now}}
        AND EXISTS (SELECT 1 FROM {{processes}} WHERE id = %s)
    {_CLAIMED}, {{tell_waiting}}
"""

# What the dead owner began is an attempt that did not succeed.
_TAKE_OVER = f"""
    UPDATE {{jobs}} SET {{event[taken_over]}}, {_OWNED}, errors = {{attempts}}
    WHERE id = %s AND claim = %s AND {{before[taken_over]}} AND NOT cancelling
        AND deaths + 1 < %s
    {_CLAIMED}
"""

_LOOK = """
    SELECT function, state, handovers, claim, process, due <= {now},
        EXISTS (SELECT 1 FROM {processes} WHERE id = %s)
    FROM {jobs} WHERE id = %s
"""

_MINE = """
    SELECT function, arguments, arguments_raw, attempts, failures, deaths, {epoch[created]}, trace,
        headers
    FROM {jobs} WHERE id = %s AND claim = %s AND state = 'running'
"""


def new_token() -> int:
    """Returns the token of a new claim."""
    return secrets.randbits(63)


def claim(
    session: Session, id: str, function: str, number: int, process: str, token: int
) -> Claimed | Refused:
    """Claims a job. See `gearmanny.records.contract.Store.claim`."""
    row_id, process_id = session.dialect.id(id), session.dialect.id(process)
    claim = Claim(id, token)
    row = session.prepared_row(
        _CLAIM, token, process_id, row_id, function, number, process_id, "started "
    )
    if row is not None:
        return _claimed(claim, *row[:-1])
    return unclaimed(session, claim, function, number, process)


def unclaimed(
    session: Session, claim: Claim, function: str, number: int, process: str
) -> Claimed | Refused:
    """Returns why a job was not claimed just now; the claim, where it was claimed before, and the
    answer was lost."""
    row_id, process_id = session.dialect.id(claim.id), session.dialect.id(process)
    found = session.prepared_row(_LOOK, process_id, row_id)
    if found is None or found[0] != function:
        return Refused(Refusal.UNKNOWN)
    _, state, handovers, owner_token, owner, is_due, is_registered = found
    if state == State.RUNNING:
        if owner_token == claim.token:  # the answer to the same statement was lost
            row = session.row(_MINE, row_id, claim.token)
            if row is not None:
                return _claimed(claim, *row)
        return Refused(Refusal.RUNNING, canonical(owner), Claim(claim.id, owner_token))
    if not State(state).is_open:
        return Refused(Refusal.OVER)
    if handovers != number:
        return Refused(Refusal.OUTDATED)
    if not is_due:
        return Refused(Refusal.EARLY)
    return Refused(Refusal.OUTDATED if is_registered else Refusal.UNREGISTERED)


def take_over(
    session: Session, dead: Claim, process: str, token: int, max_deaths: int
) -> Claimed | None:
    """Claims a job whose owner is dead; returns None when its claim is no longer valid, or when
    the job shall not run again."""
    row_id = session.dialect.id(dead.id)
    row = session.row(
        _TAKE_OVER,
        *(token, session.dialect.id(process), Event.OWNER_DIED, "null"),
        *(row_id, dead.token, max_deaths),
    ) or session.row(_MINE, row_id, token)
    return None if row is None else _claimed(Claim(dead.id, token), *row)


def _claimed(
    claim: Claim,
    function: str,
    arguments: str | None,
    arguments_raw: bytes | None,
    attempts: int,
    failures: int,
    deaths: int,
    created: float,
    trace: str,
    headers: str,
) -> Claimed:
    payload = arguments_of(arguments, arguments_raw)
    counts = attempts, failures, deaths
    return Claimed(claim, function, payload, *counts, time_of(created), trace, headers)


_FINISH = {
    event: f"""
        UPDATE {{jobs}} SET {{event[{event}]}}, finished = {{now}}, cancelling = FALSE,
            result = %s, result_raw = %s {more}
        WHERE id = %s AND claim = %s AND {{before[{event}]}}
        RETURNING limited, {{tell_waiting}}, {{tell_room}}
    """
    for event in ENDINGS
    for more in ["" if event is Event.SUCCEEDED else ", error = %s, errors = {attempts}"]
}

# In a statement of its own, as the first one tells who waits for room within the limit.
_FORGET_LIMIT = "UPDATE {jobs} SET limited = NULL WHERE id = %s"

_SETTLE = "SELECT claim, state FROM {jobs} WHERE id = %s {for_update}"


def finish(
    session: Session,
    claim: Claim,
    event: Event,
    result: Payload | None,
    error: str | None,
    forget_arguments: bool | str,
) -> bool:
    """Finishes a job. See `gearmanny.records.contract.Store.finish`."""
    error = line_of(error)
    values: list[object] = [*columns_of(result)]
    if event is not Event.SUCCEEDED:
        values += [error, event, error or "null"]
    template = _FINISH[event]
    if forget_arguments and event is Event.SUCCEEDED:
        template = template.replace(
            "finished =", "arguments = %s, arguments_raw = NULL, finished ="
        )
        values.insert(0, forget_arguments if isinstance(forget_arguments, str) else None)
    row = session.prepared_row(
        template, *values, session.dialect.id(claim.id), claim.token, "done "
    )
    if row is not None and row[0] is not None and event is Event.SUCCEEDED and forget_arguments:
        # The name of the limit of a key has the value of an argument.
        session.change(_FORGET_LIMIT, session.dialect.id(claim.id))
    return row is not None


def settle(session: Session, claim: Claim) -> Settled:
    """Looks whether a claim has finished its job. See `gearmanny.records.contract.Store.settle`."""
    row = session.row(_SETTLE, session.dialect.id(claim.id))
    if row is None or row[0] != claim.token or row[1] == State.QUEUED:
        return Settled.TAKEN
    return Settled.LOST if row[1] == State.RUNNING else Settled.COMMITTED
