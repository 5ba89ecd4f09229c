"""Makes the connections of a worker, again and again, until they hold.

Every attempt has a thread of its own: a host that does not answer must keep
neither the jobs of the others waiting nor a worker that stops.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence

from gearmanny.errors import GearmanException, JobServerLost, JobServerUnavailable
from gearmanny.net.hosts import Host
from gearmanny.net.once import ask_once
from gearmanny.net.polling import Waker
from gearmanny.net.tls import TLS
from gearmanny.net.transport import Connection, connect
from gearmanny.payload.backoff import Backoff
from gearmanny.protocol.versions import version_question

logger = logging.getLogger("gearmanny.worker")

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
"""Seconds between attempts to reach a job server that is away."""

_SOUND = 5.0
"""Seconds after its first answer for which a connection has to last, so that the delays begin anew.
A job server that answers and then breaks off is not to be asked, and logged, without end."""


class Connector:
    """Knows which job servers a worker is not connected to, and when to try them."""

    def __init__(self, hosts: Sequence[Host], waker: Waker, tls: TLS | None = None) -> None:
        """
        Args:
            hosts: the job servers, all to be connected to.
            waker: woken when there is news of an attempt.
            tls: how the connections are secured; None for plain ones.
        """
        self._tls = tls
        self._waker = waker
        self._due = dict.fromkeys(hosts, 0.0)
        self._trying: set[Host] = set()
        self._backoffs = {
            host: Backoff(first=_FIRST_DELAY, longest=_LONGEST_DELAY) for host in hosts
        }
        self._answered_at: dict[Host, float] = {}
        """When the connection to a host that was away first answered, by `time.monotonic`."""
        self._away: set[Host] = set()
        """Hosts that the log says are away."""
        self._news: queue.SimpleQueue[tuple[Host, Connection | JobServerUnavailable]] = (
            queue.SimpleQueue()
        )
        self._ending = threading.Lock()
        self._ended = False

    def connect(self) -> list[Connection]:
        """Returns the connections that were made since, and tries the hosts that are due."""
        made = []
        while self.has_news():
            host, attempt = self._news.get()
            self._trying.discard(host)
            if isinstance(attempt, Connection):
                made.append(attempt)
                del self._due[host]
            else:
                self.lost(host, attempt)
        for host, due in self._due.items():
            if host not in self._trying and due <= time.monotonic():
                self._trying.add(host)
                threading.Thread(target=self._try, args=(host,), daemon=True).start()
        return made

    def has_news(self) -> bool:
        """Returns whether an attempt has ended, for `connect()` to take."""
        return not self._news.empty()

    def due(self) -> list[float]:
        """Returns the times when hosts are to be tried, by `time.monotonic`."""
        return [due for host, due in self._due.items() if host not in self._trying]

    def lost(self, host: Host, error: GearmanException) -> None:
        """Notes that a host is not connected, and logs it once.

        Args:
            host: the job server.
            error: why.
        """
        now = time.monotonic()
        if now - self._answered_at.pop(host, now) >= _SOUND:
            self._backoffs[host].reset()
        self._due[host] = now + self._backoffs[host].next_delay()
        if host not in self._away:
            self._away.add(host)
            logger.warning(
                "the job server %s is away (%s); trying until it is back",
                host,
                _reason(error),
                extra={"action": "server_away"},
            )

    def again(self, host: Host) -> None:
        """Connects to a host at once, whose connection was closed on purpose.

        Args:
            host: the job server.
        """
        self._due[host] = time.monotonic()

    def all_away(self) -> bool:
        """Returns whether every host has been tried, and none can be reached."""
        return len(self._away) == len(self._backoffs)

    def works(self, host: Host) -> None:
        """Notes that a host has answered: only then a connection is known to be good.

        Args:
            host: the job server.
        """
        if host in self._away:
            self._away.discard(host)
            self._answered_at[host] = time.monotonic()
            logger.warning("the job server %s is back", host, extra={"action": "server_back"})

    def close(self) -> None:
        """Closes what was made and not taken, now or later."""
        with self._ending:
            self._ended = True
        while self.has_news():
            _close(self._news.get()[1])

    def _try(self, host: Host) -> None:
        attempt: Connection | JobServerUnavailable
        try:
            attempt = connect(host, tls=self._tls)
        except JobServerUnavailable as error:
            attempt = error
        else:
            if logger.isEnabledFor(logging.INFO):
                ask_once(host, self._tls, *version_question(str(host), logger))
        with self._ending:
            if self._ended:
                _close(attempt)
            else:
                self._news.put((host, attempt))
        self._waker.wake()


def _close(attempt: Connection | JobServerUnavailable) -> None:
    if isinstance(attempt, Connection):
        attempt.close()


def _reason(error: GearmanException) -> str:
    if isinstance(error, JobServerUnavailable):
        return ", ".join(error.failures.values())
    return error.reason if isinstance(error, JobServerLost) else str(error)
