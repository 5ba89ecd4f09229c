"""Clients: a task anywhere is called as if it were a method here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from gearmanny.blocking.channel import Channel
from gearmanny.blocking.connections import Connections
from gearmanny.blocking.driver import Driver, SharedAgain
from gearmanny.calling.again import Again
from gearmanny.calling.asking import find_status
from gearmanny.calling.call import Call
from gearmanny.calling.caller import Caller
from gearmanny.calling.exchange import Watcher
from gearmanny.calling.tracing import CallSpans
from gearmanny.calling.values import Data, JobState, JobStatus, Progress, Warning
from gearmanny.calling.waiting import stream
from gearmanny.calling.window import map_calls
from gearmanny.errors import EncodingError, JobServerLost
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Servers
from gearmanny.protocol.client import Request
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
        self._driver = Driver(self._connections)

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
        deadline, hosts = Deadline(timeout), self._servers.hosts
        return self._driver.run(find_status(hosts, unique.encode(), deadline))

    def close(self) -> None:
        """Closes the connections; jobs without an answer get `JobServerLost`. A later call
        connects again."""
        self._connections.close()

    def _result(self, function: str, arguments: object) -> Any:
        options = self._options
        seen = options.on_update is not None
        # The payload has no name here: it may be large, and nobody needs it once it was sent.
        (call,) = self._submit(function, [self._encode(arguments)], keeps_updates=seen)
        try:
            answer = self._driver.result(call, options.timeout)
        finally:
            if call.outcome is None:
                call.forget()
        return WorkResult(call, self._driver) if options.background else answer

    def _sent(self, function: str, arguments: object) -> WorkResult:
        (call,) = self._submit(function, [self._encode(arguments)])
        return WorkResult(call, self._driver)

    def _map(
        self, function: str, inputs: Iterable[object], window: int, return_exceptions: bool
    ) -> Iterator[Any]:
        self._check_map(function, window)
        timeout = self._options.timeout
        steps = map_calls(iter(inputs), window, timeout, return_exceptions, time.monotonic)
        return self._driver.iterate(
            steps,
            lambda batch: self._submit(function, self._encode_all(batch), keeps_updates=False),
        )

    def _stream(self, function: str, arguments: object) -> Iterator[Any]:
        self._check_stream(function)
        steps = stream(self._encode(arguments), self._options.timeout)
        return self._driver.iterate(steps, lambda payloads: self._submit(function, payloads))

    def _submit(
        self,
        function: str,
        payloads: Iterable[bytes | EncodingError],
        *,
        keeps_updates: bool = True,
    ) -> list[Call[Channel]]:
        """Sends jobs together. One that could not be encoded has failed already."""
        options, connections = self._options, self._connections
        deadline = Deadline(options.timeout)
        calls: list[Call[Channel]] = []
        try:
            with CallSpans() as spans:
                requests = self._requests(function, payloads, spans, time.time)
                channel = connections.channel(options)
                for request in requests:
                    calls.append(call := self._new_call(channel, function, request, keeps_updates))
                    if isinstance(request, EncodingError):
                        continue
                    while not channel.queue(call, request):
                        channel = connections.channel(options)
                with contextlib.suppress(JobServerLost):  # every call that was on its way says so
                    channel.flush(deadline)
        except BaseException:
            for call in calls:
                call.forget()
            raise
        return calls

    def _again(self, request: Request) -> tuple[Again, tuple[Watcher, ...]]:
        return SharedAgain(request, self._options, self._connections), ()


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
