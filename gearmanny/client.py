"""Clients: a task anywhere is called as if it were a method here."""

from __future__ import annotations

import abc
import functools
import itertools
import os
import threading
import time
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from gearmanny.channel import Channel
from gearmanny.encoding import JSONDataEncoder, encode
from gearmanny.errors import JobServerUnavailable
from gearmanny.gearman_api import DataEncoder
from gearmanny.names import check_function_name
from gearmanny.results import Answer, Data, Progress, Warning, WorkResult
from gearmanny.transport import CONNECT_TIMEOUT, HOSTS, Deadline, Host, connect, parse_hosts

__all__ = ["AsyncClient", "Data", "Progress", "SimpleClient", "Warning", "WorkResult"]

_AVOID_UNREACHABLE = 30.0
"""Seconds for which a host that did not answer is not tried while another one does."""


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
    ) -> None:
        """
        Args:
            hosts: job servers, `"name:port"`; calls rotate over those that are up.
                Default: `localhost:4730`.
            timeout: seconds that a call waits for its answer; None, the default, waits for
                as long as the job takes.
            connect_timeout: seconds that one host may take to accept a connection.
            data_encoder: makes payloads of arguments and values of answers; the worker's
                must match.

        Raises:
            InvalidOption: a host or a timeout that cannot be.
        """
        self._hosts = parse_hosts(HOSTS if hosts is None else hosts)
        Deadline(timeout)
        Deadline(connect_timeout)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._encoder = data_encoder
        self._turns = itertools.count()
        self._forget_connections()
        _clients.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(map(str, self._hosts))}>"

    def __getattr__(self, name: str) -> RemoteTask:
        # Copy, pickle, debuggers and templates look for underscored names: none is a task.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return RemoteTask(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy, also one that was pickled for another process, makes connections of its own.
        remade = functools.partial(
            type(self),
            list(map(str, self._hosts)),
            timeout=self._timeout,
            connect_timeout=self._connect_timeout,
            data_encoder=self._encoder,
        )
        return remade, ()

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

    def close(self) -> None:
        """Closes the connections; jobs without an answer get `JobServerLost`. A later call
        connects again."""
        with self._connecting:
            channels = list(self._channels.values())
            self._channels.clear()
        for channel in channels:
            channel.close()

    def _submit(
        self, result: type[WorkResult], function: str, kwargs: dict[str, Any]
    ) -> WorkResult:
        name = check_function_name(function)
        payload = encode(self._encoder, kwargs)
        while True:
            channel = self._channel()
            work = result(channel, function, self._encoder)
            if channel.submit(work, name, payload):
                return work

    def _channel(self) -> Channel:
        """Returns a connection to the next host in turn that is up.

        Raises:
            JobServerUnavailable: none is.
        """
        turn = next(self._turns) % len(self._hosts)
        hosts = self._hosts[turn:] + self._hosts[:turn] if turn else self._hosts
        channel = self._channels.get(hosts[0])
        if channel is not None and channel.usable():
            return channel
        with self._connecting:
            now = time.monotonic()
            failures: dict[str, str] = {}
            # Stable: hosts that failed lately keep their order behind the others.
            for host in sorted(hosts, key=lambda host: self._avoided.get(host, 0.0) > now):
                channel = self._channels.get(host)
                if channel is not None and channel.usable():
                    return channel
                try:
                    channel = Channel(connect(host, self._connect_timeout))
                except JobServerUnavailable as error:
                    failures |= error.failures
                    self._avoided[host] = time.monotonic() + _AVOID_UNREACHABLE
                    continue
                self._avoided.pop(host, None)
                self._channels[host] = channel
                return channel
        raise JobServerUnavailable(failures)

    def _forget_connections(self) -> None:
        self._connecting = threading.Lock()
        self._channels: dict[Host, Channel] = {}
        self._avoided: dict[Host, float] = {}

    def _after_fork_in_child(self) -> None:
        channels = self._channels.values()
        self._forget_connections()
        for channel in channels:
            channel.disown()


class SimpleClient(Client):
    """Calls and waits: `SimpleClient().myworker_add(a=10, b=15)` returns 25."""

    def call(self, function: str, /, **kwargs: Any) -> Any:
        """Calls a Gearman function and returns what its task returned.

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
        return self._submit(Answer, function, kwargs).get_result(self._timeout)


class AsyncClient(Client):
    """Calls and returns a `WorkResult` at once, to be waited for later."""

    def call(self, function: str, /, **kwargs: Any) -> WorkResult:
        """Sends a job for a Gearman function.

        Args:
            function: its name, `"myworker_add"`.
            **kwargs: the arguments of the task.

        Returns:
            The work object: `is_done()`, `get_result(timeout=60)`, `updates()`.

        Raises:
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            JobServerLost: the connection ended while sending; the job may or may not run.
            EncodingError: the arguments are refused by the encoder.
            InvalidTask: no function can have that name.
        """
        return self._submit(WorkResult, function, kwargs)


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in _clients:
        client._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
