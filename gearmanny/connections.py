"""The connections of a client: one to each job server, made on first use, shared by threads."""

from __future__ import annotations

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
from gearmanny.tls import TLS
from gearmanny.transport import Host, connect

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

    def __init__(
        self, hosts: list[Host], connect_timeout: float, max_packet: int, tls: TLS | None = None
    ) -> None:
        """
        Args:
            hosts: the job servers.
            connect_timeout: seconds that making a connection may take, all hosts together.
            max_packet: bytes of the longest packet to keep.
            tls: how they are secured; None for plain connections.
        """
        self.hosts = hosts
        self.tls = tls
        self.connect_timeout = connect_timeout
        self.max_packet = max_packet
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

    def channel(self, options: CallOptions = _NO_OPTIONS) -> Channel:
        """Returns a connection to the next host in turn that is up.

        Args:
            options: of the call, for who stands in.

        Raises:
            JobServerUnavailable: none is.
        """
        stand_in = Connections.stand_in_for_all or self.stand_in
        if stand_in is not None:
            return stand_in(options)
        turn = next(self._turns) % len(self.hosts)
        hosts = self.hosts[turn:] + self.hosts[:turn] if turn else self.hosts
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
            timeout = self.connect_timeout / len(hosts)
            # Stable: hosts that failed lately keep their order behind the others.
            for host in sorted(hosts, key=lambda host: self._avoided.get(host, 0.0) > now):
                channel = self._channels.get(host)
                if channel is not None and channel.usable():
                    return channel
                try:
                    channel = Channel(connect(host, timeout, tls=self.tls), self.max_packet)
                except JobServerUnavailable as error:
                    failures |= error.failures
                    self._avoided[host] = time.monotonic() + _AVOID_UNREACHABLE
                    continue
                self._avoided.pop(host, None)
                self._channels[host] = channel
                return channel
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


_all_connections: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for connections in _all_connections:
        connections._reset()  # the channels are given up by themselves


os.register_at_fork(after_in_child=_after_fork_in_child)
