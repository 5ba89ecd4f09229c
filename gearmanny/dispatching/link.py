"""The connection of a dispatcher to one job server."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Iterator

from gearmanny.errors import GearmanException, JobServerLost
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import CONNECT_TIMEOUT, Host
from gearmanny.net.tls import TLS
from gearmanny.net.transport import Connection, connect
from gearmanny.payload.backoff import Backoff
from gearmanny.protocol.client import ClientConnection, Event
from gearmanny.records.ids import Travelling
from gearmanny.records.values import HandedOver

ANSWERS_WITHIN = 5.0
"""Seconds in which a job server answers something, if it was asked anything."""

_SENDS_WITHIN = 0.5
"""Seconds in which it takes what is sent. It is little, and so fits into any buffer."""

_PRIORITIES = {1: "high", 0: "normal", -1: "low"}


class Link:
    """The connection to one job server, made anew whenever it is lost.

    Connections are made in a thread: a server that does not answer holds up nothing else.
    """

    def __init__(self, host: Host, tls: TLS | None, wake: Callable[[], object]) -> None:
        """
        Args:
            host: the job server.
            tls: how it is secured; None for a plain connection.
            wake: called in a thread when there is a connection, or none could be made.
        """
        self.host = host
        self.failures = 0
        """How often it was lost, or could not be reached, since it was found to be up."""
        self._tls = tls
        self._wake = wake
        self._connection: Connection | None = None
        self._machine = ClientConnection()
        self._made: Connection | GearmanException | None = None
        self._is_connecting = False
        self._is_closed = False
        self._retry_at = -math.inf
        self._backoff = Backoff(first=0.1, longest=1.5)
        self._has_answered = False
        self._asked = 0
        """Requests without an answer."""
        self._answer_due = math.inf

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, and the job server has answered on it."""
        return self._has_answered

    @property
    def is_waiting(self) -> bool:
        """Whether the job server has not answered everything."""
        return self._asked > 0

    def fileno(self) -> int:
        """Returns the descriptor of the connection; -1 without one."""
        return -1 if self._connection is None else self._connection.fileno()

    def wakes_at(self) -> float:
        """Returns when `tend` has something to do; never: infinity."""
        if self._connection is not None:
            return self._answer_due
        return math.inf if self._is_connecting else self._retry_at

    def tend(self, now: float) -> bool:
        """Connects where that is due, and ends a connection on which nothing is answered.

        Args:
            now: the current time.

        Returns:
            Whether there is a new connection.

        Raises:
            GearmanException: it could not be made, or has ended: call `lost`.
        """
        if self._connection is not None:
            if now >= self._answer_due:
                raise JobServerLost(str(self.host), f"it has not answered for {ANSWERS_WITHIN:g} s")
            return False
        if self._is_connecting:
            made = self._made
            if made is None:
                return False
            self._made, self._is_connecting = None, False
            if isinstance(made, GearmanException):
                raise made
            self._connection, self._machine = made, ClientConnection()
            self._asked = 1  # every connection begins with a request for an option
            return True
        if now >= self._retry_at:
            self._is_connecting = True
            threading.Thread(
                target=self._connect, name=f"gearmanny connects to {self.host}", daemon=True
            ).start()
        return False

    def _connect(self) -> None:
        try:
            self._made = connect(self.host, CONNECT_TIMEOUT, tls=self._tls)
        except GearmanException as error:
            self._made = error
        except Exception as error:  # what nobody foresaw must not keep it away for ever
            self._made = GearmanException(f"{type(error).__name__}: {error}")
        if self._is_closed:
            self._close_made()
        self._wake()

    def lost(self, now: float) -> list[Hashable]:
        """Takes in that the connection has ended, or could not be made.

        Args:
            now: the current time.

        Returns:
            The tokens of what was not answered.
        """
        unanswered = self._machine.unanswered()
        self._end()
        self.failures += 1
        self._retry_at = now + self._backoff.next_delay()
        return unanswered

    def submit(self, token: Hashable, job: HandedOver, store: str) -> None:
        """Queues a job to be sent, with no arguments: they stay in the database.

        Args:
            token: comes back with the answer.
            job: the job.
            store: the id of its store.
        """
        unique = bytes(Travelling(store, job.id, job.number))
        function, priority = job.function.encode(), _PRIORITIES[job.priority]
        self._machine.submit(token, function, b"", unique, True, priority)
        self._asked += 1

    def ask(self, token: Hashable, job: HandedOver, store: str) -> None:
        """Queues a question whether the job server has a job.

        Args:
            token: comes back with the answer.
            job: the job.
            store: the id of its store.
        """
        unique = bytes(Travelling(store, job.id, job.number))
        self._machine.ask_status_of_unique(token, unique)
        self._asked += 1

    def flush(self, now: float) -> None:
        """Sends what is queued.

        Args:
            now: the current time.

        Raises:
            JobServerLost: the connection ended, or the job server takes nothing.
        """
        assert self._connection is not None
        parts = []
        while data := self._machine.data_to_send():
            parts.append(bytes(data))
        if parts:
            self._connection.send(b"".join(parts), Deadline(_SENDS_WITHIN))
            if self._asked:
                self._answer_due = min(self._answer_due, now + ANSWERS_WITHIN)

    def receive(self, now: float) -> Iterator[tuple[Hashable, Event]]:
        """Yields the tokens and answers that have arrived. With the first bytes, the job server is
        up.

        Args:
            now: the current time.

        Raises:
            JobServerLost: the connection ended.
            ProtocolError: it is no job server.
        """
        assert self._connection is not None
        while data := self._connection.receive():
            if not self._has_answered:
                self._has_answered = True
                self._asked -= 1
                self._backoff.reset()
            for token, event in self._machine.receive(data):
                self._asked -= 1
                yield token, event
            self._answer_due = now + ANSWERS_WITHIN if self._asked else math.inf

    def close(self) -> None:
        """Closes the connection, and one that is being made."""
        self._is_closed = True
        self._end()
        self._close_made()

    def _close_made(self) -> None:
        if isinstance(self._made, Connection):
            self._made.close()

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        self._machine, self._asked, self._answer_due = ClientConnection(), 0, math.inf
        self._has_answered = False
        if connection is not None:
            connection.close()
