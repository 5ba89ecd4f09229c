"""Who submitted a job, who works on it, and who is told of it.

It knows connections and jobs; `server.py` reads for it what the connections ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gearmanny.protocol.outgoing import Data, take_next
from gearmanny.protocol.packets import RESPONSE, PacketType, pack
from gearmanny.protocol.queue import Function, Job, JobQueue

_NOOP = b"".join(pack(PacketType.NOOP, magic=RESPONSE))


class Journal(Protocol):
    """Keeps background jobs where they survive the job server."""

    def jobs(self) -> Iterable[tuple[int, bytes, bytes, bytes, int, float]]:
        """Returns the jobs that are kept: the number of each, and with what it was kept."""

    def keep(self, function: bytes, unique: bytes, data: bytes, priority: int, due: float) -> int:
        """Keeps a job; returns the number by which to forget it."""

    def forget(self, row: int) -> None:
        """Forgets a job, because it is done."""


class ServerConnection:
    """One connection to the job server: of a client, of a worker, or of both in one."""

    def __init__(self, number: int, address: str, ready: dict[ServerConnection, None]) -> None:
        self.number = number
        self.address = address
        self.client_id = b"-"
        self.wants_exceptions = False
        self.awaited: set[Job] = set()
        """Jobs whose answers go here."""
        self.offered: dict[Function, float] = {}
        """What it works on, and the seconds that a job may take; 0 for as long as it likes."""
        self.held: dict[bytes, Job] = {}
        """Jobs that it works on, by handle."""
        self.asleep = False
        self._ready = ready
        self._outgoing: list[Data] = []

    def send(self, type: PacketType, *arguments: bytes) -> None:
        """Queues a packet."""
        self.send_bytes(*pack(type, *arguments, magic=RESPONSE))

    def send_bytes(self, *data: bytes) -> None:
        """Queues bytes as they are."""
        self._ready[self] = None
        self._outgoing += data

    def data_to_send(self) -> Data:
        """Returns the next of the queued bytes, each once; empty when all are sent."""
        return take_next(self._outgoing) if self._outgoing else b""

    def wake(self) -> None:
        """Calls a worker that sleeps."""
        if self.asleep:
            self.asleep = False
            self.send_bytes(_NOOP)


class Broker:
    """The jobs and the connections of a job server."""

    def __init__(self, prefix: bytes, journal: Journal | None = None) -> None:
        """
        Args:
            prefix: what every handle begins with, `b"H:myhost"`.
            journal: keeps background jobs; without one, they end with the server.
        """
        self.queue = JobQueue(prefix)
        self.connections: dict[ServerConnection, None] = {}
        self.ready: dict[ServerConnection, None] = {}
        """Connections that have something new to send, in order. Whoever sends it empties this."""
        self._journal = journal
        for row, name, unique, data, priority, due in journal.jobs() if journal else ():
            job = self.queue.add(self.queue.function(name), unique, data, priority, due)
            job.background, job.row = True, row

    def connect(self, number: int, address: str) -> ServerConnection:
        """Returns a new connection.

        Args:
            number: by which `workers` lists it.
            address: where it comes from.
        """
        connection = ServerConnection(number, address, self.ready)
        self.connections[connection] = None
        return connection

    def disconnect(self, connection: ServerConnection) -> None:
        """Forgets a connection. Jobs that only it waited for are dropped, unless they run; those
        that it held are given to other workers."""
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
        """Returns the job, which may be one that is there already; None where the queue is full.

        Args:
            connection: who submits it.
            function: what is to be done.
            unique: key by which it joins an equal job; empty for none.
            data: what it is to be done with.
            priority: HIGH, NORMAL or LOW.
            background: whether nobody waits for the answer.
            due: when it is to be done, seconds since the epoch; 0 for at once.
        """
        job = self.queue.find(function.name, unique, data)
        if job is not None:
            due = 0.0  # a job that there is already keeps its time
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
        """Lets a worker have the jobs of a function, each for so many seconds; 0 for any time."""
        worker.offered[function] = seconds
        function.workers[worker] = None
        if self.queue.has_work((function,)):
            worker.wake()

    def withdraw(self, worker: ServerConnection, functions: Iterable[Function]) -> None:
        """Takes functions from a worker. Those of its jobs that it holds are for others now."""
        for function in functions:
            if worker.offered.pop(function, None) is not None:
                del function.workers[worker]
        for job in [job for job in worker.held.values() if job.function not in worker.offered]:
            del worker.held[job.handle]
            job.retries += 1
            if job.wanted:
                self._queue(job)
            else:
                self.queue.finish(job)

    def take(self, worker: ServerConnection, now: float) -> Job | None:
        """Returns the next job for a worker, or None."""
        worker.asleep = False
        job = self.queue.take(worker.offered, worker)
        if job is not None:
            worker.held[job.handle] = job
            seconds = worker.offered[job.function]
            if seconds:
                self.queue.set_timer(job, now + seconds)
        return job

    def sleep(self, worker: ServerConnection) -> None:
        """Calls a worker as soon as there is something to take, which may be at once."""
        worker.asleep = True
        if self.queue.has_work(worker.offered):
            worker.wake()

    def answer(self, job: Job, type: PacketType, *arguments: bytes) -> None:
        """Ends a job, and tells those who wait for it."""
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
        """Fails a job. Of one that runs, the answer is ignored from now on, and it is not run
        again. Returns whether there is such a job."""
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
        """Forgets a function, and fails its jobs that wait. Returns whether that can be: not
        while a worker offers it, or works on it."""
        function = self.queue.functions[name]
        if function.workers or function.running:
            return False
        for job in [job for job in self.queue.jobs.values() if job.function is function]:
            self.answer(job, PacketType.WORK_FAIL, job.handle)
        del self.queue.functions[name]
        return True

    def pass_time(self, now: float) -> None:
        """Does what is due by now, seconds since the epoch: scheduled jobs are queued, jobs that
        ran out of time fail. `queue.next_timer()` says when to call it."""
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
        """Nobody waits for the job any longer, nor need it survive."""
        for submitter in job.submitters:
            submitter.awaited.discard(job)
        job.submitters = []
        job.background = False
        if job.row is not None and self._journal:
            self._journal.forget(job.row)
            job.row = None
