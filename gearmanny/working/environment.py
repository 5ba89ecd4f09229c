"""The environment of a worker's loop: its connections, and how it waits. Eager mode has its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gearmanny.errors import GearmanException
from gearmanny.net.hosts import Host
from gearmanny.net.polling import HasDescriptor, Poller, Waker
from gearmanny.net.tls import TLS
from gearmanny.net.transport import Connection
from gearmanny.working.attempts import Pause
from gearmanny.working.connector import Connector
from gearmanny.working.context import JobLoop, WaitBetweenAttempts


class Connects(Protocol):
    """Makes the connections of a worker. See `connector.Connector`."""

    def connect(self) -> list[Connection]:
        """Returns the connections that were made since, and tries the hosts that are due."""

    def has_news(self) -> bool:
        """Returns whether an attempt has ended, for `connect()` to take."""

    def due(self) -> list[float]:
        """Returns the times when hosts are to be tried, by `time.monotonic`."""

    def lost(self, host: Host, error: GearmanException) -> None:
        """Notes that a host is not connected.

        Args:
            host: the job server.
            error: why.
        """

    def again(self, host: Host) -> None:
        """Connects to a host at once, whose connection was closed on purpose.

        Args:
            host: the job server.
        """

    def works(self, host: Host) -> None:
        """Notes that a host has answered.

        Args:
            host: the job server.
        """

    def all_away(self) -> bool:
        """Returns whether every host has been tried, and none can be reached."""

    def close(self) -> None:
        """Closes what was made and not taken."""


class Polls(Protocol):
    """Waits for several descriptors at once. See `net.polling.Poller`."""

    def add(self, waited_for: HasDescriptor) -> int:
        """Starts to wait until something can be read.

        Args:
            waited_for: the socket.

        Returns:
            The descriptor by which `wait` names it.
        """

    def remove(self, descriptor: int) -> None:
        """Stops waiting for a socket.

        Args:
            descriptor: what `add` returned.
        """

    def wait(self, timeout: float | None) -> list[int]:
        """Returns the descriptors that are ready.

        Args:
            timeout: seconds to wait for one at most; None for ever.
        """


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The connections of a worker's loop, and how it waits."""

    waker: Waker
    """Interrupts the loop."""
    connector: Connects
    """Makes its connections."""
    poller: Polls
    """Waits for them."""
    pause: WaitBetweenAttempts
    """Waits between two attempts at a plain task."""
    new_event_loop: Callable[[Callable[[], object]], JobLoop]
    """Makes the event loop for coroutines, given a function that interrupts the loop."""


def environment_of(hosts: list[Host], tls: TLS | None) -> Environment:
    """Returns the environment of a loop that works for real job servers.

    Args:
        hosts: the job servers.
        tls: how the connections are secured; None for plain ones.
    """
    waker = Waker()
    return Environment(
        waker=waker,
        connector=Connector(hosts, waker, tls),
        poller=Poller(),
        pause=Pause(waker),
        new_event_loop=_new_event_loop,
    )


def _new_event_loop(wake: Callable[[], object]) -> JobLoop:
    from gearmanny.working.eventloop import EventLoop  # noqa: PLC0415  imports asyncio

    return EventLoop(wake)
