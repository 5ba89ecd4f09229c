"""The window of `map`: when inputs are taken and sent, and which answer is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.steps import Give, Look, Steps, Submit
from gearmanny.calling.waiting import result
from gearmanny.net.deadline import Deadline

_FILL_SECONDS = 0.01
"""Seconds for which `map` collects inputs before it sends those that it has: a slow source must
not keep the answers back."""


def map_calls(
    inputs: Iterator[object],
    window: int,
    timeout: float | None,
    return_exceptions: bool,
    clock: Callable[[], float],
) -> Steps[None]:
    """Yields the answers of many calls in the order of their inputs. What is under way when this
    is left early is forgotten.

    Args:
        inputs: the arguments of each call.
        window: how many calls may be under way at a time.
        timeout: seconds that each answer is waited for; None for as long as it takes.
        return_exceptions: whether a call that fails yields its exception.
        clock: returns the seconds of a monotonic clock.

    Raises:
        TaskTimeout: no answer in time; and what `Call.value` raises.
        Exception: what the inputs raise, or sending them: once all calls before are answered.
    """
    size = (window + 1) // 2  # half of a window leaves in one send while the other half runs
    under_way: deque[Call[Any]] = deque()
    failure: Exception | None = None
    more = True
    try:
        while more or under_way:
            if more and len(under_way) <= window - size:
                batch: list[object] = []
                try:
                    take(inputs, size, clock, batch)
                    more = bool(batch)
                except Exception as error:
                    more, failure = False, error
                if batch:
                    try:
                        under_way.extend((yield Submit(batch)))
                    except Exception as error:
                        # Calls before these may have been lost: whoever hears only that nothing
                        # could be sent would send them again.
                        more, failure = False, error
                if more and len(under_way) <= window - size:
                    yield Look(under_way[0])
                    if not under_way[0].is_answered():
                        continue
            if under_way:
                yield Give((yield from _answer(under_way, timeout, return_exceptions)))
        if failure is not None:
            raise failure
    finally:
        failure = None  # its traceback leads here
        for call in under_way:
            call.forget()


def take(
    inputs: Iterator[object], size: int, clock: Callable[[], float], batch: list[object]
) -> None:
    """Takes the next inputs: so many, or those that came before the time to send was over.

    Args:
        inputs: where they are taken from.
        size: how many.
        clock: returns the seconds of a monotonic clock.
        batch: where they are added, also those before one that raises.
    """
    until = clock() + _FILL_SECONDS
    for arguments in inputs:
        batch.append(arguments)
        if len(batch) == size or clock() >= until:
            break


def _answer(
    under_way: deque[Call[Any]], timeout: float | None, return_exceptions: bool
) -> Steps[Any]:
    call = under_way[0]
    try:
        if call.is_answered():
            return call.value()
        return (yield from result(call, Deadline(timeout), timeout))
    except Exception as error:
        if not return_exceptions:
            raise
        return error.with_traceback(None)  # whose frames would keep the payload
    finally:
        under_way.popleft().forget()
