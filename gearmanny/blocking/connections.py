"""The connections of a client: one to each job server, made on first use, shared by threads."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

from gearmanny.blocking.channel import Channel
from gearmanny.blocking.turns import Missed, Turns
from gearmanny.calling.options import CallOptions
from gearmanny.calling.pool import Dial, Dialers, Pool
from gearmanny.calling.walk import Walk
from gearmanny.errors import JobServerUnavailable
from gearmanny.net.deadline import NEVER, Deadline
from gearmanny.net.hosts import Host, Servers
from gearmanny.net.once import ask_once
from gearmanny.net.permission import permission
from gearmanny.net.transport import connect
from gearmanny.protocol.versions import version_question

logger = logging.getLogger("gearmanny.client")

if TYPE_CHECKING:
    from gearmanny.calling.handover import JobHandOver
    from gearmanny.payload.encoding import Encoder
    from gearmanny.records.contract import HandOver


class Dialer(Protocol):
    """Makes the connections of clients."""

    lasting: bool
    """Whether a connection is kept and shared by all calls; otherwise each has one of its own."""

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        """Returns what hands over recorded jobs, as `Connections.hand_over` does."""

    def dial(self, host: Host, servers: Servers, timeout: float) -> Channel:
        """Returns a new connection.

        Args:
            host: where it leads to.
            servers: how the job servers of the client are reached.
            timeout: seconds that it may take.

        Raises:
            JobServerUnavailable: there is none in time.
        """


class SocketDialer:
    """Makes connections over sockets."""

    lasting = True

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        return ordinary

    def dial(self, host: Host, servers: Servers, timeout: float) -> Channel:
        permission.ask(host)
        channel = Channel(connect(host, timeout, tls=servers.tls), servers.max_packet)
        if logger.isEnabledFor(logging.INFO):
            ask_once(host, servers.tls, *version_question(str(host), logger))
        return channel


SOCKETS = SocketDialer()

dialers: Dialers[Dialer] = Dialers()
"""The dialers that stand in for those of all clients."""


class Connections:
    """Gives out a connection to the next job server in turn that is up.

    A child made by `os.fork()` makes its own.
    """

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self._dialer: Dialer = SOCKETS
        self._reset()
        _all_connections.add(self)

    def _reset(self) -> None:
        self._connecting = Turns(threading.Lock())
        self.pool: Pool[Dialer, Channel] = Pool(self.servers)

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        """Returns what hands over recorded jobs; None where they run at once, in eager mode without
        records.

        Args:
            ordinary: hands them over to job servers.
            encoder: that of the client.
            options: those of the calls.
        """
        return dialers.instead_of(self._dialer).hand_over(ordinary, encoder, options)

    def dial_with(self, dialer: Dialer) -> None:
        """Lets another dialer make the connections from now on."""
        self._dialer = dialer

    def channel(self, options: CallOptions) -> Channel:
        """Returns a connection for a call: to the next host in turn that is up, or to the first
        one that is up in the order that its key gives them.

        Args:
            options: those of the call.

        Raises:
            JobServerUnavailable: none is.
        """
        return self.reach(self.pool.order(options.unique))

    def reach(self, hosts: list[Host], deadline: Deadline = NEVER) -> Channel:
        """Returns a connection to the first of some hosts that is up.

        Args:
            hosts: in the order in which they are tried.
            deadline: when to give up, if that comes before the connect timeout.

        Raises:
            JobServerUnavailable: none is.
        """
        pool, dialer = self.pool, dialers.instead_of(self._dialer)
        if not dialer.lasting:
            return dialer.dial(hosts[0], self.servers, self.servers.connect_timeout)
        found = pool.first_at_hand(dialer, hosts)
        if found is not None:
            return found
        budget = deadline.within(self.servers.connect_timeout)
        steps = pool.reach(dialer, hosts, pool.failed_rounds, budget)
        try:
            return self._connecting.do(lambda: self._dial(dialer, steps), budget)
        except Missed:  # others have used up our time
            failures = dict.fromkeys(map(str, hosts), "timed out")
            raise JobServerUnavailable(failures) from None

    def _dial(self, dialer: Dialer, steps: Generator[Dial, Channel, Channel]) -> Channel:
        walk = Walk(steps)
        while (step := walk.step) is not None:
            try:
                dialled = dialer.dial(step.host, self.servers, step.timeout)
            except JobServerUnavailable as error:
                walk.fail(error)
            else:
                walk.answer(dialled)
        return walk.result

    def close(self) -> None:
        """Ends all connections. `channel()` makes new ones."""
        for channel in self.pool.clear():
            channel.close()


_all_connections: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for connections in _all_connections:
        connections._reset()  # the channels are given up by themselves


os.register_at_fork(after_in_child=_after_fork_in_child)
