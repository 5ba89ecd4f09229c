"""The connections of a client: one to each job server, made on first use, shared by threads."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import ClassVar

from gearmanny.channel import Channel
from gearmanny.errors import JobServerUnavailable
from gearmanny.options import CallOptions
from gearmanny.transport import Host, Servers, connect

_AVOID_UNREACHABLE = 30.0
"""Seconds for which a host that did not answer is not tried while another one does."""

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
        self._turns = itertools.count()
        self._reset()
        _all_connections.add(self)

    def _reset(self) -> None:
        self._connecting = threading.Lock()
        self._channels: dict[Host, Channel] = {}
        self._avoided: dict[Host, float] = {}
        self._failures: dict[str, str] = {}
        self._failed_at = 0.0
        self._unique_prefix = os.urandom(10).hex().encode()
        self._uniques = itertools.count()

    def channel(self, options: CallOptions) -> Channel:
        """Returns a connection for a call: to the next host in turn that is up, or to the first
        one that is up in the order that its key gives them.

        Raises:
            JobServerUnavailable: none is.
        """
        stand_in = Connections.stand_in_for_all or self.stand_in
        if stand_in is not None:
            return stand_in(options)
        if options.unique is not None:
            return self._channel_to(order_by(options.unique, self.servers.hosts))
        turn = next(self._turns) % len(self.servers.hosts)
        hosts = self.servers.hosts
        return self._channel_to(hosts[turn:] + hosts[:turn] if turn else hosts)

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
            now = time.monotonic()
            if self._failed_at > arrived:  # while we waited for our turn to try
                raise JobServerUnavailable(self._failures)
            failures: dict[str, str] = {}
            # All hosts together get the time: whoever calls waits for no longer than that.
            timeout = self.servers.connect_timeout / len(hosts)
            # Stable: hosts that failed lately keep their order behind the others.
            for host in sorted(hosts, key=lambda host: self._avoided.get(host, 0.0) > now):
                channel = self._channels.get(host)
                if channel is not None and channel.usable():
                    return channel
                try:
                    connection = connect(host, timeout, tls=self.servers.tls)
                except JobServerUnavailable as error:
                    failures |= error.failures
                    self._avoided[host] = time.monotonic() + _AVOID_UNREACHABLE
                    continue
                self._avoided.pop(host, None)
                channel = self._channels[host] = Channel(connection, self.servers.max_packet)
                return channel
            if len(hosts) == len(self.servers.hosts):
                self._failures, self._failed_at = failures, time.monotonic()
        raise JobServerUnavailable(failures)

    def new_unique(self) -> bytes:
        """Returns a unique id that no other process ever makes: 32 bytes."""
        return b"%s%012x" % (self._unique_prefix, next(self._uniques))

    def close(self) -> None:
        """Ends all connections. `channel()` makes new ones."""
        channels = self._channels
        self._channels = {}
        for channel in channels.values():
            channel.close()


def order_by(key: str, hosts: list[Host]) -> list[Host]:
    """Returns the hosts in the order in which a key prefers them: the same in every process,
    however they are listed, and when one of them is away the rest keeps its order."""

    def weight(host: Host) -> bytes:
        return hashlib.blake2b(f"{host} {key}".encode(), digest_size=8).digest()

    return sorted(hosts, key=weight) if len(hosts) > 1 else hosts


_all_connections: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for connections in _all_connections:
        connections._reset()  # the channels are given up by themselves


os.register_at_fork(after_in_child=_after_fork_in_child)
