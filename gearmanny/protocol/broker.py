"""The connections of a job server: which of them submitted a job, run it, and get its answer.

It knows connections and jobs, but no requests: `server.py` parses those.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from gearmanny.protocol.connected import ServerConnection, Unread
from gearmanny.protocol.journal import Journal
from gearmanny.protocol.packets import RESPONSE, PacketType, pack
from gearmanny.protocol.queue import Function, Job, JobQueue
from gearmanny.protocol.room import Refusal, Room

_MOST_OFFERS = 2000
"""Functions that one connection may offer: all are searched whenever it asks for a job."""

_OFFER_BYTES = 300
"""Estimated memory, in bytes, of a function that a connection offers."""


class Broker:
    """The jobs and the connections of a job server."""

    def __init__(self, prefix: bytes, journal: Journal | None, room: Room, unread: Unread) -> None:
        """
        Args:
            prefix: the beginning of every handle, such as `b"H:myhost"`.
            journal: stores background jobs; without one, they are lost when the server ends.
            room: the memory for jobs and for names of functions.
            unread: counts the bytes that connections have not read yet.
        """
        self.queue = JobQueue(prefix, room)
        self.connections: dict[ServerConnection, None] = {}
        self.ready: dict[ServerConnection, None] = {}
        """Connections that have something new to send, in order. The driver clears it."""
        self.unconfirmed: list[tuple[ServerConnection, Job]] = []
        """The background jobs submitted since the last commit of the journal, and the connections
        that submitted them. The driver clears it after a commit."""
        self._journal = journal
        self._room = room
        self._unread = unread
        for row, name, unique, data, priority, due in journal.jobs() if journal else ():
            job = self.queue.add(self.queue.function(name), unique, data, priority, due)
            job.background, job.row = True, row

    def connect(self, number: int, address: str) -> ServerConnection:
        """Returns a new connection.

        Args:
            number: its number in the answer to the command `workers`.
            address: the address of the peer.
        """
        connection = ServerConnection(number, address, self.ready, self._unread)
        self.connections[connection] = None
        return connection

    def disconnect(self, connection: ServerConnection) -> None:
        """Forgets a connection that has ended.

        Jobs that only this connection waited for are dropped unless they are running. Jobs that
        it was running return to the queue.
        """
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
        connection: ServerConnection,
        function: Function,
        unique: bytes,
        data: bytes,
        priority: int,
        *,
        background: bool,
        due: float = 0.0,
    ) -> Job:
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
            The job, which may have been queued before.

        Raises:
            Refusal: the queue is full, or the job cannot be stored.
        """
        job = self.queue.find(function.name, unique, data)
        added = job is None
        if job is not None:
            due = 0.0  # a job that is queued already keeps its time
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

    def lose_rows(self, rows: Set[int]) -> list[ServerConnection]:
        """Handles a failed commit of the journal. The jobs stay in the queue, but not on disk.

        Args:
            rows: the row numbers of the jobs that were not stored.

        Returns:
            The connections that have got, or are about to get, JOB_CREATED for such a job.
        """
        confirmed = {connection: None for connection, job in self.unconfirmed if job.row in rows}
        for _, job in self.unconfirmed:
            if job.row in rows:
                job.row = None
        self.unconfirmed.clear()
        return list(confirmed)

    def offer(self, worker: ServerConnection, function: Function, seconds: float) -> None:
        """Registers a function that a worker offers.

        Args:
            worker: the worker.
            function: the function.
            seconds: how long one of its jobs may take on this worker; 0 for no limit.

        Raises:
            Refusal: the worker offers too many functions, or there is no memory for another one.
        """
        if function not in worker.offered:
            if len(worker.offered) >= _MOST_OFFERS:
                raise Refusal(b"QUEUE_ERROR", b"Too many functions for one connection")
            self._room.take(_OFFER_BYTES)
        worker.offered[function] = seconds
        function.workers[worker] = None
        if self.queue.has_work((function,)):
            worker.wake()

    def withdraw(self, worker: ServerConnection, functions: Iterable[Function]) -> None:
        """Unregisters functions that a worker may offer. Its running jobs of them return to the
        queue."""
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

    def take(self, worker: ServerConnection, clock: float) -> Job | None:
        """Assigns the next job to a worker.

        Args:
            worker: the worker.
            clock: the current time, in seconds by the monotonic clock.

        Returns:
            The job, or None if no job of its functions waits.
        """
        worker.asleep = False
        job = self.queue.take(worker.offered, worker)
        if job is not None:
            worker.held[job.handle] = job
            seconds = worker.offered[job.function]
            if seconds:
                job.timer = self.queue.limits.set(clock + seconds, job)
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
        self.tell(job, type, *arguments)
        self._release(job)
        if job.worker is not None:
            del job.worker.held[job.handle]
        self.queue.finish(job)

    def tell(self, job: Job, type: PacketType, *arguments: bytes) -> None:
        """Sends a packet of the worker to the connections that wait for a job, to each of them once
        for each time that it submitted the job.

        Args:
            job: the job.
            type: the type of the packet.
            arguments: its arguments.
        """
        packet = pack(type, *arguments, magic=RESPONSE)
        for submitter, times in job.submitters.items():
            if type == PacketType.WORK_EXCEPTION and not submitter.wants_exceptions:
                failure = pack(PacketType.WORK_FAIL, job.handle, magic=RESPONSE)
                submitter.send_bytes(*failure, times=times)
            else:
                submitter.send_bytes(*packet, times=times)

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
        self.tell(job, PacketType.WORK_FAIL, job.handle)
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
        if function.total:
            for job in [job for job in self.queue.jobs.values() if job.function is function]:
                self.answer(job, PacketType.WORK_FAIL, job.handle)
        self.queue.forget(function)
        return True

    def pass_time(self, now: float, clock: float) -> None:
        """Queues the scheduled jobs that are due, and fails the jobs that ran out of time.

        Args:
            now: the current time, in seconds since the epoch. `queue.scheduled.next()` returns
                when to call this next.
            clock: the current time, in seconds by the monotonic clock; see `queue.limits.next()`.
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
        """Detaches a job from its submitters and from the journal."""
        for submitter in job.submitters:
            submitter.awaited.discard(job)
        job.submitters.clear()
        job.background = False
        if job.row is not None and self._journal:
            self._journal.forget(job.row)
            job.row = None
