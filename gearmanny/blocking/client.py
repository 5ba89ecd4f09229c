"""The base of the blocking clients."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gearmanny.blocking.channel import Channel
from gearmanny.blocking.connections import Connections
from gearmanny.blocking.driver import Driver, SharedAgain
from gearmanny.blocking.results import WorkResult
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
from gearmanny.payload.names import encoded_unique
from gearmanny.protocol.client import Request

if TYPE_CHECKING:
    from gearmanny.blocking.records import Record
    from gearmanny.calling.recording import Recorder
    from gearmanny.calling.schedules import Schedules
    from gearmanny.payload.headers import NewHeaders
    from gearmanny.records.contract import HandOver, Store


class Client(Caller):
    """The base of the blocking clients. Any number of threads may use one.

    Connections are made on the first call and kept. A child made by `os.fork()`
    makes its own.
    """

    def _reach(self, servers: Servers) -> None:
        self._connections = Connections(servers)
        self._driver = Driver(self._connections)

    def _recorder_for(self, store: Store, headers: NewHeaders | None) -> Recorder:
        # Clients without records have no use for these.
        from gearmanny.calling.recording import Recorder  # noqa: PLC0415
        from gearmanny.net.aside import ASIDE  # noqa: PLC0415

        return Recorder(store, self._servers, ASIDE, headers)

    @property
    def schedules(self) -> Schedules:
        """The schedules in the store of this client.

        Raises:
            InvalidOption: the client has no `records`.
        """
        from gearmanny.calling.schedules import Schedules  # noqa: PLC0415

        store = None if self._recorder is None else self._recorder.store
        return Schedules(store, self._encoder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def status(self, unique: str, timeout: float | None = 60) -> JobStatus:
        """Asks the job servers for the job with a unique id: whether it waits, runs, or is
        unknown by now. `WorkResult.unique` is such an id.

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
        """
        deadline, hosts = Deadline(timeout), self._servers.hosts
        return self._driver.run(find_status(hosts, encoded_unique(unique), deadline))

    def record(self, id: str) -> Record:
        """Returns the record of a background job, from anywhere.

        Args:
            id: of the record, which is `work.id` of its caller.

        Raises:
            UnknownJob: there is no record with this id.
            StoreUnavailable: the database cannot be reached.
            InvalidOption: the client has no records, or the id is no UUID.
        """
        from gearmanny.blocking.records import Record  # noqa: PLC0415  clients with records alone

        record = Record(self._records().find(id, self._encoder))
        record.refresh()
        return record

    def _submit_many(self, function: str, inputs: Iterable[object]) -> list[str]:
        recorder, options = self._check_many(function)
        payloads = map(partial(self._encode, function), inputs)
        hand_over = self._connections.hand_over(recorder.hand_over, self._encoder, options)
        if hand_over is None:  # in eager mode without records: each job runs at once
            background = self.using(background=True)
            return ["" for work in (background._sent(function, each) for each in inputs)]
        return self._driver.run(
            recorder.record_many(function, payloads, self._encoder, options, hand_over)
        )

    def close(self) -> None:
        """Closes the connections; jobs without an answer get `JobServerLost`. A later call
        connects again."""
        self._connections.close()
        if self._recorder is not None:
            self._driver.run(self._recorder.close())

    close.alters_data = True  # type: ignore[attr-defined]  # no method of Django's templates

    def _result(self, function: str, arguments: object) -> Any:
        options = self._options
        seen = options.on_update is not None
        # The payload has no name here: it may be large, and nobody needs it once it was sent.
        (call,) = self._submit(function, [self._encode(function, arguments)], keeps_updates=seen)
        try:
            answer = self._driver.result(call, options.timeout)
        finally:
            if call.outcome is None:
                call.forget()
        return WorkResult(call, self._driver) if options.background else answer

    def _sent(self, function: str, arguments: object) -> WorkResult:
        (call,) = self._submit(function, [self._encode(function, arguments)])
        return WorkResult(call, self._driver)

    def _map(
        self, function: str, inputs: Iterable[object], window: int, return_exceptions: bool
    ) -> Iterator[Any]:
        self._check_map(function, window)
        timeout = self._options.timeout
        steps = map_calls(iter(inputs), window, timeout, return_exceptions, time.monotonic)
        return self._driver.iterate(
            steps,
            lambda batch: self._submit(
                function, self._encode_all(function, batch), keeps_updates=False
            ),
        )

    def _stream(self, function: str, arguments: object) -> Iterator[Any]:
        self._check_stream(function)
        payload = self._encode(function, arguments)
        steps = stream(payload, self._options.timeout, self._servers.max_packet)
        return self._driver.iterate(steps, lambda payloads: self._submit(function, payloads))

    def _submit(
        self,
        function: str,
        payloads: Iterable[bytes | EncodingError],
        *,
        keeps_updates: bool = True,
    ) -> list[Call[Channel]]:
        """Sends jobs together. One that could not be encoded has failed already."""
        if self._recorder is not None and self._records_calls:
            hand_over = self._connections.hand_over(
                self._recorder.hand_over, self._encoder, self._options
            )
            if hand_over is not None:
                return self._record(function, payloads, hand_over)
        options, connections = self._options, self._connections
        deadline = Deadline(options.timeout)
        calls: list[Call[Channel]] = []
        try:
            with CallSpans() as spans:
                requests = self._requests(function, payloads, spans, time.time)
                channel = connections.channel(options)
                jobs: list[tuple[Call[Channel], Request]] = []
                for request in requests:
                    calls.append(call := self._new_call(channel, function, request, keeps_updates))
                    if not isinstance(request, EncodingError):
                        jobs.append((call, request))
                while jobs and not channel.submit(jobs, deadline):
                    channel = connections.channel(options)
        except BaseException:
            for call in calls:
                call.forget()
            raise
        return calls

    def _record(
        self, function: str, payloads: Iterable[bytes | EncodingError], hand_over: HandOver
    ) -> list[Call[Channel]]:
        assert self._recorder is not None
        return self._driver.run(
            self._recorder.record(function, payloads, self._encoder, self._options, hand_over)
        )

    def _again(self, request: Request) -> tuple[Again, tuple[Watcher, ...]]:
        return SharedAgain(request, self._options, self._connections), ()
