"""The asyncio client: `await client.myworker_add(a=1, b=2)`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from gearmanny.aio.connection import AioConnection
from gearmanny.aio.connections import AioConnections
from gearmanny.aio.driver import AioDriver
from gearmanny.aio.recorded import RecordedJobs
from gearmanny.aio.results import AioWorkResult
from gearmanny.calling.again import Again
from gearmanny.calling.asking import find_status
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Watcher
from gearmanny.calling.tracing import CallSpans
from gearmanny.calling.values import JobStatus
from gearmanny.calling.waiting import stream
from gearmanny.calling.window import map_calls
from gearmanny.errors import EncodingError
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Servers
from gearmanny.payload.names import encoded_unique
from gearmanny.protocol.client import Request
from gearmanny.vocabulary.encoders import JSONDataEncoder

if TYPE_CHECKING:
    from gearmanny.calling.recording import Recorder
    from gearmanny.payload.headers import NewHeaders
    from gearmanny.records.contract import Store


class AioClient(RecordedJobs):
    """Calls and awaits: `await AioClient().myworker_add(a=10, b=15)` returns 25.

    Any number of tasks of one event loop may use one; the loop that uses it first has it until
    that loop is closed, or `close()` was called. Used from another one, it raises RuntimeError.

    Cancelling a call discards its result; the worker may still run its job.
    """

    _default_encoder = JSONDataEncoder
    _returns: ClassVar[Literal["awaitables"]] = "awaitables"

    def _reach(self, servers: Servers) -> None:
        self._connections = AioConnections(servers)
        self._driver = AioDriver(self._connections)

    def _recorder_for(self, store: Store, headers: NewHeaders | None) -> Recorder:
        # Clients without records have no use for these.
        from gearmanny.calling.recording import Recorder  # noqa: PLC0415
        from gearmanny.net.aside import ASIDE  # noqa: PLC0415

        return Recorder(store, self._servers, ASIDE, headers)

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
        server has accepted it.

        Args:
            function: its name, `"myworker_add"`.
            **kwargs: the arguments of the task.

        Raises:
            TaskError: the task failed on its worker.
            TaskTimeout: no answer within the client's timeout. The job may still run.
            JobServerUnavailable: no job server could be reached, or it does not take what is sent.
                Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the arguments, or the answer, are refused by the encoder.
            InvalidTask: no function can have that name.
            InvalidOption: `delay` is beyond the times that a job server can keep.
            RuntimeError: another event loop uses this client.
            Exception: any that `on_update` raises.
        """
        options = self._options
        seen = options.on_update is not None
        # The payload has no name here: it may be large, and nobody needs it once it was sent.
        (call,) = await self._submit(function, [self._encode(function, kwargs)], keeps_updates=seen)
        try:
            answer = await self._driver.result(call, options.timeout)
        finally:
            if call.outcome is None:
                call.forget()
        return AioWorkResult(call, self._driver) if options.background else answer

    async def submit(self, function: str, /, **kwargs: Any) -> AioWorkResult:
        """Sends a job, and returns its work object: `work = await client.submit("f", a=1)`, later
        `await work`.

        Args:
            function: its name, `"myworker_add"`.
            **kwargs: the arguments of the task.

        Returns:
            The work object: `is_done()`, `get_result(timeout=60)`, `updates()`. That of a
            background job is done when the job server has accepted it. It also says when the
            connection ended, even where that was noticed while the job was sent.

        Raises:
            JobServerUnavailable: no job server could be reached, or it does not take what is sent.
                Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            EncodingError: the arguments are refused by the encoder.
            InvalidTask: no function can have that name.
            InvalidOption: `delay` is beyond the times that a job server can keep.
            RuntimeError: another event loop uses this client.
        """
        (call,) = await self._submit(function, [self._encode(function, kwargs)])
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

        Lazy: inputs are taken as results are consumed, so they may be endless. Leaving it early
        discards the results of what is under way. A call that fails raises its error at its place.

        Args:
            function: the name of the Gearman function.
            arguments: a mapping of keyword arguments for every call.
            window: how many calls may be under way at a time.
            return_exceptions: whether a call that fails yields its exception, in its place,
                instead of raising it there.

        Raises:
            InvalidTask: no function can have that name.
            InvalidOption: `window` is not a whole number, 1 or more, or the client has an option
                that is for one call.
            TaskError: the task failed on its worker.
            TaskTimeout: no answer within the client's timeout. The job may still run.
            JobServerUnavailable: no job server could be reached, or it does not take what is sent.
                Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the arguments, or the answer, are refused by the encoder.
            RuntimeError: another event loop uses this client.
        """
        self._check_map(function, window)
        timeout = self._options.timeout
        steps = map_calls(iter(arguments), window, timeout, return_exceptions, time.monotonic)
        return self._driver.iterate(
            steps,
            lambda batch: self._submit(
                function, self._encode_all(function, batch), keeps_updates=False
            ),
        )

    async def submit_many(self, function: str, arguments: Iterable[Mapping[str, Any]]) -> list[str]:
        """Records any number of background jobs: each batch in one transaction, and with one send.
        The arguments are taken when their batch is next.

        Args:
            function: the name of the Gearman function.
            arguments: a mapping of keyword arguments for every job.

        Returns:
            The ids of the records, in order; empty ones in eager mode without records.

        Raises:
            InvalidTask: no function can have that name.
            InvalidOption: the client has no records, or an option that is for one call.
            EncodingError: arguments are refused by the encoder.
            StoreUnavailable: the database is away. Notes say how many jobs were recorded before.
            RuntimeError: another event loop uses this client.
        """
        recorder, options = self._check_many(function)
        payloads = map(partial(self._encode, function), arguments)
        hand_over = self._connections.hand_over(recorder.hand_over, self._encoder, options)
        if hand_over is None:  # eager mode without records
            client = self.using(background=True)
            return [(await client.submit(function, **each)).id or "" for each in arguments]
        steps = recorder.record_many(function, payloads, self._encoder, options, hand_over)
        return await self._driver.run(steps)

    def stream(self, function: str, /, **kwargs: Any) -> AsyncIterator[Any]:
        """Calls a function, and yields the parts of its result as they come:
        `async for row in client.stream("f", …)`.

        The job is sent when the first part is asked for. What the task raises is raised here,
        after the parts that it sent before. Where a worker sends its result only as a whole, that
        has to be a list, whose items are yielded.

        Args:
            function: the name of the Gearman function.
            **kwargs: the arguments of the task.

        Raises:
            InvalidTask: no function can have that name, or the result is no list and nothing was
                sent ahead.
            InvalidOption: the client has an option that a stream cannot have.
            TaskError: the task failed on its worker.
            TaskTimeout: no answer within the client's timeout. The job may still run.
            JobServerUnavailable: no job server could be reached, or it does not take what is sent.
                Nothing was sent.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the arguments, or the answer, are refused by the encoder.
            RuntimeError: another event loop uses this client.
            Exception: any that `on_update` raises.
        """
        self._check_stream(function)
        payload = self._encode(function, kwargs)
        steps = stream(payload, self._options.timeout, self._servers.max_packet)
        return self._driver.iterate(steps, lambda payloads: self._submit(function, payloads))

    async def status(self, unique: str, timeout: float | None = 60) -> JobStatus:
        """Asks the job servers for the job with a unique id: whether it waits, runs, or is
        unknown by now. `AioWorkResult.unique` is such an id.

        Args:
            unique: the id.
            timeout: seconds to wait for the answers; None waits for as long as it takes.

        Returns:
            The state. Where the job is unknown, `not_asked` names the job servers that could not be
            asked.

        Raises:
            JobServerUnavailable: none could be asked.
            JobServerLost: the connection to the only one ended before the answer came.
            JobServerError: the only one refused the question.
            InvalidOption: the timeout is not a number of seconds, or no job can have that id.
            RuntimeError: another event loop uses this client.
        """
        deadline, hosts = Deadline(timeout), self._servers.hosts
        return await self._driver.run(find_status(hosts, encoded_unique(unique), deadline))

    async def close(self) -> None:
        """Closes the connections; jobs without an answer get `JobServerLost`. A later call
        connects again, in any event loop.

        Raises:
            RuntimeError: another event loop uses this client.
        """
        await self._connections.close()
        if self._recorder is not None:
            await self._driver.run(self._recorder.close())

    close.alters_data = True  # type: ignore[attr-defined]  # no method of Django's templates

    async def _submit(
        self,
        function: str,
        payloads: Iterable[bytes | EncodingError],
        *,
        keeps_updates: bool = True,
    ) -> list[Call[AioConnection]]:
        """Sends jobs together. One that could not be encoded has failed already."""
        if self._recorder is not None and self._records_calls:
            hand_over = self._connections.hand_over(
                self._recorder.hand_over, self._encoder, self._options
            )
            if hand_over is not None:
                return await self._record(function, payloads, hand_over)
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
