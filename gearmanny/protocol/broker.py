"""Who submitted a job, who works on it, and who is told of it.

It knows connections and jobs; `server.py` reads for it what the connections ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Protocol

from gearmanny.protocol.connected import Connection, Unread
from gearmanny.protocol.packets import RESPONSE, PacketType, pack
from gearmanny.protocol.queue import Function, Job, JobQueue
from gearmanny.protocol.room import Refusal, Room

_MOST_OFFERS = 2000
"""Functions that one connection may offer: all of them are looked at whenever it asks for a job."""

_OFFER_BYTES = 300
"""What it takes to know that a connection offers a function."""


class Journal(Protocol):
    """Keeps background jobs where they survive the job server."""

    def jobs(self) -> Iterable[tuple[int, bytes, bytes, bytes, int, float]]:
        """Returns the jobs that are kept: the number of each, and with what it was kept."""

    def keep(self, function: bytes, unique: bytes, data: bytes, priority: int, due: float) -> int:
        """Keeps a job; returns the number by which to forget it. Raises Refusal when it cannot."""

    def forget(self, row: int) -> None:
        """Forgets a job, because it is done."""


class Broker:
    """The jobs and the connections of a job server."""

    def __init__(self, prefix: bytes, journal: Journal | None, room: Room, unread: Unread) -> None:
        """
        Args:
            prefix: what every handle begins with, `b"H:myhost"`.
            journal: keeps background jobs; without one, they end with the server.
            room: the memory for jobs and for names of functions.
            unread: counts what connections leave unread.
        """
        self.queue = JobQueue(prefix, room)
        self.connections: dict[Connection, None] = {}
        self.ready: dict[Connection, None] = {}
        """Connections that have something new to send, in order. Whoever sends it empties this."""
        self.unconfirmed: list[tuple[Connection, Job]] = []
        """Who was told that a job is kept, and that job, until the journal has committed it.
        Whoever commits it empties this."""
        self._journal = journal
        self._room = room
        self._unread = unread
        for row, name, unique, data, priority, due in journal.jobs() if journal else ():
            job = self.queue.add(self.queue.function(name), unique, data, priority, due)
            job.background, job.row = True, row

    def connect(self, number: int, address: str) -> Connection:
        """Returns a new connection.

        Args:
            number: by which `workers` lists it.
            address: where it comes from.
        """
        connection = Connection(number, address, self.ready, self._unread)
        self.connections[connection] = None
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Forgets a connection. Jobs that only it waited for are dropped, unless they run; those
        that it held are given to other workers."""
        del self.connections[connection]
        for job in connection.awaited:
            job.submitters.pop(connection, None)
            if not job.wanted and job.worker is None:
                self.queue.finish(job)
        self.withdraw(connection, list(connection.offered))
        connection.give_up()
        self.ready.pop(connection, None)

    def submit(
        self,
        connection: Connection,
        function: Function,
        unique: bytes,
        data: bytes,
        priority: int,
        *,
        background: bool,
        due: float = 0.0,
    ) -> Job:
        """Returns the job, which may be one that is there already.

        Args:
            connection: who submits it.
            function: what is to be done.
            unique: key by which it joins an equal job; empty for none.
            data: what it is to be done with.
            priority: HIGH, NORMAL or LOW.
            background: whether nobody waits for the answer.
            due: when it is to be done, seconds since the epoch; 0 for at once.

        Raises:
            Refusal: the queue is full, or the job cannot be kept.
        """
        job = self.queue.find(function.name, unique, data)
        added = job is None
        if job is not None:
            due = 0.0  # a job that there is already keeps its time
        elif function.is_full(priority):
            raise Refusal(b"QUEUE_ERROR", b"Job queue is full")
        else:
            job = self.queue.add(function, unique, data, priority, due)
        if not background:
            job.submitters[connection] = job.submitters.get(connection, 0) + 1
            connection.awaited.add(job)
        elif not job.background:
            self._keep(job, due)
        if self._journal and background:
            self.unconfirmed.append((connection, job))
        if added and not due:
            self._wake(function)
        return job

    def _keep(self, job: Job, due: float) -> None:
        if self._journal:
            try:
                job.row = self._journal.keep(
                    job.function.name, job.unique, job.data, job.priority, due
                )
            except Refusal:
                if not job.wanted:
                    self.queue.finish(job)
                raise
        job.background = True

    def lose_rows(self, rows: Set[int]) -> list[Connection]:
        """Takes notice that the journal has not committed what it was given last.

        Args:
            rows: of the jobs that are not kept. They are done nevertheless, if the server lives.

        Returns:
            Connections that were told, or are about to be told, that such a job is kept.
        """
        told = {connection: None for connection, job in self.unconfirmed if job.row in rows}
        for _, job in self.unconfirmed:
            if job.row in rows:
                job.row = None
        self.unconfirmed.clear()
        return list(told)

    def offer(self, worker: Connection, function: Function, seconds: float) -> None:
        """Lets a worker have the jobs of a function, each for so many seconds; 0 for any time.

        Raises:
            Refusal: there is no room to know of it, or the worker offers too many.
        """
        if function not in worker.offered:
            if len(worker.offered) >= _MOST_OFFERS:
                raise Refusal(b"QUEUE_ERROR", b"Too many functions for one connection")
            self._room.take(_OFFER_BYTES)
        worker.offered[function] = seconds
        function.workers[worker] = None
        if self.queue.has_work((function,)):
            worker.wake()

    def withdraw(self, worker: Connection, functions: Iterable[Function]) -> None:
        """Takes functions from a worker. Those of its jobs that it holds are for others now."""
        running = 0
        for function in functions:
            if worker.offered.pop(function, None) is not None:
                del function.workers[worker]
                self._room.give_back(_OFFER_BYTES)
                running += function.running
        if not running:
            return
        for job in [job for job in worker.held.values() if job.function not in worker.offered]:
            del worker.held[job.handle]
            job.retries += 1
            if job.wanted:
                self._queue(job)
            else:
                self.queue.finish(job)

    def take(self, worker: Connection, clock: float) -> Job | None:
        """Returns the next job for a worker, or None.

        Args:
            worker: who asks.
            clock: seconds of the clock that nobody sets.
        """
        worker.asleep = False
        job = self.queue.take(worker.offered, worker)
        if job is not None:
            worker.held[job.handle] = job
            seconds = worker.offered[job.function]
            if seconds:
                job.timer = self.queue.limits.set(clock + seconds, job)
        return job

    def sleep(self, worker: Connection) -> None:
        """Calls a worker as soon as there is something to take, which may be at once."""
        worker.asleep = True
        if self.queue.has_work(worker.offered):
            worker.wake()

    def answer(self, job: Job, type: PacketType, *arguments: bytes) -> None:
        """Ends a job, and tells those who wait for it."""
        self.tell(job, type, *arguments)
        self._release(job)
        if job.worker is not None:
            del job.worker.held[job.handle]
        self.queue.finish(job)

    def tell(self, job: Job, type: PacketType, *arguments: bytes) -> None:
        """Tells those who wait for a job what its worker sends, each as often as it submitted the
        job."""
        packet = pack(type, *arguments, magic=RESPONSE)
        for submitter, times in job.submitters.items():
            if type == PacketType.WORK_EXCEPTION and not submitter.wants_exceptions:
                failure = pack(PacketType.WORK_FAIL, job.handle, magic=RESPONSE)
                submitter.send_bytes(*failure, times=times)
            else:
                submitter.send_bytes(*packet, times=times)

    def cancel(self, handle: bytes) -> bool:
        """Fails a job. Of one that runs, the answer is ignored from now on, and it is not run
        again. Returns whether there is such a job."""
        job = self.queue.jobs.get(handle)
        if job is None:
            return False
        if job.worker is None:
            self.answer(job, PacketType.WORK_FAIL, job.handle)
            return True
        self.tell(job, PacketType.WORK_FAIL, job.handle)
        self._release(job)
        self.queue.separate(job)
        return True

    def drop(self, name: bytes) -> bool:
        """Forgets a function, and fails its jobs that wait. Returns whether that can be: not
        while a worker offers it, or works on it."""
        function = self.queue.functions[name]
        if function.workers or function.running:
            return False
        if function.total:
            for job in [job for job in self.queue.jobs.values() if job.function is function]:
                self.answer(job, PacketType.WORK_FAIL, job.handle)
        self.queue.forget(function)
        return True

    def pass_time(self, now: float, clock: float) -> None:
        """Does what is due: scheduled jobs are queued, jobs that ran out of time fail.

        Args:
            now: seconds since the epoch.
            clock: seconds of the clock that nobody sets.
        """
        for job in self.queue.scheduled.due(now):
            self._queue(job)
        for job in self.queue.limits.due(clock):
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
        job.submitters.clear()
        job.background = False
        if job.row is not None and self._journal:
            self._journal.forget(job.row)
            job.row = None
