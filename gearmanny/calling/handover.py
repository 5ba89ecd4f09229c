"""Recorded jobs are handed over to job servers without waiting for any of them. No I/O.

The jobs are in a database already, whose dispatchers hand over what did not arrive. So a request
never pays for a job server that is away: connections are made elsewhere, what comes back is read
with the next jobs, and what cannot leave at once is left to the dispatchers. These jobs have
connections of their own. On one that is shared with calls, half a packet in a full buffer would
hold up the calls, or end them.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

from gearmanny.calling.line import Line, Sender, Wait
from gearmanny.errors import JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host, Servers
from gearmanny.protocol.client import Request
from gearmanny.records.contract import Store
from gearmanny.records.ids import Travelling
from gearmanny.records.values import Submitted

logger = logging.getLogger("gearmanny.client")

PRIORITY_NAMES = {1: "high", 0: "normal", -1: "low"}
"""The priorities of calls, by those of records."""

PATIENCE = 0.002
"""Seconds that jobs wait for a connection whose making they have begun. A job server nearby is
connected within a fraction, and a program that ends then has handed its job over."""

_FRESH = 2.0
"""Seconds for which jobs wait for a connection that is being made. Later, the dispatchers have
looked after them."""

MOST_WAITING = 1000
"""The number of calls whose jobs wait for a connection at the same time."""

GOODBYE = 0.05
"""Seconds that closing may take."""


Receive = Callable[[Sender | JobServerUnavailable], object]


class Aside(Protocol):
    """Makes connections in other threads."""

    def check(self, host: Host, /) -> None:
        """Raises an AssertionError in a test that must not connect to this host."""

    def new_lock(self) -> AbstractContextManager[Any]:
        """Returns a lock that its thread may acquire again."""

    def connect(self, host: Host, servers: Servers, receive: Receive, /) -> Wait:
        """Connects to a host in another thread, where `receive` is called with the connection, or
        with the reason why there is none. Returns what waits for that."""


class JobHandOver:
    """Hands over the recorded jobs of a client, for any number of threads."""

    def __init__(self, store: Store, servers: Servers, aside: Aside) -> None:
        """
        Args:
            store: has the jobs.
            servers: the job servers, which take turns.
            aside: makes the connections.
        """
        self.store = store
        self.servers = servers
        self._aside = aside
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._lock = self._aside.new_lock()
        self._turns = itertools.count()
        self._is_busy = False
        self._reset()

    def _reset(self) -> None:
        self._lines = [Line(host, self.servers.max_packet) for host in self.servers.hosts]
        self._waiting: deque[tuple[Deadline, list[Request]]] = deque(maxlen=MOST_WAITING)

    def __call__(self, jobs: Sequence[Submitted]) -> None:
        """Hands over jobs. See `gearmanny.records.contract.HandOver`."""
        self._aside.check(self.servers.hosts[0])
        try:
            store = self.store.id
            begun = self._hand_over([_request(store, job) for job in jobs])
            self._wait_for_any(begun, Deadline(PATIENCE))
        except Exception:
            logger.exception(
                "Recorded jobs are left to the dispatchers.", extra={"action": "hand_over_failed"}
            )
            self._waiting.clear()

    def close(self, goodbye: float = GOODBYE) -> None:
        """Closes the connections, when what was handed over has arrived. A later call makes others.

        Args:
            goodbye: seconds that it may take.
        """
        deadline = Deadline(goodbye)
        self._wait_for_any(self._begun(self._lines), deadline)
        with self._lock:
            lines = self._lines
            self._reset()
        for sender in filter(None, map(Line.take, lines)):
            sender.finish(deadline.remaining() or 0.0)

    def _wait_for_any(self, begun: list[Wait], deadline: Deadline) -> None:
        """Waits until a connection has taken what waits for it."""
        for wait in begun:
            if self._waiting:
                wait(deadline.remaining() or 0.0)

    def _hand_over(self, requests: list[Request]) -> list[Wait]:
        """Sends jobs, or begins to connect; returns what waits for the connections."""
        with self._lock:
            self._waiting.append((Deadline(_FRESH), requests))
            if self._is_busy:  # this is a signal handler, in the thread that hands over
                return []
            try:
                self._is_busy = True
                begun = [] if self._send() else self._connect()
                self._is_busy = False
            except BaseException:  # not `finally`: an interrupt may come while we leave
                self._is_busy = False
                raise
            return begun

    def _send(self) -> bool:
        """Sends what waits over the next connection that takes it; returns whether one did."""
        turn = next(self._turns) % len(self._lines)
        up = [line for line in self._lines[turn:] + self._lines[:turn] if line.is_up()]
        if not up:
            return False
        requests = [job for fresh, jobs in self._waiting if not fresh.has_passed() for job in jobs]
        for line in up:
            if line.send(requests):
                self._waiting.clear()
                return True
        return False

    def _connect(self) -> list[Wait]:
        begun = [line for line in self._lines if line.may_connect()]
        for line in begun:
            self._connect_line(line)
        if not self._begun(self._lines):
            self._waiting.clear()
        return self._begun(begun)

    def _begun(self, lines: Sequence[Line]) -> list[Wait]:
        return [line.wait for line in lines if line.wait is not None]

    def _connect_line(self, line: Line) -> None:
        line.wait = _begins
        try:
            wait = self._aside.connect(line.host, self.servers, partial(self._receive, line))
        except BaseException as error:
            line.wait = None
            if not isinstance(error, RuntimeError):  # there can be no more threads
                raise
            line.failed(error)
        else:
            if line.wait is not None:  # it is not over yet
                line.wait = wait

    def _receive(self, line: Line, made: Sender | JobServerUnavailable) -> None:
        with self._lock:
            line.wait = None
            is_wanted = line in self._lines and not line.is_up()  # it may be closed by now
            if isinstance(made, JobServerUnavailable):
                if is_wanted:
                    line.failed(made)
            elif not is_wanted:
                made.close()
            else:
                line.connected(made)
                self._send()


def _begins(seconds: float) -> None:
    """Stands for what waits for a connection until that is known."""


def _request(store: str, job: Submitted) -> Request:
    unique = bytes(Travelling(store, job.id, 1))
    return Request(job.function.encode(), b"", unique, True, PRIORITY_NAMES[job.priority])


_all: weakref.WeakSet[JobHandOver] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for hand_over in _all:
        hand_over._begin()  # what is sent over the connections of the parent would be its own


os.register_at_fork(after_in_child=_after_fork_in_child)


@atexit.register
def _at_exit() -> None:
    for hand_over in _all:
        hand_over.close()
