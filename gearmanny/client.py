"""Clients: a task anywhere is called as if it were a method here."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from gearmanny.blocking.connections import Connections
from gearmanny.blocking.inquiries import find_status
from gearmanny.blocking.resending import Resending
from gearmanny.calling.caller import Caller, take
from gearmanny.calling.submission import Data, JobState, JobStatus, Progress, Warning
from gearmanny.calling.tracing import CallSpans
from gearmanny.errors import EncodingError, JobServerLost
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Servers
from gearmanny.results import WorkResult, as_completed, wait
from gearmanny.vocabulary.encoders import JSONDataEncoder, RawDataEncoder

__all__ = [
    "AsyncClient",
    "Data",
    "JobState",
    "JobStatus",
    "Progress",
    "RawClient",
    "SimpleClient",
    "Warning",
    "WorkResult",
]


class Client(Caller):
    """What the blocking clients share. Any number of threads may use one.

    Connections are made on the first call and kept. A child made by `os.fork()`
    makes its own.
    """

    _default_encoder = JSONDataEncoder

    def _reach(self, servers: Servers) -> None:
        self._connections = Connections(servers)

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

        Raises:
            JobServerUnavailable: no job server knows the job, and some could not be asked.
            JobServerLost: a connection ended before the answer came.
            InvalidOption: the timeout is no number of seconds, or no job can have that id.
        """
        return find_status(self._connections, unique.encode(), Deadline(timeout))

    def close(self) -> None:
        """Closes the connections; jobs without an answer get `JobServerLost`. A later call
        connects again."""
        self._connections.close()

    def _result(self, function: str, arguments: object) -> Any:
        seen = self._options.on_update is not None
        # The payload has no name here: it may be large, and nobody needs it once it was sent.
        (work,) = self._submit(function, [self._encode(arguments)], keeps_updates=seen)
        answer = work.get_result(self._options.timeout)
        return work if self._options.background else answer

    def _sent(self, function: str, arguments: object) -> WorkResult:
        (work,) = self._submit(function, [self._encode(arguments)])
        if isinstance(work.outcome, JobServerLost) and not self._options.idempotent:
            raise work.outcome
        return work

    def _map(
        self, function: str, calls: Iterable[object], window: int, return_exceptions: bool
    ) -> Iterator[Any]:
        self._check_map(function, window)
        return self._mapped(function, iter(calls), window, return_exceptions)

    def _mapped(
        self, function: str, inputs: Iterator[object], window: int, return_exceptions: bool
    ) -> Iterator[Any]:
        size = (window + 1) // 2  # half of a window leaves in one send while the other half runs
        under_way: deque[WorkResult] = deque()
        more = True
        while more or under_way:
            if more and len(under_way) <= window - size:
                batch = take(inputs, size, time.monotonic)
                more = bool(batch)
                if more:
                    payloads = self._encode_all(batch)
                    under_way.extend(self._submit(function, payloads, keeps_updates=False))
                if more and len(under_way) <= window - size and not under_way[0].is_done():
                    continue
            if under_way:
                work = under_way.popleft()
                try:
                    result = work.get_result(self._options.timeout)
                except Exception as error:
                    if not return_exceptions:
                        raise
                    result = error
                yield result

    def _stream(self, function: str, arguments: object) -> Iterator[Any]:
        self._check_stream()
        (work,) = self._submit(function, [self._encode(arguments)])
        return self._streamed(work)

    def _streamed(self, work: WorkResult) -> Iterator[Any]:
        sent_ahead = False
        try:
            for update in work.updates(self._options.timeout):
                if work.on_update is not None:
                    work.on_update(update)
                if isinstance(update, Data):
                    sent_ahead = True
                    yield update.value
            yield from work.rest_of_stream(sent_ahead)
        finally:
            work.drop_updates()

    def _submit(
        self,
        function: str,
        payloads: Iterable[bytes | EncodingError],
        *,
        keeps_updates: bool = True,
    ) -> list[WorkResult]:
        """Sends jobs together. One that could not be encoded has failed already."""
        options, connections = self._options, self._connections
        deadline = Deadline(options.timeout)
        works: list[WorkResult] = []
        with CallSpans() as spans:
            requests = self._requests(function, payloads, spans, time.time)
            channel = connections.channel(options)
            for request in requests:
                work = WorkResult(connections, channel, function, self._encoder)
                work.background = options.background
                work.keeps_updates = keeps_updates
                work.on_update = options.on_update
                works.append(work)
                if isinstance(request, EncodingError):
                    work.outcome = request
                    continue
                work.unique_id = request.unique
                if options.idempotent:
                    work.resending = Resending(connections, request, options)
                while not channel.queue(work, request):
                    work.channel = channel = connections.channel(options)
            with contextlib.suppress(JobServerLost):  # told by every job that was on its way
                channel.flush(deadline)
        return works


