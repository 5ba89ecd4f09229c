"""How a call is answered: step by step, whoever takes the steps."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from gearmanny.helpers import entries
from gearmanny.helpers.calls import Call
from gearmanny.helpers.counting import Outcome
from gearmanny.helpers.entries import Entry
from gearmanny.helpers.flights import Flight
from gearmanny.helpers.freshness import Freshness
from gearmanny.helpers.steps import Ask, Compute, Join, Keep, Nothing, Pause, Refresh, Step, Steps

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25
"""Seconds between two questions whether another process has computed an answer."""


def answering(call: Call) -> Steps:
    """Returns the answer of a call: from the cache, from another call, or computed."""
    while True:
        yield from _looking(call)
        entry = call.entry
        if entry is not None and entry.freshness is Freshness.HIT:
            return _counted(call, Outcome.HIT, entry)
        if entry is not None and entry.freshness is Freshness.STALE:
            if flight := call.cache.flights.board_alone(call.key, time.monotonic()):
                call.lead(flight)
                call.log("refresh")
                yield Refresh()
            return _counted(call, Outcome.STALE, entry)
        flight, leads = call.cache.flights.board(call.key)
        if leads:
            call.lead(flight)
            return (yield from _landing(call, _computing(call)))
        landed = yield from _joining(call, flight)
        if landed is Nothing.HELD_UP:
            return (yield from _holding(call))
        if landed is not None:
            call.count(Outcome.JOINED)
            return json.loads(landed)


def looking(call: Call) -> Steps:
    """Returns the answer of a call that is in the cache; None without one that may be used."""
    yield from _looking(call)
    entry = call.entry
    return None if entry is None or entry.freshness is Freshness.OLD else entry.value


def clearing(call: Call) -> Steps:
    """Deletes the answer of a call, and the lease of whoever computes it: what comes of that is not
    stored. Returns how many entries were deleted."""
    call.cache.flights.leave_all(call.key)
    deleted = yield Ask(entries.delete(call.key), writes=True)
    count = 0 if isinstance(deleted, Nothing) else deleted.deleted_count
    if call.is_shared and (candidates := call.candidates()):
        deleted = yield Ask(entries.delete_shared(call.unique_name, candidates), writes=True)
        count += 0 if isinstance(deleted, Nothing) else deleted.deleted_count
    return count


def recomputing(call: Call) -> Steps:
    """Returns a new answer of a call. Raises what computing raises, whatever there was before."""
    call.may_fall_back = False
    while True:
        flight, leads = call.cache.flights.board(call.key)
        if leads:
            call.lead(flight)
            return (yield from _landing(call, _anew(call)))
        try:
            landed = yield from _joining(call, flight)
        except Exception:  # that is the other call's affair
            continue
        if landed is Nothing.HELD_UP:
            return (yield from _holding(call))


def _joining(call: Call, flight: Flight) -> Steps:
    """Waits for a flight: not for ever for one that rests."""
    landed = yield Join(flight, call.cache.leases.seconds)
    if landed is Nothing.STALLED:
        call.cache.flights.leave(flight)
        return None
    return landed


def _anew(call: Call) -> Steps:
    yield from _looking(call)
    return (yield from _computing(call, anew=True))


def refreshing_by_job(call: Call) -> Steps:
    """Computes an answer again in a job that is there for that."""
    yield from _looking(call)
    is_fresh = call.entry is not None and call.entry.freshness is Freshness.HIT
    if not is_fresh:
        flight, leads = call.cache.flights.board(call.key)
        if leads:
            call.lead(flight)
            yield from refreshing(call)


def refreshing(call: Call) -> Steps:
    """Computes an answer that nobody waits for, unless another process does. The caller has boarded
    the flight. After a failure, nobody tries again before the lease has ended by itself."""
    cache = call.cache
    lease = cache.leases.seconds
    try:
        claim = yield from _claim(call)
        if claim is None or not claim.granted:
            return
        if claim.added != call.seen:  # somebody was quicker
            yield from _releasing(call)
            return
        lease = 0
        try:
            text = yield Compute(call.flight)
        except BaseException:
            lease = cache.leases.seconds
            raise
        if json.loads(text) or not (call.entry and call.entry.value):
            yield from _storing(call, text)
        else:
            lease = cache.leases.seconds
            call.log("served stale")
    except Exception as error:
        call.log_failure(error)
    finally:
        if lease:
            now = time.monotonic()
            cache.flights.rest(call.key, now, now + lease / 4)
        cache.leases.drop(call.holder)
        cache.flights.abandon(call.flight)


def _landing(call: Call, steps: Steps) -> Steps:
    flights = call.cache.flights
    try:
        value = yield from steps
    except Exception as error:
        flights.fail(call.flight, error)
        raise
    except BaseException:  # an interruption of this caller alone
        flights.abandon(call.flight)
        raise
    finally:
        call.cache.leases.drop(call.holder)  # an interruption may come between any two lines
    flights.land(call.flight, value)
    return value


def _looking(call: Call) -> Steps:
    call.entry = None
    call.seen = None
    found = yield Ask(entries.find(call.key))
    if isinstance(found, Nothing):
        call.is_away = found is Nothing.AWAY
        call.seen = found
        return
    call.is_away = False
    call.seen = found.get("added") if found else None
    now = datetime.now(UTC)
    call.entry = entries.read(found, call.ages, now)
    if call.is_shared and (call.entry is None or call.entry.freshness is Freshness.OLD):
        yield from _looking_at_the_shared(call, now)
    call.log(_WORTH[call.entry.freshness if call.entry else Freshness.MISS])


_WORTH = {
    Freshness.HIT: "hit",
    Freshness.STALE: "stale",
    Freshness.OLD: "stale",
    Freshness.MISS: "miss",
}


def _looking_at_the_shared(call: Call, now: datetime) -> Steps:
    candidates = call.candidates()
    if not candidates:
        return
    found = yield Ask(entries.find_shared(call.unique_name, candidates))
    if isinstance(found, Nothing):
        return
    shared = entries.read_shared(
        found, call.unique_name, candidates, call.ages, now, call.cache.json_encoder
    )
    if shared is not None and (call.entry is None or shared.freshness is not Freshness.OLD):
        call.entry = shared


def _computing(call: Call, *, anew: bool = False) -> Steps:
    """Returns an answer. Unless it is computed anew, that of another process will do which stores
    one meanwhile."""
    pauses = _pauses()
    while not call.is_away:
        claim = yield from _claim(call)
        if claim is None or claim.bypassed:
            break
        if not anew and claim.added != call.seen and not isinstance(call.seen, Nothing):
            yield from _looking(call)
            if call.entry is not None and call.entry.freshness is not Freshness.OLD:
                yield from _releasing(call)
                return _counted(call, Outcome.JOINED, call.entry)
        if claim.granted:
            break
        yield Pause(next(pauses))
    return (yield from _holding(call))


def _holding(call: Call) -> Steps:
    """Returns an answer that is computed under a lease, or without one."""
    compute = Compute(call.flight)
    try:
        text = yield compute
    except GeneratorExit:  # nobody takes any more steps
        raise
    except BaseException as error:
        yield from _releasing(call)
        can_fall_back = call.may_fall_back and not compute.begun
        if call.entry is None or not can_fall_back or not isinstance(error, Exception):
            raise
        call.log_failure(error)
        return _counted(call, Outcome.FALLBACK, call.entry)
    value = json.loads(text)
    if not value and call.entry is not None and call.entry.value:
        yield from _releasing(call)
        call.log("served stale")
        return _counted(call, Outcome.FALLBACK, call.entry)
    call.count(Outcome.UNCACHED if call.is_away else Outcome.MISS)
    yield from _storing(call, text)
    return value


def _claim(call: Call) -> Generator[Step, Any, entries.Claim | None]:
    """Asks for the lease. One that is granted is kept from then on."""
    holder = uuid.uuid4().hex
    operation = entries.claim(call.key, call.unique_name, holder, call.cache.leases.seconds)
    found = yield Ask(operation, writes=True)
    if found is None:  # some servers say so where two insert the document at once
        found = yield Ask(operation, writes=True)
    if found is None or isinstance(found, Nothing):
        return None
    claim = entries.claimed(found, holder)
    if claim.granted:
        call.holder = holder
        call.cache.leases.hold(holder, call.flight)
    return claim


def _releasing(call: Call) -> Steps:
    if call.holder is not None and not call.is_inherited:
        call.cache.leases.drop(call.holder)
        yield Ask(entries.release(call.key, call.holder), writes=True)
        call.holder = None


def _storing(call: Call, text: str) -> Steps:
    if call.is_inherited:
        return
    document = None
    try:
        document = entries.document(
            call.key, call.unique_name, call.shared_arguments(), text, call.ages
        )
        stored = Nothing.USELESS
        if document is not None:
            stored = yield Keep(entries.store(document, call.holder))
    finally:
        call.cache.leases.drop(call.holder)
    if stored is not Nothing.USELESS:
        call.log("write")
        return
    call.log_unstorable()
    if call.holder is not None:
        yield Ask(entries.bypass(call.key, call.holder), writes=True)


def _counted(call: Call, outcome: Outcome, entry: Entry) -> Any:
    call.count(outcome)
    return entry.value


def _pauses() -> Generator[float, None, None]:
    seconds = _FIRST_PAUSE
    while True:
        yield seconds * (1 - random.random() / 2)
        seconds = min(_LONGEST_PAUSE, seconds * 1.5)
