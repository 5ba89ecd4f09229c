"""The connections of a job server: which of them submitted a job, run it, and get its answer.

It knows connections and jobs, but no requests: `server.py` parses those.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gearmanny.protocol.outgoing import Data, take_next
from gearmanny.protocol.packets import RESPONSE, PacketType, pack
from gearmanny.protocol.queue import Function, Job, JobQueue

_NOOP = b"".join(pack(PacketType.NOOP, magic=RESPONSE))


class Journal(Protocol):
    """Storage in which background jobs survive a restart of the job server."""

    def jobs(self) -> Iterable[tuple[int, bytes, bytes, bytes, int, float]]:
        """Returns the stored jobs: the row number of each, and the arguments of `keep`."""

    def keep(self, function: bytes, unique: bytes, data: bytes, priority: int, due: float) -> int:
        """Stores a job.

        Args:
            function: the name of its function.
            unique: its unique id; empty for none.
            data: its payload.
            priority: HIGH, NORMAL or LOW.
            due: when to run it, in seconds since the epoch; 0 for at once.

        Returns:
            The row number to pass to `forget`.
        """

    def forget(self, row: int) -> None:
        """Deletes a job that is done, by the row number that `keep` returned."""


class ServerConnection:
    """A connection to the job server, used by a client, a worker, or both at once."""

    def __init__(self, number: int, address: str, ready: dict[ServerConnection, None]) -> None:
        self.number = number
        self.address = address
        self.client_id = b"-"
        self.wants_exceptions = False
        self.awaited: set[Job] = set()
        """Jobs whose answers this connection gets."""
        self.offered: dict[Function, float] = {}
        """The functions it offers, each with the seconds that a job may take; 0 for no limit."""
        self.held: dict[bytes, Job] = {}
        """Jobs that it is running, by handle."""
        self.asleep = False
        self._ready = ready
        self._outgoing: list[Data] = []

    def send(self, type: PacketType, *arguments: bytes) -> None:
        """Queues a packet.

        Args:
            type: its type.
            arguments: its arguments. Only the last may contain NULs.
        """
        self.send_bytes(*pack(type, *arguments, magic=RESPONSE))

    def send_bytes(self, *data: bytes) -> None:
        """Queues bytes as they are."""
        self._ready[self] = None
        self._outgoing += data

    def data_to_send(self) -> Data:
        """Returns the next queued bytes and removes them; empty when there are none."""
        return take_next(self._outgoing) if self._outgoing else b""

    def wake(self) -> None:
        """Sends NOOP to a worker that sleeps."""
        if self.asleep:
            self.asleep = False
            self.send_bytes(_NOOP)


class Broker:
    """The jobs and the connections of a job server."""

    def __init__(self, prefix: bytes, journal: Journal | None = None) -> None:
        """
        Args:
            prefix: the beginning of every handle, such as `b"H:myhost"`.
            journal: stores background jobs; without one, they are lost when the server ends.
        """
        self.queue = JobQueue(prefix)
        self.connections: dict[ServerConnection, None] = {}
        self.ready: dict[ServerConnection, None] = {}
        """Connections that have something new to send, in order. The driver clears it."""
        self._journal = journal
        for row, name, unique, data, priority, due in journal.jobs() if journal else ():
            job = self.queue.add(self.queue.function(name), unique, data, priority, due)
            job.background, job.row = True, row

    def connect(self, number: int, address: str) -> ServerConnection:
        """Returns a new connection.

        Args:
            number: its number in the answer to the command `workers`.
            address: the address of the peer.
        """
        connection = ServerConnection(number, address, self.ready)
        self.connections[connection] = None
        return connection

    def disconnect(self, connection: ServerConnection) -> None:
        """Forgets a connection that has ended.

        Jobs that only this connection waited for are dropped unless they are running. Jobs that
        it was running return to the queue.
        """
        del self.connections[connection]
        for job in connection.awaited:
            job.submitters = [other for other in job.submitters if other is not connection]
            if not job.wanted and job.worker is None:
                self.queue.finish(job)
        self.withdraw(connection, list(connection.offered))

    def submit(
        self,
        connection: ServerConnection,
        function: Function,
        unique: bytes,
        data: bytes,
        priority: int,
        *,
        background: bool,
        due: float = 0.0,
    ) -> Job | None:
        """Queues a job, or joins it to an equal one.

        Args:
            connection: the connection that submits it.
            function: the function to run.
            unique: the key by which it joins an equal job; empty for none.
            data: the payload.
            priority: HIGH, NORMAL or LOW.
            background: whether nobody waits for the answer.
            due: when to run it, in seconds since the epoch; 0 for at once.

        Returns:
            The job, which may have been queued before; None if the queue is full.
        """
        job = self.queue.find(function.name, unique, data)
        if job is not None:
            due = 0.0  # a job that is queued already keeps its time
        else:
            if function.is_full(priority):
                return None
            job = self.queue.add(function, unique, data, priority, due)
            if not due:
                self._wake(function)
        if not background:
            job.submitters.append(connection)
            connection.awaited.add(job)
        elif not job.background:
            job.background = True
            if self._journal:
                job.row = self._journal.keep(
                    job.function.name, job.unique, job.data, job.priority, due
                )
        return job

    def offer(self, worker: ServerConnection, function: Function, seconds: float) -> None:
        """Registers a function that a worker offers.

        Args:
            worker: the worker.
            function: the function.
            seconds: how long one of its jobs may take on this worker; 0 for no limit.
        """
        worker.offered[function] = seconds
        function.workers[worker] = None
        if self.queue.has_work((function,)):
            worker.wake()

    def withdraw(self, worker: ServerConnection, functions: Iterable[Function]) -> None:
        """Unregisters functions that a worker offers. Its running jobs of them return to the
        queue."""
        for function in functions:
            del worker.offered[function]
            del function.workers[worker]
        for job in [job for job in worker.held.values() if job.function not in worker.offered]:
            del worker.held[job.handle]
            job.retries += 1
            if job.wanted:
                self._queue(job)
            else:
                self.queue.finish(job)

    def take(self, worker: ServerConnection, now: float) -> Job | None:
        """Assigns the next job to a worker.

        Args:
            worker: the worker.
            now: the current time, in seconds since the epoch.

        Returns:
            The job, or None if no job of its functions waits.
        """
        worker.asleep = False
        job = self.queue.take(worker.offered, worker)
        if job is not None:
            worker.held[job.handle] = job
            seconds = worker.offered[job.function]
            if seconds:
                self.queue.set_timer(job, now + seconds)
        return job

    def sleep(self, worker: ServerConnection) -> None:
        """Wakes a worker as soon as a job waits for it, which may be at once."""
        worker.asleep = True
        if self.queue.has_work(worker.offered):
            worker.wake()

    def answer(self, job: Job, type: PacketType, *arguments: bytes) -> None:
        """Ends a job and sends its answer to the connections that wait for it.

        Args:
            job: the job.
            type: the type of the answer: WORK_COMPLETE, WORK_FAIL or WORK_EXCEPTION.
            arguments: the arguments of the answer.
        """
        for submitter in job.submitters:
            if type == PacketType.WORK_EXCEPTION and not submitter.wants_exceptions:
                submitter.send(PacketType.WORK_FAIL, job.handle)
            else:
                submitter.send(type, *arguments)
        self._release(job)
        if job.worker is not None:
            del job.worker.held[job.handle]
        self.queue.finish(job)

    def cancel(self, handle: bytes) -> bool:
        """Fails a job. If it is running, its answer will be ignored, and it will not run again.

        Args:
            handle: the handle of the job.

        Returns:
            Whether there is such a job.
        """
        job = self.queue.jobs.get(handle)
        if job is None:
            return False
        if job.worker is None:
            self.answer(job, PacketType.WORK_FAIL, job.handle)
            return True
        for submitter in job.submitters:
            submitter.send(PacketType.WORK_FAIL, job.handle)
        self._release(job)
        self.queue.separate(job)
        return True

    def drop(self, name: bytes) -> bool:
        """Forgets a function and fails its waiting jobs, unless a worker offers it or runs a job.

        Args:
            name: the name of a known function.

        Returns:
            Whether the function was forgotten.
        """
        function = self.queue.functions[name]
        if function.workers or function.running:
            return False
        for job in [job for job in self.queue.jobs.values() if job.function is function]:
            self.answer(job, PacketType.WORK_FAIL, job.handle)
        del self.queue.functions[name]
        return True

    def pass_time(self, now: float) -> None:
        """Queues the scheduled jobs that are due, and fails the jobs that ran out of time.

        Args:
            now: the current time, in seconds since the epoch. `queue.next_timer()` returns when
                to call this next.
        """
        for job in self.queue.due(now):
            if job.worker is None:
                self._queue(job)
            else:
                self.answer(job, PacketType.WORK_FAIL, job.handle)

    def _queue(self, job: Job) -> None:
        self.queue.put(job)
        self._wake(job.function)

    def _wake(self, function: Function) -> None:
        # All of them: the first may be busy with another job server.
        for worker in function.workers:
            worker.wake()

    def _release(self, job: Job) -> None:
        """Detaches a job from its submitters and from the journal."""
        for submitter in job.submitters:
            submitter.awaited.discard(job)
        job.submitters = []
        job.background = False
        if job.row is not None and self._journal:
            self._journal.forget(job.row)
            job.row = None
