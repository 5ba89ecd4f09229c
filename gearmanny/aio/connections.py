"""The connections of an asyncio client: one to each job server, all of one event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncGenerator, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gearmanny.aio.connection import WRONG_LOOP, AioConnection
from gearmanny.aio.opening import connect
from gearmanny.calling.options import CallOptions
from gearmanny.calling.pool import Dialers, Pool
from gearmanny.calling.walk import Walk
from gearmanny.errors import JobServerUnavailable
from gearmanny.net.deadline import NEVER, Deadline
from gearmanny.net.hosts import Host, Servers
from gearmanny.net.once import ask_once
from gearmanny.net.permission import permission
from gearmanny.protocol.versions import version_question

logger = logging.getLogger("gearmanny.client")

if TYPE_CHECKING:
    from gearmanny.calling.handover import JobHandOver
    from gearmanny.payload.encoding import Encoder
    from gearmanny.records.contract import HandOver

R = TypeVar("R")


class AioDialer(Protocol):
    """Makes the connections of asyncio clients."""

    lasting: bool
    """Whether a connection is kept and shared by all calls of one event loop; otherwise each has
    one of its own."""

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        """Returns what hands over recorded jobs, as `AioConnections.hand_over` does."""

    async def dial(self, host: Host, servers: Servers, timeout: float) -> AioConnection:
        """Returns a new connection.

        Args:
            host: where it leads to.
            servers: how the job servers of the client are reached.
            timeout: seconds that it may take.

        Raises:
            JobServerUnavailable: there is none in time.
        """


class StreamDialer:
    """Makes connections over transports of asyncio."""

    lasting = True

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        return ordinary

    async def dial(self, host: Host, servers: Servers, timeout: float) -> AioConnection:
        permission.ask(host)
        connection = AioConnection(host, servers.tls, servers.max_packet)
        await connect(connection, timeout)
        if logger.isEnabledFor(logging.INFO):
            ask_once(host, servers.tls, *version_question(str(host), logger))
        return connection


STREAMS = StreamDialer()

dialers: Dialers[AioDialer] = Dialers()
"""The dialers that stand in for those of all asyncio clients."""


class AioConnections:
    """Gives out a connection to the next job server in turn that is up.

    The loop that uses it first has it, until that loop is closed or `close()` was called. A child
    made by `os.fork()` makes its own connections.
    """

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self._dialer: AioDialer = STREAMS
        self._loop: asyncio.AbstractEventLoop | None = None
        # Outlives event loops: one call in each would else always go to the first host.
        self._turns = itertools.count()
        self._reset()

    def _reset(self) -> None:
        self.pool: Pool[AioDialer, AioConnection] = Pool(self.servers, self._turns)
        self._process = os.getpid()
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

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

    def dial_with(self, dialer: AioDialer) -> None:
        """Lets another dialer make the connections from now on."""
        self._dialer = dialer

    async def connection(self, options: CallOptions) -> AioConnection:
        """Returns a connection for a call: to the next host in turn that is up, or to the first
        one that is up in the order that its key gives them.

        Args:
            options: those of the call.

        Raises:
            JobServerUnavailable: none is.
            RuntimeError: another event loop uses this.
        """
        return await self.reach(self.pool.order(options.unique))

    async def reach(self, hosts: list[Host], deadline: Deadline = NEVER) -> AioConnection:
        """Returns a connection to the first of some hosts that is up.

        Args:
            hosts: in the order in which they are tried.
            deadline: when to give up, if that comes before the connect timeout.

        Raises:
            JobServerUnavailable: none is.
            RuntimeError: another event loop uses this.
        """
        dialer = dialers.instead_of(self._dialer)
        if not dialer.lasting:
            return await dialer.dial(hosts[0], self.servers, self.servers.connect_timeout)
        if self._loop is not asyncio.get_running_loop():
            await self._bind()
        pool = self.pool
        found = pool.first_at_hand(dialer, hosts)
        if found is not None:
            return found
        budget = deadline.within(self.servers.connect_timeout)
        steps = pool.reach(dialer, hosts, pool.failed_rounds, budget)
        try:
            async with asyncio.timeout(budget.remaining()):
                await self._connecting.acquire()
        except TimeoutError:  # others have used up our time
            failures = dict.fromkeys(map(str, hosts), "timed out")
            raise JobServerUnavailable(failures) from None
        try:
            walk = Walk(steps)
            while (step := walk.step) is not None:
                try:
                    dialled = await dialer.dial(step.host, self.servers, step.timeout)
                except JobServerUnavailable as error:
                    walk.fail(error)
                else:
                    walk.answer(dialled)
            return walk.result
        finally:
            self._connecting.release()

    def start(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Runs what has to go on when nobody waits for it, until it ends or `close()` is called."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Ends all connections. `connection()` makes new ones, in any event loop.

        Raises:
            RuntimeError: another event loop uses this.
        """
        if self._loop is not asyncio.get_running_loop():
            self._check_free()
            return
        tasks, connections = self._tasks, self.pool.clear()
        self._reset()
        self._loop = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(connection.close() for connection in connections))

    async def _bind(self) -> None:
        self._check_free()
        self._reset()
        self._loop = asyncio.get_running_loop()
        # A loop closes its generators when it shuts down, where nobody closed the client.
        self._until_the_end = _give_up_in_the_end(self.pool)
        await anext(self._until_the_end)

    def _check_free(self) -> None:
        """Raises RuntimeError when another event loop uses this."""
        in_use = self._loop is not None and not self._loop.is_closed()
        if in_use and self._process == os.getpid():
            raise RuntimeError(WRONG_LOOP)


async def _give_up_in_the_end(pool: Pool[Any, AioConnection]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        for connection in pool.clear():
            connection.give_up()
