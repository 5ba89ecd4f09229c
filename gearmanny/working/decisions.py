"""Decisions about jobs: whether one with a record is run, and what follows a failure."""

from __future__ import annotations

from dataclasses import dataclass

from gearmanny.payload.backoff import Backoff
from gearmanny.records.values import Claimed, Payload, Refusal, Refused, Settled
from gearmanny.tasks.options import TaskOptions

LOOKED_AT = 1.0
"""Seconds for which a job is looked at that another process may be running: its owner may be about
to finish it, or to be found dead."""

_BETWEEN_LOOKS = 0.2
"""Seconds."""

MAX_RUNS = 10
"""How often a task is run whose transaction is lost each time, before that is its failure."""


@dataclass(frozen=True, slots=True)
class Run:
    """The job is run."""

    claimed: Claimed
    """With the arguments of its record."""


@dataclass(frozen=True, slots=True)
class Skip:
    """The job server is answered, and nothing is run: the job is in other hands."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The job is failed, and not run."""

    reason: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    """The job is claimed once more."""

    delay: float
    """Seconds until then."""


@dataclass(frozen=True, slots=True)
class Done:
    """The job is finished."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt follows."""

    delay: float
    """Seconds until then."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """The job goes back to the queue of its store, and another attempt follows there."""

    delay: float
    """Seconds until then."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """The job is left without an answer, so that another worker gets it."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The failure is the answer."""


Decision = Retry | TryLater | GiveBack | Fail

_SKIPPED = {
    Refusal.OVER: "it has ended",
    Refusal.OUTDATED: "it was handed over again",
    Refusal.EARLY: "it is not due yet",
    Refusal.RUNNING: "another process is running it",
}


def after_claim(
    answer: Claimed | Refused, waited: float
) -> Run | Skip | Refuse | LookAgain | GiveBack:
    """Returns the decision about a job with a record.

    Args:
        answer: of the store, to the claim.
        waited: seconds since it was claimed first.
    """
    if isinstance(answer, Claimed):
        return Run(answer)
    if answer.reason is Refusal.UNKNOWN:
        return Refuse(
            "Its store has no record of this job: it was pruned, or the database was replaced."
        )
    if answer.reason is Refusal.UNREGISTERED:  # the database has not noticed yet that we are back
        return GiveBack()
    if answer.reason is Refusal.RUNNING and waited < LOOKED_AT:
        return LookAgain(_BETWEEN_LOOKS)
    return Skip(_SKIPPED[answer.reason])


def after_transaction(
    settled: Settled, runs: int, *, is_transient: bool, stopping: bool, cancelled: bool
) -> Done | Skip | Decision:
    """Returns the decision about a job whose task ran in a transaction that ended with an error.

    Args:
        settled: what became of the transaction.
        runs: how often the task was run in this attempt.
        is_transient: whether the error is one of the transaction, and not of the task.
        stopping: whether the worker stops.
        cancelled: whether the job was cancelled while it ran: its interruption may have broken the
            transaction.
    """
    if settled is Settled.COMMITTED:
        return Done()
    if settled is Settled.TAKEN:
        return Skip("somebody else has taken it over")
    if not is_transient or cancelled or runs >= MAX_RUNS:
        return Fail()
    if stopping:
        return GiveBack()
    return Retry(Backoff(first=0.05, longest=2.0, attempts=runs - 1).next_delay())


def recorded(payload: bytes, *, is_text: bool) -> Payload:
    """Returns a payload as it is recorded: text, where it is some that databases take.

    Args:
        payload: as it travels.
        is_text: whether the encoder makes text.
    """
    if not is_text or b"\0" in payload:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload


def after_failure(
    error: BaseException,
    attempt: int,
    options: TaskOptions,
    *,
    data_sent: bool,
    stopping: bool,
    lost: bool,
    recorded: bool = False,
    cancelled: bool = False,
) -> Decision:
    """Returns the decision about a job whose attempt failed.

    Args:
        error: the exception that it failed with.
        attempt: the number of the attempt, 1 for the first.
        options: of the task.
        data_sent: whether a part of the result was sent: a caller who has it must not get it from
            the next attempt again.
        stopping: whether the worker stops.
        lost: whether the job server has given the job to another worker, because the connection
            ended.
        recorded: whether the job has a record. It belongs to this process even if it was lost, and
            nobody gets the parts of its result that were sent.
        cancelled: whether it was cancelled while it ran.

    Raises:
        InvalidOption: the function given as `backoff` returned no number of seconds.
    """
    if cancelled or not options.retries_after(attempt, error):
        return Fail()
    if recorded:
        return TryLater(options.delay_after(attempt))
    if data_sent:
        return Fail()
    if stopping or lost:
        return GiveBack()
    return Retry(options.delay_after(attempt))
