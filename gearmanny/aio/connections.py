"""The connections of an asyncio client: one to each job server, all of one event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import ClassVar

from gearmanny.aio.connection import WRONG_LOOP, AioConnection
from gearmanny.aio.opening import connect
from gearmanny.calling.hostchoice import HostChoice
from gearmanny.calling.options import CallOptions
from gearmanny.errors import JobServerUnavailable
from gearmanny.net.hosts import Host, Servers

_NO_OPTIONS = CallOptions()

AioStandIn = Callable[[CallOptions], AioConnection]
"""Gives out connections in place of the job servers, for tests."""


class AioConnections:
    """Gives out a connection to the next job server in turn that is up.

    The loop that uses it first has it, until that loop is closed or `close()` was called. A child
    made by `os.fork()` makes its own connections.
    """

    stand_in_for_all: ClassVar[AioStandIn | None] = None
    """Stands in for the job servers of all clients of this process."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.stand_in: AioStandIn | None = None
        """Stands in for the job servers of this client."""
        self._choice = HostChoice(servers.hosts)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._connecting = asyncio.Lock()
        self._connections: dict[Host, AioConnection] = {}
        self._failures: dict[str, str] = {}
        self._failed_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def connection(self, options: CallOptions) -> AioConnection:
        """Returns a connection for a call: to the next host in turn that is up, or to the first
        one that is up in the order that its key gives them.

        Raises:
            JobServerUnavailable: none is.
            RuntimeError: another event loop uses this.
        """
        stand_in = AioConnections.stand_in_for_all or self.stand_in
        if stand_in is not None:
            return stand_in(options)
        if self._loop is not asyncio.get_running_loop():
            await self._bind()
        return await self._connection_to(self._choice.order(options.unique))

    async def connection_to(self, host: Host) -> AioConnection:
        """Returns a connection to a certain host. Raises what `connection` raises."""
        stand_in = AioConnections.stand_in_for_all or self.stand_in
        if stand_in is not None:
            return stand_in(_NO_OPTIONS)
        if self._loop is not asyncio.get_running_loop():
            await self._bind()
        return await self._connection_to([host])

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Runs what has to go on when nobody waits for it, until it ends or `close()` is called."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Ends all connections. `connection()` makes new ones, in any event loop."""
        if self._loop is not asyncio.get_running_loop():
            self._check_free()
            return
        connections, tasks = list(self._connections.values()), list(self._tasks)
        self._reset()
        self._loop = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(connection.close() for connection in connections))

    async def _connection_to(self, hosts: list[Host]) -> AioConnection:
        connection = self._connections.get(hosts[0])
        if connection is not None and connection.usable():
            return connection
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        async with self._connecting:
            if self._failed_at > arrived:  # while we waited for our turn to try
                raise JobServerUnavailable(self._failures)
            failures: dict[str, str] = {}
            # All hosts together get the time: whoever calls waits for no longer than that.
            timeout = self.servers.connect_timeout / len(hosts)
            for host in self._choice.hopeful_first(hosts):
                connection = self._connections.get(host)
                if connection is not None and connection.usable():
                    return connection
                connection = AioConnection(host, self.servers.tls, self.servers.max_packet)
                try:
                    await connect(connection, timeout)
                except JobServerUnavailable as error:
                    failures |= error.failures
                    self._choice.avoid(host)
                    continue
                self._choice.trust(host)
                self._connections[host] = connection
                return connection
            if len(hosts) == len(self.servers.hosts):
                self._failures, self._failed_at = failures, loop.time()
        raise JobServerUnavailable(failures)

    async def _bind(self) -> None:
        self._check_free()
        self._reset()
        self._loop = asyncio.get_running_loop()
        # A loop closes its generators when it shuts down, where nobody closed the client.
        self._until_the_end = _give_up_in_the_end(self._connections)
        await anext(self._until_the_end)

    def _check_free(self) -> None:
        """Raises RuntimeError when another event loop uses this."""
        in_use = self._loop is not None and not self._loop.is_closed()
        if in_use and self._process == os.getpid():
            raise RuntimeError(WRONG_LOOP)


async def _give_up_in_the_end(connections: dict[Host, AioConnection]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        for connection in connections.values():
            connection.give_up()
