"""Clients: a task anywhere is called as if it were a method here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from gearmanny.blocking.client import Client
from gearmanny.blocking.results import WorkResult, as_completed, wait
from gearmanny.calling.values import Data, JobState, JobStatus, Progress, Warning
from gearmanny.vocabulary.encoders import JSONDataEncoder, RawDataEncoder

__all__ = [
    "AsyncClient",
    "Data",
    "JobState",
    "JobStatus",
    "JsonClient",
    "Progress",
    "RawClient",
    "SimpleClient",
    "Warning",
    "WorkResult",
]


class KeywordClient(Client):
    """The base of the clients whose calls travel as an object of keywords."""

    _default_encoder = JSONDataEncoder

    def submit(self, function: str, /, **kwargs: Any) -> WorkResult:
        """Sends a job for a Gearman function.

        Args:
            function: its name, `"myworker_add"`.
            **kwargs: the arguments of the task.

        Returns:
            The work object: `is_done()`, `get_result(timeout=60)`, `updates()`. That of a
            background job is done when the job server has accepted it. It also says when the
            connection ended, even where that was noticed while the job was sent.

        Raises:
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            EncodingError: the arguments are refused by the encoder.
            InvalidTask: no function can have that name.
            InvalidOption: `delay` is beyond the times that a job server can keep.
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
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the arguments, or the answer, are refused by the encoder.
        """
        return self._map(function, arguments, window, return_exceptions)

    def submit_many(self, function: str, arguments: Iterable[Mapping[str, Any]]) -> list[str]:
        """Records any number of background jobs, a batch of them in one transaction, and hands each
        batch over with one send. The arguments are taken as their batch is next.

        Args:
            function: the name of the Gearman function.
            arguments: a mapping of keyword arguments for every job.

        Returns:
            The ids of the records, in the order of the jobs; empty ones in eager mode without
            records.

        Raises:
            InvalidTask: no function can have that name.
            InvalidOption: the client has no records, or an option that is for one call.
            EncodingError: arguments of a job are refused by the encoder.
            StoreUnavailable: the database cannot be reached. A note of each error says how many
                jobs earlier batches have recorded.
        """
        return self._submit_many(function, arguments)

    def stream(self, function: str, /, **kwargs: Any) -> Iterator[Any]:
        """Calls a function, and yields the parts of its result as they come: what a generator
        task yields, and what any task sends ahead. The job is sent when the first is asked for.

        What the task raises is raised here, after the parts that it sent before. Where a worker
        sends its result only as a whole, that has to be a list, whose items are yielded.

        Args:
            function: the name of the Gearman function.
            **kwargs: the arguments of the task.

        Raises:
            InvalidTask: no function can have that name, or the result is no list and nothing was
                sent ahead.
            InvalidOption: the client has an option that a stream cannot have.
            TaskError: the task failed on its worker.
            TaskTimeout: no answer within the client's timeout. The job may still run.
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the arguments, or the answer, are refused by the encoder.
            Exception: any that `on_update` raises.
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
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the arguments, or the answer, are refused by the encoder.
            InvalidTask: no function can have that name.
            InvalidOption: `delay` is beyond the times that a job server can keep.
            Exception: any that `on_update` raises.
        """
        return self._result(function, kwargs)


JsonClient = SimpleClient
"""The name of `SimpleClient` in old code."""


class AsyncClient(KeywordClient):
    """Calls and returns a `WorkResult` at once, to be waited for later."""

    _returns: ClassVar[Literal["work"]] = "work"

    def call(self, function: str, /, **kwargs: Any) -> WorkResult:
        """Sends a job for a Gearman function: the same as `submit`.

        Args:
            function: its name, `"myworker_add"`.
            **kwargs: the arguments of the task.

        Returns:
            The work object.

        Raises:
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            EncodingError: the arguments are refused by the encoder.
            InvalidTask: no function can have that name.
            InvalidOption: `delay` is beyond the times that a job server can keep.
        """
        return self._sent(function, kwargs)

    as_completed = staticmethod(as_completed)
    wait = staticmethod(wait)


class RawClient(Client):
    """Calls with the bytes of a payload, and returns bytes: `RawClient().upper(b"hi")` returns
    b"HI". For functions that do not use JSON. All else is as with `SimpleClient`."""

    _default_encoder = RawDataEncoder
    _takes_payload = True
    _returns: ClassVar[Literal["payloads"]] = "payloads"

    def call(self, function: str, payload: bytes = b"", /) -> Any:
        """Calls a Gearman function and returns the bytes that it answers.

        With `using(background=True)`, returns the `WorkResult` of the job as soon as the job
        server has accepted it.

        Args:
            function: its name.
            payload: the bytes that it is given.

        Raises:
            TaskError: the task failed on its worker.
            TaskTimeout: no answer within the client's timeout. The job may still run.
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the payload is not bytes, or it or the answer is over `max_packet`.
            InvalidTask: no function can have that name.
            InvalidOption: `delay` is beyond the times that a job server can keep.
            Exception: any that `on_update` raises.
        """
        return self._result(function, payload)

    def submit(self, function: str, payload: bytes = b"", /) -> WorkResult:
        """Sends a job for a Gearman function.

        Args:
            function: its name.
            payload: the bytes that it is given.

        Returns:
            The work object. That of a background job is done when the job server has accepted
            it. It also says when the connection ended.

        Raises:
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            EncodingError: the payload is not bytes, or is over `max_packet`.
            InvalidTask: no function can have that name.
            InvalidOption: `delay` is beyond the times that a job server can keep.
        """
        return self._sent(function, payload)

    def map(
        self,
        function: str,
        payloads: Iterable[bytes],
        window: int = 1000,
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """Calls a function with many payloads, and yields the answers in their order.

        Lazy: payloads are taken as answers are consumed, so they may be endless. Leaving it early
        discards the answers of what is under way. A call that fails raises its error at its place.

        Args:
            function: the name of the Gearman function.
            payloads: the bytes for every call.
            window: how many calls may be under way at a time.
            return_exceptions: whether a call that fails yields its exception, in its place,
                instead of raising it there.

        Raises:
            InvalidTask: no function can have that name.
            InvalidOption: `window` is not a whole number, 1 or more, or the client has an option
                that is for one call.
            TaskError: the task failed on its worker.
            TaskTimeout: no answer within the client's timeout. The job may still run.
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            StoreUnavailable: the job was to be recorded, and the database cannot be reached.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the payload is not bytes, or it or the answer is over `max_packet`.
        """
        return self._map(function, payloads, window, return_exceptions)

    def submit_many(self, function: str, payloads: Iterable[bytes]) -> list[str]:
        """Records any number of background jobs, a batch of them in one transaction, and hands each
        batch over with one send. Payloads are taken as their batch is next.

        Args:
            function: the name of the Gearman function.
            payloads: the bytes for every job.

        Returns:
            The ids of the records, in the order of the jobs; empty ones in eager mode without
            records.

        Raises:
            InvalidTask: no function can have that name.
            InvalidOption: the client has no records, or an option that is for one call.
            EncodingError: a payload is not bytes, or is over `max_packet`.
            StoreUnavailable: the database cannot be reached. A note of each error says how many
                jobs earlier batches have recorded.
        """
        return self._submit_many(function, payloads)

    def stream(self, function: str, payload: bytes = b"", /) -> Iterator[Any]:
        """Calls a function, and yields the parts of its result as they come. A result that comes
        as a whole is one part. The job is sent when the first is asked for.

        Args:
            function: the name of the Gearman function.
            payload: the bytes that it is given.

        Raises:
            InvalidTask: no function can have that name.
            InvalidOption: the client has an option that a stream cannot have.
            TaskError: the task failed on its worker.
            TaskTimeout: no answer within the client's timeout. The job may still run.
            JobServerUnavailable: no job server could be reached. Nothing was sent.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the payload is not bytes, or it or the answer is over `max_packet`.
            Exception: any that `on_update` raises.
        """
        return self._stream(function, payload)
