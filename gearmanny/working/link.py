"""The connection of a working worker to one of its job servers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from gearmanny.errors import JobServerUnavailable
from gearmanny.net.forks import this_process
from gearmanny.net.transport import Connection
from gearmanny.payload.backoff import rest_between_calls
from gearmanny.payload.failures import shortened
from gearmanny.protocol.worker import Event, WorkerConnection
from gearmanny.working.sending import Sender
from gearmanny.working.timelimits import TimeLimit

_FINISH_TIMEOUT = 2.0
"""Seconds in which a job server takes in the last answer of a worker that leaves."""

_LEAVE_TIMEOUT = 30.0
"""Seconds that a worker that leaves waits for a job server that takes nothing."""

_LONGEST_SILENCE = 60.0
"""Seconds that a report waits for a job server that takes nothing."""


class Link:
    """One connection: its protocol machine, its socket, and a lock around both.

    Tasks may report from threads of their own. Reports are sent before the call returns; answers
    are queued, to leave together with the question for the next job.
    """

    def __init__(
        self, connection: Connection, max_packet: int, on_emptied: Callable[[], object]
    ) -> None:
        """
        Args:
            connection: the socket.
            max_packet: bytes of the longest packet, both ways.
            on_emptied: called when the job server has taken what had to wait.
        """
        self.host = connection.host
        self.host_name = str(connection.host).encode()
        self.descriptor = connection.fileno()
        self.machine = WorkerConnection(max_packet)
        self.max_packet = max_packet
        self.asked_at = 0.0
        """When a job was last asked for, by `time.monotonic`."""
        self.data_sent: dict[bytes, int] = {}
        """Bytes of the result that were sent ahead, by the handle of each job that is held."""
        self.unwanted = False
        """Whether it is to be closed, so that a job goes back to its queue."""
        self._connection = connection
        lock = threading.Lock()
        self._lock: AbstractContextManager[Any] = lock
        self.uninterrupted: Callable[[], AbstractContextManager[None]] = nullcontext
        """Returns a block in which the plain task that runs is not interrupted."""
        self._sender = Sender(connection, lock, self.machine.data_to_send, on_emptied)
        self._waiting_bytes = 0
        """Bytes of the reports that coroutines have queued while nothing could be sent."""
        self._forks = this_process.forks
        self.heard = False
        """Whether the job server ever sent anything."""
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the connection has ended: its jobs were given to others."""
        return self._closed or self._sender.error is not None

    @property
    def full(self) -> bool:
        """Whether something waits until the job server takes it."""
        return self._sender.full

    @property
    def ask_from(self) -> float:
        """When a job may be asked for again, by `time.monotonic`."""
        return self.asked_at + rest_between_calls(self.machine.empty_calls)

    def fileno(self) -> int:
        """Returns the descriptor of the socket, also once that is closed."""
        return self.descriptor

    def ask(self, jobs: int, now: float) -> None:
        """Queues a question for jobs.

        Args:
            jobs: how many.
            now: the time, by `time.monotonic`.
        """
        self.asked_at = now
        with self._lock:
            self.machine.grab(jobs)

    def receive(self) -> list[Event] | None:
        """Returns the events of the bytes that have arrived; None when there were none, as where
        TLS exchanges messages of its own.

        Raises:
            JobServerLost: the connection has ended.
            ProtocolError: no job server sends such bytes.
        """
        data = self._connection.receive()
        if not data:
            return None
        self.heard = True
        with self._lock:
            return list(self.machine.receive(data))

    def flush(self) -> None:
        """Sends the queued bytes. Those that the job server does not take at once are sent later.

        Raises:
            JobServerLost: the connection has ended.
        """
        with self._lock:
            self._sender.flush()

    def introduce(self, client_id: str) -> None:
        """Sends the name of the worker.

        Args:
            client_id: the name.

        Raises:
            JobServerLost: the connection has ended.
        """
        with self._lock:
            self.machine.set_client_id(client_id.encode())
        self.flush()

    def offer(self, functions: Iterable[bytes]) -> None:
        """Offers exactly these functions from now on.

        Args:
            functions: their names, as they travel.

        Raises:
            InvalidTask: no function can have such a name.
            JobServerLost: the connection has ended.
        """
        with self._lock:
            self.machine.offer(functions)
        self.flush()

    def send_status(self, handle: bytes, done: bytes, total: bytes) -> None:
        """Sends the progress of a job.

        Args:
            handle: the job.
            done: a whole number in ASCII.
            total: another one.

        Raises:
            JobServerLost: the connection has ended.
            JobServerUnavailable: the job server does not take what is sent. Nothing was sent.
            RuntimeError: this is not the process of the worker.
        """
        self._make_room(len(done) + len(total))
        with self._lock:
            self.machine.send_status(handle, done, total)
        self.flush()

    def send_data(self, handle: bytes, payload: bytes) -> None:
        """Sends a part of the result of a job.

        Args:
            handle: the job.
            payload: the part.

        Raises:
            JobServerLost: the connection has ended.
            JobServerUnavailable: the job server does not take what is sent. Nothing was sent.
            RuntimeError: this is not the process of the worker.
        """
        self._make_room(len(payload))
        with self._lock:
            if handle in self.machine.held:
                self.data_sent[handle] = self.data_sent.get(handle, 0) + len(payload)
            self.machine.send_data(handle, payload)
        self.flush()

    def send_warning(self, handle: bytes, payload: bytes) -> None:
        """Sends a warning of a job.

        Args:
            handle: the job.
            payload: the warning.

        Raises:
            JobServerLost: the connection has ended.
            JobServerUnavailable: the job server does not take what is sent. Nothing was sent.
            RuntimeError: this is not the process of the worker.
        """
        self._make_room(len(payload))
        with self._lock:
            self.machine.send_warning(handle, payload)
        self.flush()

    def _make_room(self, size: int) -> None:
        """Holds a report back while the job server takes nothing: the task waits, or, in an event
        loop that must not wait, is told when too much has been queued."""
        if this_process.forks != self._forks:
            raise RuntimeError(
                "A process that a task has forked cannot report on the job: the connection to the "
                "job server belongs to the worker. Send the report to the task, for example over a "
                "multiprocessing.Queue, and let the task send it."
            )
        if not self.full:
            self._waiting_bytes = 0
        elif not _in_event_loop():
            if not self._sender.wait(_LONGEST_SILENCE):
                raise self._stuck()
        else:
            self._waiting_bytes += size
            if self._waiting_bytes > self.max_packet:
                raise self._stuck()

    def check_taken(self) -> None:
        """Checks that the job server takes what is sent, at least from time to time.

        Raises:
            JobServerUnavailable: it has taken nothing for a minute.
        """
        if self._sender.silence() >= _LONGEST_SILENCE:
            raise self._stuck()

    def _stuck(self) -> JobServerUnavailable:
        return JobServerUnavailable({str(self.host): "it does not take what is sent"})

    def complete(self, handle: bytes, payload: bytes) -> None:
        """Queues the result of a job.

        Args:
            handle: the job.
            payload: the result.
        """
        with self._lock:
            self.machine.complete(handle, payload)
            self.data_sent.pop(handle, None)

    def fail(self, handle: bytes) -> None:
        """Queues that a job failed, without a reason.

        Args:
            handle: the job.
        """
        with self._lock:
            self.machine.fail(handle)
            self.data_sent.pop(handle, None)

    def raise_(self, handle: bytes, payload: bytes) -> None:
        """Queues the exception of a job.

        Args:
            handle: the job.
            payload: the exception.
        """
        with self._lock:
            self.machine.raise_(handle, payload)
            self.data_sent.pop(handle, None)

    def fail_with(self, handle: bytes, failure: bytes, *, as_exception: bool) -> None:
        """Queues that a job failed, and why.

        Args:
            handle: the job.
            failure: the encoded failure; one that is too long to be sent is replaced.
            as_exception: whether it travels as WORK_EXCEPTION.
        """
        failure = shortened(failure, self.max_packet)
        if as_exception:
            self.raise_(handle, failure)
            return
        with self._lock:
            # A WORK_EXCEPTION hangs libgearman 1.1.20 clients that did not ask for them.
            self.machine.send_warning(handle, failure)
            self.machine.fail(handle)
            self.data_sent.pop(handle, None)

    @contextmanager
    def reporting_whole(self, limit: TimeLimit) -> Iterator[None]:
        """Keeps a time limit from interrupting a report of its task: half of one would end the
        connection, and with it the job.

        Args:
            limit: the limit of the task that runs within.
        """
        lock = self._lock
        self._lock = limit.shielding(lock)
        self.uninterrupted = partial(limit.shielding, nullcontext())
        try:
            yield
        finally:
            self._lock, self.uninterrupted = lock, nullcontext

    def has_ended(self) -> bool:
        """Returns whether the connection is known to have ended. The jobs that were held, the job
        server has given to other workers then."""
        try:
            return self.closed or self._connection.has_ended()
        except ValueError:  # closed by another thread in this very moment
            return True

    def finish(self) -> None:
        """Leaves the job server once it has taken in the last answer."""
        if self._sender.wait(_LEAVE_TIMEOUT):
            self._connection.finish(_FINISH_TIMEOUT)

    def close(self) -> None:
        """Leaves the job server: it gives jobs without an answer to other workers."""
        self._closed = True
        self._sender.close()


def _in_event_loop() -> bool:
    """Returns whether this thread runs an event loop."""
    # Where nobody has imported asyncio, nobody runs one.
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None
