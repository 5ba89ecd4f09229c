"""The asyncio client: `await client.myworker_add(a=1, b=2)`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from gearmanny.aio.connection import AioConnection
from gearmanny.aio.connections import AioConnections
from gearmanny.aio.driver import AioDriver
from gearmanny.aio.results import AioWorkResult
from gearmanny.calling.again import Again
from gearmanny.calling.asking import find_status
from gearmanny.calling.call import Call
from gearmanny.calling.caller import Caller
from gearmanny.calling.exchange import Watcher
from gearmanny.calling.tracing import CallSpans
from gearmanny.calling.values import JobStatus
from gearmanny.calling.waiting import stream
from gearmanny.calling.window import map_calls
from gearmanny.errors import EncodingError
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Servers
from gearmanny.protocol.client import Request
from gearmanny.vocabulary.encoders import JSONDataEncoder


class AioClient(Caller):
    """Calls and awaits: `await AioClient().myworker_add(a=10, b=15)` returns 25.

    Any number of tasks of one event loop may use one; the loop that uses it first has it until
    that loop is closed, or `close()` was called. Used from another one, it raises RuntimeError.

    Cancelling whoever awaits a call forgets its job; the worker may still run it.
    """

    _default_encoder = JSONDataEncoder
    _returns: ClassVar[Literal["awaitables"]] = "awaitables"

    def _reach(self, servers: Servers) -> None:
        self._connections = AioConnections(servers)
        self._driver = AioDriver(self._connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def call(self, function: str, /, **kwargs: Any) -> Any:
        """Calls a Gearman function and returns what its task returned.

        With `using(background=True)`, returns the `AioWorkResult` of the job as soon as the job
        server has accepted it. Arguments and errors are those of `SimpleClient.call`.
        """
        options = self._options
        seen = options.on_update is not None
        # The payload has no name here: it may be large, and nobody needs it once it was sent.
        (call,) = await self._submit(function, [self._encode(kwargs)], keeps_updates=seen)
        try:
            answer = await self._driver.result(call, options.timeout)
        finally:
            if call.outcome is None:
                call.forget()
        return AioWorkResult(call, self._driver) if options.background else answer

    async def submit(self, function: str, /, **kwargs: Any) -> AioWorkResult:
        """Sends a job, and returns its work object: `work = await client.submit("f", a=1)`, later
        `await work`.

        Arguments are those of `AsyncClient.submit`, and so are the errors; that a connection
        ended, only the work object tells.
        """
        (call,) = await self._submit(function, [self._encode(kwargs)])
        return AioWorkResult(call, self._driver)

    def map(
        self,
        function: str,
        arguments: Iterable[Mapping[str, Any]],
        window: int = 1000,
        return_exceptions: bool = False,
    ) -> AsyncIterator[Any]:
        """Calls a function with many sets of arguments, and yields the results in their order:
        `async for result in client.map("f", …)`.

        Lazy: inputs are taken as results are consumed, so they may be endless. Arguments and
        errors are those of `SimpleClient.map`.
        """
        self._check_map(function, window)
        timeout = self._options.timeout
        steps = map_calls(iter(arguments), window, timeout, return_exceptions, time.monotonic)
        return self._driver.iterate(
            steps,
            lambda batch: self._submit(function, self._encode_all(batch), keeps_updates=False),
        )

    def stream(self, function: str, /, **kwargs: Any) -> AsyncIterator[Any]:
        """Calls a function, and yields the parts of its result as they come:
        `async for row in client.stream("f", …)`.

        The job is sent when the first part is asked for. Arguments and errors are those of
        `SimpleClient.stream`.
        """
        self._check_stream(function)
        steps = stream(self._encode(kwargs), self._options.timeout)
        return self._driver.iterate(steps, lambda payloads: self._submit(function, payloads))

    async def status(self, unique: str, timeout: float | None = 60) -> JobStatus:
        """Asks the job servers for the job with a unique id: whether it waits, runs, or is
        unknown by now. `AioWorkResult.unique` is such an id.

        Arguments and errors are those of `SimpleClient.status`.
        """
        deadline, hosts = Deadline(timeout), self._servers.hosts
        return await self._driver.run(find_status(hosts, unique.encode(), deadline))

    async def close(self) -> None:
        """Closes the connections; jobs without an answer get `JobServerLost`. A later call
        connects again, in any event loop.

        Raises:
            RuntimeError: another event loop uses this client.
        """
        await self._connections.close()

    async def _submit(
        self,
        function: str,
        payloads: Iterable[bytes | EncodingError],
        *,
        keeps_updates: bool = True,
    ) -> list[Call[AioConnection]]:
        """Sends jobs together. One that could not be encoded has failed already."""
        options, connections = self._options, self._connections
        deadline = Deadline(options.timeout)
        calls: list[Call[AioConnection]] = []
        try:
            with CallSpans() as spans:
                requests = self._requests(function, payloads, spans, time.time)
                connection = await connections.connection(options)
                for request in requests:
                    call = self._new_call(connection, function, request, keeps_updates)
                    calls.append(call)
                    while isinstance(request, Request):
                        if connection.busy:
                            await connection.drain(deadline)
                        if connection.queue(call, request):
                            break
                        connection = await connections.connection(options)
        except BaseException:
            for call in calls:
                call.forget()
            raise
        return calls

    def _again(self, request: Request) -> tuple[Again, tuple[Watcher, ...]]:
        return Again(request, self._options.unique, self._connections.pool), (self._driver,)
