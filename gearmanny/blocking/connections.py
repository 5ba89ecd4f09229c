"""The connections of a client: one to each job server, made on first use, shared by threads."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import ClassVar

from gearmanny.blocking.channel import Channel
from gearmanny.calling.hostchoice import HostChoice
from gearmanny.calling.options import CallOptions
from gearmanny.errors import JobServerUnavailable
from gearmanny.net.hosts import Host, Servers
from gearmanny.net.transport import connect

_NO_OPTIONS = CallOptions()

StandIn = Callable[[CallOptions], Channel]
"""Gives out connections in place of the job servers, for tests."""


class Connections:
    """Gives out a connection to the next job server in turn that is up.

    A child made by `os.fork()` makes its own.
    """

    stand_in_for_all: ClassVar[StandIn | None] = None
    """Stands in for the job servers of all clients of this process."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.stand_in: StandIn | None = None
        """Stands in for the job servers of this client."""
        self._reset()
        _all_connections.add(self)

    def _reset(self) -> None:
        self._connecting = threading.Lock()
        self._channels: dict[Host, Channel] = {}
        self._choice = HostChoice(self.servers.hosts)
        self._failures: dict[str, str] = {}
        self._failed_at = 0.0

    def channel(self, options: CallOptions) -> Channel:
        """Returns a connection for a call: to the next host in turn that is up, or to the first
        one that is up in the order that its key gives them.

        Raises:
            JobServerUnavailable: none is.
        """
        stand_in = Connections.stand_in_for_all or self.stand_in
        if stand_in is not None:
            return stand_in(options)
        return self._channel_to(self._choice.order(options.unique))

    def channel_to(self, host: Host) -> Channel:
        """Returns a connection to a certain host. Raises JobServerUnavailable."""
        stand_in = Connections.stand_in_for_all or self.stand_in
        return self._channel_to([host]) if stand_in is None else stand_in(_NO_OPTIONS)

    def _channel_to(self, hosts: list[Host]) -> Channel:
        channel = self._channels.get(hosts[0])
        if channel is not None and channel.usable():
            return channel
        arrived = time.monotonic()
        with self._connecting:
            if self._failed_at > arrived:  # while we waited for our turn to try
                raise JobServerUnavailable(self._failures)
            failures: dict[str, str] = {}
            # All hosts together get the time: whoever calls waits for no longer than that.
            timeout = self.servers.connect_timeout / len(hosts)
            for host in self._choice.hopeful_first(hosts):
                channel = self._channels.get(host)
                if channel is not None and channel.usable():
                    return channel
                try:
                    connection = connect(host, timeout, tls=self.servers.tls)
                except JobServerUnavailable as error:
                    failures |= error.failures
                    self._choice.avoid(host)
                    continue
                self._choice.trust(host)
                channel = self._channels[host] = Channel(connection, self.servers.max_packet)
                return channel
            if len(hosts) == len(self.servers.hosts):
                self._failures, self._failed_at = failures, time.monotonic()
        raise JobServerUnavailable(failures)

    def close(self) -> None:
        """Ends all connections. `channel()` makes new ones."""
        channels = self._channels
        self._channels = {}
        for channel in channels.values():
            channel.close()


_all_connections: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for connections in _all_connections:
        connections._reset()  # the channels are given up by themselves


os.register_at_fork(after_in_child=_after_fork_in_child)
