"""Clients: a task anywhere is called as if it were a method here."""

from __future__ import annotations

import abc
import contextlib
import functools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from gearmanny.connections import Connections
from gearmanny.encoding import JSONDataEncoder, encode
from gearmanny.errors import EncodingError, InvalidOption, JobServerLost
from gearmanny.gearman_api import DataEncoder
from gearmanny.limits import MAX_PACKET, check_max_packet
from gearmanny.names import check_function_name
from gearmanny.options import CallOptions
from gearmanny.resending import Resending
from gearmanny.results import (
    Answer,
    Data,
    Progress,
    Warning,
    WorkResult,
    as_completed,
    wait,
)
from gearmanny.tls import TLS, TLSOption
from gearmanny.transport import CONNECT_TIMEOUT, HOSTS, Deadline, parse_hosts

__all__ = ["AsyncClient", "Data", "Progress", "SimpleClient", "Warning", "WorkResult"]

_FILL_SECONDS = 0.01
"""Seconds for which `map` collects inputs before it sends those that it has: a slow source must
not keep the answers back."""


class RemoteTask:
    """A Gearman function that can be called: what `client.myworker_add` is."""

    __slots__ = ("_client", "_function")

    def __init__(self, client: Client, function: str) -> None:
        self._client = client
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            raise TypeError(
                f"{self._function}() takes keyword arguments only, because that is what travels: "
                f"write {self._function}(name=value)"
            )
        return self._client.call(self._function, **kwargs)

    def __repr__(self) -> str:
        return f"<Gearman function {self._function} of {self._client!r}>"


