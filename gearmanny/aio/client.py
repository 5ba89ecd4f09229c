"""The asyncio client: `await client.myworker_add(a=1, b=2)`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from gearmanny.aio.connections import AioConnections
from gearmanny.aio.inquiries import find_status
from gearmanny.aio.resending import Resending
from gearmanny.aio.results import AioWorkResult, pass_on
from gearmanny.calling.caller import Caller, take
from gearmanny.calling.submission import Data, JobStatus
from gearmanny.calling.tracing import CallSpans
from gearmanny.errors import EncodingError
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Servers
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
        (work,) = await self._submit(function, [self._encode(kwargs)], keeps_updates=seen)
        try:
            answer = await work
        finally:
            if not work.is_done():
                work.forget()
        return work if options.background else answer

    async def submit(self, function: str, /, **kwargs: Any) -> AioWorkResult:
        """Sends a job, and returns its work object: `work = await client.submit("f", a=1)`, later
        `await work`.

        Arguments are those of `AsyncClient.submit`, and so are the errors; that a connection
        ended, only the work object tells.
        """
        (work,) = await self._submit(function, [self._encode(kwargs)])
        return work

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
        return self._map(function, iter(arguments), window, return_exceptions)

    def stream(self, function: str, /, **kwargs: Any) -> AsyncIterator[Any]:
        """Calls a function, and yields the parts of its result as they come:
        `async for row in client.stream("f", …)`.

        The job is sent when the first part is asked for. Arguments and errors are those of
        `SimpleClient.stream`.
        """
        self._check_stream()
        return self._stream(function, self._encode(kwargs))

    async def status(self, unique: str, timeout: float | None = 60) -> JobStatus:
        """Asks the job servers for the job with a unique id: whether it waits, runs, or is
        unknown by now. `AioWorkResult.unique` is such an id.

        Arguments and errors are those of `SimpleClient.status`.
        """
        return await find_status(self._connections, unique.encode(), Deadline(timeout))

    async def close(self) -> None:
        """Closes the connections; jobs without an answer get `JobServerLost`. A later call
        connects again, in any event loop.

        Raises:
            RuntimeError: another event loop uses this client.
        """
        await self._connections.close()

    async def _map(
        self,
        function: str,
        inputs: Iterator[object],
        window: int,
        return_exceptions: bool,
    ) -> AsyncIterator[Any]:
        size = (window + 1) // 2  # half of a window leaves in one send while the other half runs
        under_way: deque[AioWorkResult] = deque()
        more = True
        try:
            while more or under_way:
                if more and len(under_way) <= window - size:
                    batch = take(inputs, size, time.monotonic)
                    more = bool(batch)
                    payloads = self._encode_all(batch)
                    under_way.extend(await self._submit(function, payloads, keeps_updates=False))
                    if more and len(under_way) <= window - size and not under_way[0].is_done():
                        continue
                if under_way:
                    try:
                        result = await under_way[0]
                    except Exception as error:
                        if not return_exceptions:
                            raise
                        result = error
                    under_way.popleft()
                    yield result
        finally:
            for work in under_way:
                work.forget()

    async def _stream(self, function: str, payload: bytes) -> AsyncIterator[Any]:
        (work,) = await self._submit(function, [payload])
        on_update = self._options.on_update
        sent_ahead = False
        try:
            async for update in work.updates(self._options.timeout):
                if on_update is not None:
                    await pass_on(update, on_update)
                if isinstance(update, Data):
                    sent_ahead = True
                    yield update.value
            for value in work.rest_of_stream(sent_ahead):
                yield value
        finally:
            work.forget()

    async def _submit(
        self,
        function: str,
        payloads: Iterable[bytes | EncodingError],
        *,
        keeps_updates: bool = True,
    ) -> list[AioWorkResult]:
        """Sends jobs together. One that could not be encoded has failed already."""
        options, connections = self._options, self._connections
        deadline = Deadline(options.timeout)
        works = []
        with CallSpans() as spans:
            requests = self._requests(function, payloads, spans, time.time)
            connection = await connections.connection(options)
            for request in requests:
                work = AioWorkResult(connections, connection, function, self._encoder, options)
                work.keeps_updates = keeps_updates
                works.append(work)
                if isinstance(request, EncodingError):
                    work.outcome = request
                    continue
                work.unique_id = request.unique
                if options.idempotent:
                    work.resending = Resending(connections, request, options)
                while True:
                    if connection.busy:
                        await connection.drain(deadline)
                    if connection.queue(work, request):
                        break
                    connection = await connections.connection(options)
        return works
