"""Waiting for what comes of a call: its answer, its updates, its stream; and why nothing comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.steps import Avoid, Command, Give, Steps, Submit, Tell, Wait
from gearmanny.calling.values import Data, Update
from gearmanny.errors import GearmanException, JobServerUnavailable, TaskTimeout
from gearmanny.net.deadline import NEVER, Deadline
from gearmanny.payload.names import served_here
from gearmanny.protocol.admin import AdminConnection, FunctionStatus, parse_status, read_rows

logger = logging.getLogger("gearmanny.client")

UNSERVED = 5.0
"""Seconds after which a call without a timeout looks whether any worker offers its function."""

_ASK_WHY_TIMEOUT = 1.0
"""Seconds that a timeout may take longer, to tell whether any worker offers the function."""


def until(
    call: Call[Any], ready: Callable[[], bool], deadline: Deadline, timeout: float | None
) -> Steps[None]:
    """Waits until something is true of a call.

    Args:
        call: the call.
        ready: tells whether it is true.
        deadline: when the wait is over anyhow.
        timeout: the seconds that it is made of, as the error names them.

    Raises:
        TaskTimeout: the deadline passed first.
    """
    if ready():
        return
    if timeout is None and not call.warned_of_silence:
        if (yield Wait(call, ready, Deadline(UNSERVED))):
            return
        yield from warn_if_unserved(call)
    if (yield Wait(call, ready, deadline)):
        return
    assert timeout is not None  # only a deadline ends a wait without an answer
    if timeout == 0:  # a look, not a wait: not worth a question to the server
        raise TaskTimeout(call.function, timeout)
    raise TaskTimeout(call.function, timeout, (yield from explain_silence(call)))


def warn_if_unserved(call: Call[Any]) -> Steps[None]:
    """Logs that no worker offers the function of a call, for whose answer nobody said how long it
    is waited. At most once for each call."""
    if call.warned_of_silence or call.options.background:  # one that is to be accepted only
        return
    call.warned_of_silence = True
    host, tls = call.line.host, call.line.tls
    try:
        rows = yield Command(host, tls, "status", AdminConnection.receive_rows, _ASK_WHY_TIMEOUT)
    except GearmanException:
        return  # the connection of the call says so itself
    row = offered(call.function, map(parse_status, rows))
    if row is not None:
        _warn_if_alone(str(host), row)
    else:
        logger.warning(
            "%s() has no answer after %g s: no worker offers it on %s. The call has no timeout, so "
            "it waits on.",
            call.function,
            UNSERVED,
            host,
            extra={"action": "nobody_offers", "function": call.function},
        )


def explain_silence(call: Call[Any]) -> Steps[str]:
    """Returns a sentence on why a function did not answer, from what its job server says."""
    host, tls = call.line.host, call.line.tls
    try:
        rows = yield Command(host, tls, "status", AdminConnection.receive_rows, _ASK_WHY_TIMEOUT)
        known = read_rows(parse_status, rows)
        row = offered(call.function, known)
        alone = "" if row is None else _warn_if_alone(str(host), row)
        return alone or why_silent(str(host), call.function, known)
    except JobServerUnavailable:  # perhaps it was stopped, and its connections stay as they are
        yield Avoid(host)
    except GearmanException:
        pass
    return silent_too(str(host))


def _warn_if_alone(host: str, row: FunctionStatus) -> str:
    """Logs that a task waits for a function that no other process than its own serves; returns a
    sentence that says so, an empty one where that is not the case."""
    if row.workers > 1 or row.function not in served_here.get():
        return ""
    logger.warning(
        "%s() cannot run: the task that waits for it runs in the only process that offers it on %s",
        row.function,
        host,
        extra={"action": "waits_for_itself", "function": row.function},
    )
    return (
        f"The task that waits for it runs in the only process that offers it on {host}. Start more "
        "processes, give one of the two workers a process of its own, or call the method."
    )


class Pace:
    """Ends the taking of updates that come faster than they are taken: there would always be one,
    and the deadline would never be looked at."""

    __slots__ = ("_call", "_deadline", "_timeout")

    def __init__(self, call: Call[Any], deadline: Deadline, timeout: float | None) -> None:
        self._call = call
        # A job that has ended already is not waited for: its updates may be taken at leisure.
        self._deadline = NEVER if call.is_answered() else deadline
        self._timeout = timeout

    def check(self) -> None:
        """Raises TaskTimeout where the deadline has passed and there are more updates."""
        if self._call.unread and self._deadline.has_passed():
            assert self._timeout is not None
            raise TaskTimeout(
                self._call.function,
                self._timeout,
                "Its updates come faster than they are taken, and some are left. "
                "Take them faster, or allow more time.",
            )


def result(call: Call[Any], deadline: Deadline, timeout: float | None) -> Steps[Any]:
    """Returns what a task returned, or raises what its job ended with; passes its updates on.

    Raises:
        TaskTimeout: no answer in time; and what `Call.value` and `on_update` raise.
    """
    on_update = call.options.on_update
    if on_update is not None:
        pace = Pace(call, deadline, timeout)
        while (update := (yield from next_update(call, deadline, timeout))) is not None:
            yield Tell(on_update, update)
            pace.check()
    yield from until(call, call.is_answered, deadline, timeout)
    return call.value()


def exception(call: Call[Any], deadline: Deadline, timeout: float | None) -> Steps[Any]:
    """Returns what a job ended with where that is an exception, else None.

    Raises:
        TaskTimeout: no answer in time.
    """
    yield from until(call, call.is_answered, deadline, timeout)
    return call.exception()


def next_update(call: Call[Any], deadline: Deadline, timeout: float | None) -> Steps[Update | None]:
    """Returns the next update of a job; None when it has ended.

    Raises:
        TaskTimeout: neither came in time.
        EncodingError: the update cannot be decoded.
    """
    while True:
        yield from until(call, call.has_news, deadline, timeout)
        update = call.take_update()
        if update is not None:
            return update
        if call.is_answered() and not call.unread:
            return None


def updates(call: Call[Any], deadline: Deadline, timeout: float | None) -> Steps[None]:
    """Yields the updates of a job until it ends.

    Raises:
        TaskTimeout: it did not end in time, or they are taken too slowly.
        EncodingError: an update cannot be decoded.
    """
    pace = Pace(call, deadline, timeout)
    while (update := (yield from next_update(call, deadline, timeout))) is not None:
        yield Give(update)
        pace.check()


def stream(payload: bytes, timeout: float | None, most_unread: int) -> Steps[None]:
    """Yields the parts of a result as they come, and forgets the job where that is left early.

    Args:
        payload: the encoded arguments.
        timeout: seconds for the whole job to end; None for as long as it takes.
        most_unread: bytes that may wait to be read.

    Raises:
        EncodingError: more than that waited, or a part cannot be decoded.
        TaskTimeout: the job did not end in time, or its parts are taken too slowly; and what
            `Call.rest_of_stream` and `on_update` raise.
    """
    (call,) = yield Submit([payload])
    del payload  # it may be large, and nobody needs it once it was sent
    call.needs_all(most_unread)
    try:
        deadline, on_update, sent_ahead = Deadline(timeout), call.options.on_update, False
        pace = Pace(call, deadline, timeout)
        while (update := (yield from next_update(call, deadline, timeout))) is not None:
            if on_update is not None:
                yield Tell(on_update, update)
            if isinstance(update, Data):
                sent_ahead = True
                yield Give(update.value)
            pace.check()
        for value in call.rest_of_stream(sent_ahead):
            yield Give(value)
    finally:
        call.forget()


def silent_too(host: str) -> str:
    """Returns a sentence on a job server that does not even say why a function did not answer."""
    return f"The job server {host} does not answer either."


def offered(function: str, rows: Iterable[FunctionStatus]) -> FunctionStatus | None:
    """Returns the row of a function that workers offer; None where none does."""
    return next((row for row in rows if row.function == function and row.workers), None)


def why_silent(host: str, function: str, rows: Iterable[FunctionStatus]) -> str:
    """Returns a sentence on why a function did not answer, from the rows of its job server."""
    row = offered(function, rows)
    if row is not None:
        return (
            f"On {host} {row.workers} worker(s) offer it; {row.running} of its jobs run "
            f"and {row.total - row.running} wait. Wait longer, or start more workers."
        )
    return (
        f"No worker offers it on {host}. Start one that does, or look whether the name "
        "and the host are right."
    )