class Client(abc.ABC):
    """What the clients share: hosts, connections, sending. Any number of threads may use it.

    Connections are made on the first call and kept. A child made by `os.fork()`
    makes its own.
    """

    def __init__(
        self,
        hosts: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        data_encoder: type[DataEncoder] = JSONDataEncoder,
        max_packet: int = MAX_PACKET,
        tls: TLSOption = None,
    ) -> None:
        """
        Args:
            hosts: job servers, `"name:port"`, `"[::1]:port"` or `"unix:/path"`; calls rotate over
                those that are up. Default: `localhost:4730`.
            timeout: seconds that a call waits for its answer; None, the default, waits for
                as long as the job takes.
            connect_timeout: seconds that making a connection may take, all hosts together.
            data_encoder: makes payloads of arguments and values of answers; the worker's
                must match.
            max_packet: bytes of the longest packet, both ways; longer arguments or answers are
                an `EncodingError` of that call.
            tls: how the job servers are secured: True for the authorities that the system trusts,
                a dict with the paths of PEM files `"ca"`, `"cert"` and `"key"`, each optional, or
                an `ssl.SSLContext`. None, the default, for plain connections.

        Raises:
            InvalidOption: a host, a timeout, a limit or `tls` that cannot be.
        """
        Deadline(connect_timeout)
        check_max_packet(max_packet)
        self._connections = Connections(
            parse_hosts(HOSTS if hosts is None else hosts),
            connect_timeout,
            max_packet,
            TLS.of(tls),
        )
        self._options = CallOptions().changed(timeout=timeout)
        self._encoder = data_encoder

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(map(str, self._connections.hosts))}>"

    def __getattr__(self, name: str) -> RemoteTask:
        # Copy, pickle, debuggers and templates look for underscored names: none is a task.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return RemoteTask(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy, also one that was pickled for another process, makes connections of its own.
        remade = functools.partial(
            type(self),
            list(map(str, self._connections.hosts)),
            connect_timeout=self._connections.connect_timeout,
            data_encoder=self._encoder,
            max_packet=self._connections.max_packet,
            tls=self._connections.tls,
        )
        return remade, (), {"_options": self._options}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abc.abstractmethod
    def call(self, function: str, /, **kwargs: Any) -> Any:
        """Calls a Gearman function by name, as `client.<function>(**kwargs)` does."""

    def using(self, **options: Any) -> Self:
        """Returns a client of the same kind, over the same connections, with other options.

        Args:
            timeout: seconds that a call waits for its answer; None for as long as it takes.
            background: whether jobs are handed to the job server without waiting for an answer.
            idempotent: whether a job may run twice. It is then sent again, to any job server that
                is up, when its connection is lost before it is answered.

        Raises:
            InvalidOption: there is no such option, or its value cannot be.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _options=self._options.changed(**options))
        return other

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
            InvalidOption: `window` is no number of calls.
            JobServerUnavailable: no job server could be reached.
            The errors of `SimpleClient.call`, at the place of the call that failed.
        """
        if not isinstance(window, int) or window < 1:
            raise InvalidOption(f"window is a number of calls, at least 1, not {window!r}.")
        check_function_name(function)
        return self._map(function, iter(arguments), window, return_exceptions)

    def close(self) -> None:
        """Closes the connections; jobs without an answer get `JobServerLost`. A later call
        connects again."""
        self._connections.close()

    def _map(
        self,
        function: str,
        inputs: Iterator[Mapping[str, Any]],
        window: int,
        return_exceptions: bool,
    ) -> Iterator[Any]:
        size = (window + 1) // 2  # half of a window leaves in one send while the other half runs
        under_way: deque[WorkResult] = deque()
        more = True
        while more or under_way:
            if more and len(under_way) <= window - size:
                batch = _take(inputs, size)
                more = bool(batch)
                if more:
                    under_way.extend(self._submit(Answer, function, self._encode_all(batch)))
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

    def _submit(
        self, kind: type[WorkResult], function: str, payloads: Iterable[bytes | EncodingError]
    ) -> list[WorkResult]:
        """Sends jobs together. One that could not be encoded has failed already."""
        name = check_function_name(function)
        _, background, idempotent = self._options
        deadline = Deadline(self._options.timeout)
        channel = self._connections.channel(self._options)
        works = []
        for payload in payloads:
            work = kind(channel, function, self._encoder)
            work.background = background
            works.append(work)
            if isinstance(payload, EncodingError):
                work.outcome = payload
                continue
            unique = self._connections.new_unique() if background else b""
            if idempotent:
                work.resending = Resending(self._connections, name, payload, unique)
            while not channel.queue(work, name, payload, unique):
                work.channel = channel = self._connections.channel(self._options)
        with contextlib.suppress(JobServerLost):  # told by every job that was on its way
            channel.flush(deadline)
        return works

    def _encode_all(self, calls: Iterable[Mapping[str, Any]]) -> Iterator[bytes | EncodingError]:
        for kwargs in calls:
            try:
                yield self._encode(kwargs)
            except EncodingError as error:
                yield error

    def _encode(self, kwargs: Mapping[str, Any]) -> bytes:
        return encode(self._encoder, kwargs, self._connections.max_packet)


class SimpleClient(Client):
    """Calls and waits: `SimpleClient().myworker_add(a=10, b=15)` returns 25."""

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
        background = self._options.background
        # The payload has no name here: it may be large, and nobody needs it once it was sent.
        (work,) = self._submit(
            WorkResult if background else Answer, function, [self._encode(kwargs)]
        )
        answer = work.get_result(self._options.timeout)
        return work if background else answer


class AsyncClient(Client):
    """Calls and returns a `WorkResult` at once, to be waited for later."""

    def call(self, function: str, /, **kwargs: Any) -> WorkResult:
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
        (work,) = self._submit(WorkResult, function, [self._encode(kwargs)])
        if isinstance(work.outcome, JobServerLost) and not self._options.idempotent:
            raise work.outcome
        return work

    as_completed = staticmethod(as_completed)
    wait = staticmethod(wait)


def _take(inputs: Iterator[Mapping[str, Any]], size: int) -> list[Mapping[str, Any]]:
    """Returns the next inputs: so many, or those that came before the time to send was over."""
    batch: list[Mapping[str, Any]] = []
    until = time.monotonic() + _FILL_SECONDS
    for arguments in inputs:
        batch.append(arguments)
        if len(batch) == size or time.monotonic() >= until:
            break
    return batch
