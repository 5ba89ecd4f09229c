"""The connection of a working worker to one of its job servers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from gearmanny.net.deadline import NEVER
from gearmanny.net.transport import Connection
from gearmanny.payload.backoff import rest_between_calls
from gearmanny.payload.checks import whole_number
from gearmanny.payload.encoding import encode
from gearmanny.payload.failures import shortened
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.worker import Event, WorkerConnection
from gearmanny.vocabulary.gearman_api import DataEncoder, GearmanJob
from gearmanny.working.timelimits import TimeLimit

_PROGRESS = whole_number(0, 2**32 - 1)
"""gearmand keeps progress in 32 bits, and drops the packet when the text is too long."""

_FINISH_TIMEOUT = 2.0
"""Seconds in which a job server takes in the last answer of a worker that leaves."""


class Link:
    """One connection: its protocol machine, its socket, and what tasks report over it.

    It serves gearman3's `GearmanWorker` as the `connection` of a job and as the
    command handler of that connection: `send_job_*` of any such worker look both
    up and call the methods here that have gearman3's names. Reports are sent
    before the call returns; answers are queued, to leave together with the
    question for the next job.
    """

    connected = True
    """For gearman3: whoever has this object may send."""

    def __init__(
        self,
        connection: Connection,
        encoder: type[DataEncoder],
        on_failure: Callable[[Link, GearmanJob, BaseException], None],
        name_functions: Callable[[Iterable[str | bytes]], Iterable[bytes]],
        max_packet: int = MAX_PACKET,
    ) -> None:
        """
        Args:
            connection: the socket.
            encoder: makes payloads of what tasks report and return.
            on_failure: called for an exception that a job ended with; it answers the job.
            name_functions: makes names that travel of those that were registered.
            max_packet: bytes of the longest packet, both ways.
        """
        self.host = connection.host
        self.descriptor = connection.fileno()
        self.asked_at = 0.0
        """When a job was last asked for, by `time.monotonic`."""
        self._connection = connection
        self.machine = WorkerConnection(max_packet)
        self._max_packet = max_packet
        self._encoder = encoder
        self._on_failure = on_failure
        self._name_functions = name_functions
        self._lock: AbstractContextManager[Any] = threading.Lock()
        # Tasks may report from threads of their own.
        self.data_sent_for: set[str] = set()
        """Handles of the jobs that we hold for which data was sent."""

    @property
    def ask_from(self) -> float:
        """When a job may be asked for again, by `time.monotonic`."""
        return self.asked_at + rest_between_calls(self.machine.empty_calls)

    def ask(self, jobs: int, now: float) -> None:
        """Queues the question for so many jobs."""
        self.asked_at = now
        with self._lock:
            self.machine.grab(jobs)

    def receive(self) -> list[Event] | None:
        """Returns what the job server told; None when it said nothing, as where TLS speaks alone.

        Raises JobServerLost and ProtocolError.
        """
        data = self._connection.receive()
        if not data:
            return None
        with self._lock:
            return list(self.machine.receive(data))

    def flush(self) -> None:
        """Sends what is queued. Raises JobServerLost."""
        with self._lock:
            while data := self.machine.data_to_send():
                self._connection.send(data, NEVER)

    def fail(self, job: GearmanJob, failure: bytes, *, as_exception: bool) -> None:
        """Answers a job with an encoded failure."""
        handle = _handle(job)
        failure = shortened(failure, self._max_packet)
        with self._lock:
            if as_exception:
                self.machine.raise_(handle, failure)
            else:
                # A WORK_EXCEPTION hangs libgearman 1.1.20 clients that did not ask for them.
                self.machine.send_warning(handle, failure)
                self.machine.fail(handle)

    @contextmanager
    def reporting_whole(self, limit: TimeLimit) -> Iterator[None]:
        """Sees to it that a time limit interrupts no report of a task: half of one would end the
        connection, and with it the job."""
        lock = self._lock
        self._lock = limit.shielding(lock)
        try:
            yield
        finally:
            self._lock = lock

    def has_ended(self) -> bool:
        """Returns whether the job server is known to have ended the connection. What we hold, it
        has given to another worker then."""
        return self._connection.has_ended()

    def finish(self) -> None:
        """Leaves the job server once it has taken in the last answer."""
        self._connection.finish(_FINISH_TIMEOUT)

    def close(self) -> None:
        """Leaves the job server: a job without an answer it gives to another worker."""
        self._connection.close()

    # Names of gearman3, from here on.

    def fileno(self) -> int:
        return self.descriptor

    def writable(self) -> bool:
        return False  # nothing is ever left to be sent later

    def set_abilities(self, abilities: Iterable[str | bytes]) -> None:
        with self._lock:
            self.machine.offer(self._name_functions(abilities))
        self.flush()

    def set_client_id(self, client_id: str) -> None:
        with self._lock:
            self.machine.set_client_id(client_id.encode())
        self.flush()

    def send_job_status(self, current_job: GearmanJob, numerator: int, denominator: int) -> None:
        for number in (numerator, denominator):
            _PROGRESS.check("progress", number)
        with self._lock:
            self.machine.send_status(_handle(current_job), b"%d" % numerator, b"%d" % denominator)
        self.flush()

    def send_job_data(self, current_job: GearmanJob, data: Any) -> None:
        payload = encode(self._encoder, data, self._max_packet)
        with self._lock:
            self.data_sent_for.add(current_job.handle)
            self.machine.send_data(_handle(current_job), payload)
        self.flush()

    def send_job_warning(self, current_job: GearmanJob, data: Any) -> None:
        payload = encode(self._encoder, data, self._max_packet)
        with self._lock:
            self.machine.send_warning(_handle(current_job), payload)
        self.flush()

    def send_job_complete(self, current_job: GearmanJob, data: Any) -> None:
        payload = encode(self._encoder, data, self._max_packet)
        with self._lock:
            self.machine.complete(_handle(current_job), payload)

    def send_job_exception(self, current_job: GearmanJob, data: Any) -> None:
        payload = encode(self._encoder, data, self._max_packet)
        with self._lock:
            self.machine.raise_(_handle(current_job), payload)

    def send_job_failure(self, current_job: GearmanJob) -> None:
        """Fails a job. gearman3 calls this while it handles what the callback raised, and has no
        other way to hand it over: so that is where the reason is taken from."""
        error = sys.exc_info()[1]
        if error is not None:
            self._on_failure(self, current_job, error)
            return
        with self._lock:
            self.machine.fail(_handle(current_job))


def _handle(job: GearmanJob) -> bytes:
    handle: str = job.handle
    return handle.encode(errors="surrogateescape")
