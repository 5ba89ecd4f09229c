"""The connections of one client: which job server a call goes to, which are left alone for a
while, and who makes new ones. No I/O: what has to be connected to is a step for a driver."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Generator, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from gearmanny.errors import JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host, Servers

_AVOID_UNREACHABLE = 30.0
"""Seconds for which a host that did not answer is not tried while another one does."""


class Usable(Protocol):
    """A connection that may have ended."""

    def usable(self) -> bool:
        """Returns whether a job may be sent over it."""


C = TypeVar("C", bound=Usable)
D = TypeVar("D")


class Dial(NamedTuple):
    """A step: connects to a host. Its answer is the connection, or JobServerUnavailable."""

    host: Host
    timeout: float
    """Seconds that it may take."""


class Pool(Generic[D, C]):
    """The connections of one client, by who made them and where they lead to. May be used by
    several threads; `reach` by one at a time."""

    def __init__(self, servers: Servers, turns: Iterator[int] | None = None) -> None:
        """
        Args:
            servers: what the connections lead to.
            turns: counts the calls, so that each begins at the next host; None begins anew.
        """
        self.servers = servers
        self.closings = 0
        """How often the client was closed."""
        self.failed_rounds = 0
        """How often none of the hosts could be reached."""
        self._failures: dict[str, str] = {}
        self._connections: dict[tuple[D, Host], C] = {}
        self._turns = itertools.count() if turns is None else turns
        self._avoided: dict[Host, Deadline] = {}

    def order(self, key: str | None) -> list[Host]:
        """Returns the hosts in the order in which they are to be tried: in turn, or as a key
        prefers them."""
        hosts = self.servers.hosts
        if key is not None:
            return order_by(key, hosts)
        turn = next(self._turns) % len(hosts)
        return hosts[turn:] + hosts[:turn] if turn else hosts

    def at_hand(self, dialer: D, host: Host) -> C | None:
        """Returns the connection that a dialer made to a host; None where there is none that can
        be used."""
        connection = self._connections.get((dialer, host))
        return connection if connection is not None and connection.usable() else None

    def first_at_hand(self, dialer: D, hosts: list[Host]) -> C | None:
        """Returns the connection to the first of some hosts; None where there is none that can be
        used, or where that host is avoided and there are others."""
        if len(hosts) > 1 and self.is_avoided(hosts[0]):
            return None
        return self.at_hand(dialer, hosts[0])

    def reach(
        self, dialer: D, hosts: list[Host], failed_rounds: int, budget: Deadline
    ) -> Generator[Dial, C, C]:
        """Returns a connection to the first of some hosts that is up, made where there is none.

        Args:
            dialer: makes the connections.
            hosts: in their order; those that failed lately come behind the others.
            failed_rounds: how many there were when we began to wait for our turn to try.
            budget: until when all of them may be tried.

        Raises:
            JobServerUnavailable: none is.
        """
        if self.failed_rounds != failed_rounds:
            raise JobServerUnavailable(self._failures)
        failures: dict[str, str] = {}
        # All hosts together get the time: whoever calls waits for no longer than that.
        share = self.servers.connect_timeout / len(hosts)
        was_given_time = True
        for host in sorted(hosts, key=self.is_avoided):
            found = self.at_hand(dialer, host)
            if found is not None:
                return found
            left = budget.remaining()
            timeout = share if left is None else min(left, share)
            try:
                connection = yield Dial(host, timeout)
            except JobServerUnavailable as error:
                failures |= error.failures
                # One that had much less time than others get is not to blame.
                if timeout > share / 2:
                    self.avoid(host)
                else:
                    was_given_time = False
                continue
            self._avoided.pop(host, None)
            self._connections[dialer, host] = connection
            return connection
        if was_given_time and len(hosts) == len(self.servers.hosts):
            self._failures = failures
            self.failed_rounds += 1
        raise JobServerUnavailable(failures)

    def avoid(self, host: Host) -> None:
        """Lets calls go to other hosts for a while, as far as there are others that are up."""
        self._avoided[host] = Deadline(_AVOID_UNREACHABLE)

    def is_avoided(self, host: Host) -> bool:
        """Returns whether a host could not be reached lately, or did not answer."""
        until = self._avoided.get(host)
        return until is not None and until.remaining() != 0

    def clear(self) -> list[C]:
        """Forgets all connections, because the client is closed; returns them."""
        connections, self._connections = self._connections, {}
        self.closings += 1
        return list(connections.values())


class Dialers(Generic[D]):
    """The dialers that stand in for those of all clients of this process, for a while."""

    def __init__(self) -> None:
        self._installed: list[D] = []

    def instead_of(self, dialer: D) -> D:
        """Returns the dialer that was installed last; where there is none, the one given."""
        return self._installed[-1] if self._installed else dialer

    @contextlib.contextmanager
    def installed(self, dialer: D) -> Iterator[None]:
        """Lets a dialer make the connections of all clients of this process until the block ends.
        Connections that are there are put aside, and used again afterwards."""
        self._installed.append(dialer)
        try:
            yield
        finally:
            self._installed.remove(dialer)


def order_by(key: str, hosts: list[Host]) -> list[Host]:
    """Returns the hosts in the order in which a key prefers them: the same in every process,
    however they are listed, and when one of them is away the rest keeps its order."""

    def weight(host: Host) -> bytes:
        return hashlib.blake2b(f"{host} {key}".encode(), digest_size=8).digest()

    return sorted(hosts, key=weight) if len(hosts) > 1 else hosts
