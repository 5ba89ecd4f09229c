"""Something that was sent to a job server, and what came of it. No I/O."""

from __future__ import annotations

from copy import copy
from typing import Any, Generic, Protocol, TypeVar

from gearmanny.calling.values import JobStatus, status_of
from gearmanny.errors import GearmanException, JobServerError
from gearmanny.net.hosts import Host
from gearmanny.net.tls import TLS
from gearmanny.protocol.client import (
    Completed,
    Created,
    Event,
    Excepted,
    Failed,
    Rejected,
    StatusReceived,
)

Outcome = Created | Completed | Failed | Excepted | Rejected | StatusReceived | GearmanException


_KEPT = 1000
"""The number of cancelled jobs that a connection remembers."""


class Cancelled:
    """The unique ids of jobs that were taken from their queues. gearmand reports them as queued
    until a worker asks for their function."""

    __slots__ = ("_uniques",)

    def __init__(self) -> None:
        self._uniques: dict[bytes, None] = {}

    def __contains__(self, unique: bytes) -> bool:
        """Returns whether a job was cancelled, and no other one has its unique id since."""
        return unique in self._uniques

    def add(self, unique: bytes) -> None:
        """Remembers a job, in the place of the oldest one where there are many."""
        self._uniques[unique] = None
        if len(self._uniques) > _KEPT:
            self._uniques.pop(next(iter(self._uniques)), None)

    def discard(self, unique: bytes) -> None:
        """Forgets a job, because another one was sent with its unique id, or it is gone."""
        if self._uniques:
            self._uniques.pop(unique, None)


class Line(Protocol):
    """A connection to a job server, to the calls that were sent over it."""

    host: Host
    tls: TLS | None
    given_up: bool
    """Whether its client closed it."""
    cancelled: Cancelled
    """The jobs that were cancelled over it."""


L = TypeVar("L", bound=Line)


class Watcher(Protocol):
    """Notified when something came of a call."""

    def notice(self, exchange: Exchange[Any], /) -> None: ...


class Exchange(Generic[L]):
    """Something that was sent to a job server, and that ends with one outcome."""

    __slots__ = ("line", "outcome", "watchers")

    def __init__(self, line: L) -> None:
        self.line = line
        """The connection that it was sent over last."""
        self.outcome: Outcome | None = None
        self.watchers: tuple[Watcher, ...] = ()

    def is_answered(self) -> bool:
        """Returns whether there is an outcome."""
        return self.outcome is not None

    def take(self, event: Event) -> None:
        """Keeps what an event says."""
        raise NotImplementedError

    def sent_over(self, line: L) -> None:
        """Notes the connection that this was queued on."""
        self.line = line

    def lose(self, error: GearmanException) -> None:
        """Notes that the connection ended before there was an answer. If there is one, an
        interrupt may have come before the watchers were notified."""
        if self.outcome is None:
            self.settle(error)
        else:
            self.notify()

    def settle(self, outcome: Outcome) -> None:
        """Ends this with an outcome, and notifies the watchers."""
        self.outcome = outcome
        self.notify()

    def watch(self, watcher: Watcher) -> None:
        """Has a watcher notified from now on."""
        self.watchers += (watcher,)

    def unwatch(self, watcher: Watcher) -> None:
        """Has a watcher notified no longer."""
        self.watchers = tuple(other for other in self.watchers if other is not watcher)

    def notify(self) -> None:
        """Notifies the watchers."""
        for watcher in self.watchers:
            watcher.notice(self)

    def failure(self) -> GearmanException | None:
        """Returns the error that the connection, or the job server, ended this with; None where
        it was answered. A new one each time: raising one object twice would pile up tracebacks."""
        outcome = self.outcome
        if isinstance(outcome, Rejected):
            return JobServerError(
                outcome.code.decode(errors="replace"), outcome.text.decode(errors="replace")
            )
        return copy(outcome) if isinstance(outcome, GearmanException) else None


class Question(Exchange[L]):
    """A question for the state of a job."""

    __slots__ = ()

    def take(self, event: Event) -> None:
        assert isinstance(event, (StatusReceived, Rejected))
        self.outcome = event

    def status(self) -> JobStatus:
        """Returns the answer, once there is an outcome.

        Raises:
            JobServerLost: the connection ended before the answer came.
            JobServerError: the job server refused.
        """
        error = self.failure()
        if error is not None:
            raise error
        assert isinstance(self.outcome, StatusReceived)
        return status_of(self.outcome)
