"""Eager mode of the asyncio client: jobs run in a thread, so that the event loop goes on."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from gearmanny.aio.connection import AioConnection
from gearmanny.calling.call import Call
from gearmanny.calling.options import CallOptions
from gearmanny.eager.joined import HOST, ClientEnd, Eager
from gearmanny.eager.outbox import keep
from gearmanny.errors import JobServerLost
from gearmanny.net.deadline import NEVER
from gearmanny.net.hosts import Host, Servers
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.client import Request

if TYPE_CHECKING:
    from gearmanny.calling.handover import JobHandOver
    from gearmanny.payload.encoding import Encoder
    from gearmanny.records.contract import HandOver


class AioEagerDialer:
    """Makes the connections of asyncio clients, whose jobs some workers do here."""

    lasting = False

    def __init__(self, eager: Eager) -> None:
        self._eager = eager

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        return self._eager.hand_over(ordinary.store, encoder, options)

    async def dial(self, host: Host, servers: Servers, timeout: float) -> AioConnection:
        return _EagerAioConnection(self._eager)


class _EagerAioConnection(AioConnection):
    """The connection of one call: a real one, over a transport in memory."""

    def __init__(self, eager: Eager) -> None:
        super().__init__(HOST, None, MAX_PACKET)
        self._eager = eager
        self._timeout: float | None = None
        self._vigil = None
        self.connection_made(_EagerTransport(self, eager))

    def queue(self, call: Call[AioConnection], request: Request) -> bool:
        keep(call, request)
        self._timeout = call.options.timeout
        return super().queue(call, request)

    def lose_silent(self, functions: set[str]) -> None:
        """Ends the calls of functions that nobody offers."""
        self.given_up = True  # a call without a worker now will not have one when sent again
        self._lose_all(self._eager.timed_out(functions, self._timeout))

    def break_down(self, error: Exception) -> None:
        """Ends all calls, because the worker could not begin."""
        self.given_up = True
        self._end(JobServerLost(str(HOST), f"{type(error).__name__}: {error}"))


class _EagerTransport(asyncio.Transport):
    """A transport whose jobs are done in a thread. Answers arrive when all of them are."""

    def __init__(self, connection: _EagerAioConnection, eager: Eager) -> None:
        super().__init__()
        self._connection = connection
        self._eager = eager
        self._end = ClientEnd(eager)
        self._unsent: list[bytes] = []
        self._working: asyncio.Task[None] | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._unsent.append(bytes(data))
        if self._working is None:
            self._working = self._connection.loop.create_task(self._work())

    def abort(self) -> None:
        """There is nothing to be given back."""

    async def _work(self) -> None:
        try:
            while self._unsent:
                data = b"".join(self._unsent)
                self._unsent.clear()
                await self._eager.work_aside(partial(self._end.send, data, NEVER))
                self._connection.data_received(self._end.receive())
        except Exception as error:
            self._connection.break_down(error)
            raise
        finally:
            self._working = None
        silent = self._end.silent()
        if silent:
            self._connection.lose_silent(silent)