class KeywordClient(Client):
    """What the clients share whose calls travel as an object of keywords."""

    def submit(self, function: str, /, **kwargs: Any) -> WorkResult:
        """Sends a job for a Gearman function.

        Args:
            function: its name, `"myworker_add"`.
            **kwargs: the arguments of the task.

        Returns:
            The work object: `is_done()`, `get_result(timeout=60)`, `updates()`. That of a
            background job is done when the job server has accepted it.

        Raises:
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            JobServerLost: the connection ended while sending; the job may or may not run.
            EncodingError: the arguments are refused by the encoder.
            InvalidTask: no function can have that name.
        """
        return self._sent(function, kwargs)

    def map(
        self,
        function: str,
        arguments: Iterable[Mapping[str, Any]],
        window: int = 1000,
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """Calls a function with many sets of arguments, and yields the results in their order.

        Lazy: inputs are taken as results are consumed, so they may be endless.

        Args:
            function: the name of the Gearman function.
            arguments: a mapping of keyword arguments for every call.
            window: how many calls may be under way at a time.
            return_exceptions: whether a call that fails yields its exception, in its place,
                instead of raising it there.

        Raises:
            InvalidOption: `window` is no number of calls, or the client has an option that is
                for one call.
            JobServerUnavailable: no job server could be reached.
            The errors of `SimpleClient.call`, at the place of the call that failed.
        """
        return self._map(function, arguments, window, return_exceptions)

    def stream(self, function: str, /, **kwargs: Any) -> Iterator[Any]:
        """Calls a function, and yields the parts of its result as they come: what a generator
        task yields, and what any task sends ahead.

        What the task raises is raised here, after the parts that it sent before. Where a worker
        sends its result only as a whole, that has to be a list, whose items are yielded.

        Args:
            function: the name of the Gearman function.
            **kwargs: the arguments of the task.

        Raises:
            InvalidTask: the result is no list, and nothing was sent ahead: no stream.
            The errors of `SimpleClient.call`.
        """
        return self._stream(function, kwargs)


class SimpleClient(KeywordClient):
    """Calls and waits: `SimpleClient().myworker_add(a=10, b=15)` returns 25."""

    _returns: ClassVar[Literal["answers"]] = "answers"

    def call(self, function: str, /, **kwargs: Any) -> Any:
        """Calls a Gearman function and returns what its task returned.

        With `using(background=True)`, returns the `WorkResult` of the job as soon as the job
        server has accepted it.

        Args:
            function: its name, `"myworker_add"`.
            **kwargs: the arguments of the task.

        Raises:
            TaskError: the task failed on its worker.
            TaskTimeout: no answer within the client's timeout. The job may still run.
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            EncodingError: the arguments, or the answer, are refused by the encoder.
            InvalidTask: no function can have that name.
        """
        return self._result(function, kwargs)


class AsyncClient(KeywordClient):
    """Calls and returns a `WorkResult` at once, to be waited for later."""

    _returns: ClassVar[Literal["work"]] = "work"

    def call(self, function: str, /, **kwargs: Any) -> WorkResult:
        """Sends a job: the same as `submit`."""
        return self._sent(function, kwargs)

    as_completed = staticmethod(as_completed)
    wait = staticmethod(wait)


class RawClient(Client):
    """Calls with the bytes of a payload, and returns bytes: `RawClient().upper(b"hi")` returns
    b"HI". For functions that speak no JSON. All else is as with `SimpleClient`."""

    _default_encoder = RawDataEncoder
    _takes_payload = True
    _returns: ClassVar[Literal["payloads"]] = "payloads"

    def call(self, function: str, payload: bytes = b"", /) -> Any:
        """Calls a Gearman function and returns the bytes that it answers.

        Args:
            function: its name.
            payload: what it is given.

        Raises:
            EncodingError: the payload is not bytes, or it or the answer is over `max_packet`.
            The other errors of `SimpleClient.call`.
        """
        return self._result(function, payload)

    def submit(self, function: str, payload: bytes = b"", /) -> WorkResult:
        """Sends a job for a Gearman function, as `SimpleClient.submit` does."""
        return self._sent(function, payload)

    def map(
        self,
        function: str,
        payloads: Iterable[bytes],
        window: int = 1000,
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """Calls a function with many payloads, as `SimpleClient.map` does with arguments."""
        return self._map(function, payloads, window, return_exceptions)

    def stream(self, function: str, payload: bytes = b"", /) -> Iterator[Any]:
        """Calls a function, and yields the parts of its result as they come, as
        `SimpleClient.stream` does. A result that comes as a whole is one part."""
        return self._stream(function, payload)
