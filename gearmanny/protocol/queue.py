"""The jobs of a job server: their queues, their order, their timers, and which of them are equal.

A job waits in the queue of its function, is running, or is scheduled for later::

              add()                take()
        ─┬───────────► waiting ─────────────► running ───► finish()
         │               ▲  ▲                    │
         │ due           │  └────────────────────┘ put(), when its worker left
         ▼               │
     scheduled ──────────┘ put(), when its time has come
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from gearmanny.protocol.room import Refusal, Room
from gearmanny.protocol.timers import Timer, Timers

HIGH, NORMAL, LOW = range(3)
"""Priorities, in the order in which they are served."""

NO_LIMIT = (0, 0, 0)

_THE_DATA = b"-"
"""The unique key that makes the payload of a job its key."""

_LONGEST_FUNCTION = 8 * 1024
"""Bytes of the name of a function: the limit of gearmand 1.1.20."""

_JOB_BYTES, _FUNCTION_BYTES = 1000, 600
"""Estimated memory of a job and of a function, besides the bytes that were received for it."""

Key = tuple[bytes, bytes, bytes]


class Party(Protocol):
    """One side of a job: a connection that submitted it, or runs it."""

    wants_exceptions: bool
    awaited: set[Job]
    held: dict[bytes, Job]

    def send_bytes(self, *data: bytes, times: int = 1) -> None:
        """Queues bytes as they are.

        Args:
            data: the bytes.
            times: how often to queue them.
        """

    def wake(self) -> None:
        """Sends NOOP to a worker that sleeps."""


class Job:
    """A job, from its submission to its last answer."""

    __slots__ = (
        "background", "data", "done", "function", "handle", "key", "number", "priority",
        "retries", "row", "submitters", "timer", "total", "unique", "worker",
    )  # fmt: skip

    def __init__(
        self, handle: bytes, function: Function, unique: bytes, data: bytes, priority: int
    ) -> None:
        self.handle = handle
        self.function = function
        self.unique = unique
        self.data = data
        self.priority = priority
        self.key: Key | None = None
        """The key by which equal jobs join it; None if no job joins it, or none any more."""
        self.number = 0
        """Its place in the queue. The lowest number is served first."""
        self.background = False
        self.row: int | None = None
        """Its row number in the journal."""
        self.submitters: dict[Party, int] = {}
        """The connections that wait for its answer, each with the number of times that it
        submitted the job."""
        self.worker: Party | None = None
        self.retries = 0
        """Number of workers that disconnected while they were running it."""
        self.done = self.total = b"0"
        self.timer: Timer[Job] | None = None
        """Fires when it is due, or runs out of time."""

    @property
    def size(self) -> int:
        """Its estimated memory, in bytes."""
        return _JOB_BYTES + len(self.data)

    @property
    def wanted(self) -> bool:
        """Whether it is a background job, or a connection waits for its answer."""
        return self.background or bool(self.submitters)


class Function:
    """A function: its queues of jobs, and the workers that offer it."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        # Not deques: cancelling a job removes it from the middle.
        self.waiting: tuple[OrderedDict[int, Job], ...] = tuple(OrderedDict() for _ in range(3))
        self.total = 0
        """Number of jobs that wait, run, or are scheduled."""
        self.running = 0
        self.workers: dict[Party, None] = {}
        """The workers that offer it, in the order in which they registered it."""
        self.limits: tuple[int, ...] = NO_LIMIT
        """For each priority, the total of jobs from which a new one is refused; 0 for no limit."""

    def is_full(self, priority: int) -> bool:
        """Returns whether another job of this priority would exceed the limit.

        Args:
            priority: HIGH, NORMAL or LOW.
        """
        return 0 < self.limits[priority] <= self.total


class JobQueue:
    """All functions and their jobs."""

    def __init__(self, prefix: bytes, room: Room) -> None:
        """
        Args:
            prefix: the beginning of every handle.
            room: the memory for jobs and for names of functions.
        """
        self.functions: dict[bytes, Function] = {}
        self.jobs: dict[bytes, Job] = {}
        """All jobs, by handle."""
        self._equals: dict[Key, Job] = {}
        self._uniques: dict[bytes, dict[Job, None]] = {}
        """The jobs that `find_unique` finds, by unique key, oldest first."""
        self._prefix = prefix
        self._submitted = 0
        self._places = 0
        self._room = room
        self.scheduled: Timers[Job] = Timers()
        """When scheduled jobs are due, in seconds since the epoch."""
        self.limits: Timers[Job] = Timers()
        """When running jobs run out of time, in seconds by the monotonic clock."""

    def function(self, name: bytes) -> Function:
        """Returns the function with a name, and creates it if it is new.

        Args:
            name: the name.

        Raises:
            Refusal: the name is too long, or there is no memory for it.
        """
        found = self.functions.get(name)
        if found is None:
            if len(name) > _LONGEST_FUNCTION:
                raise Refusal(b"ARGUMENT_TOO_LARGE", b"Function value too large")
            self._room.take(_FUNCTION_BYTES + len(name))
            found = self.functions[name] = Function(name)
        return found

    def forget(self, function: Function) -> None:
        """Forgets a function that has neither jobs nor workers."""
        del self.functions[function.name]
        self._room.give_back(_FUNCTION_BYTES + len(function.name))

    def find(self, function: bytes, unique: bytes, data: bytes) -> Job | None:
        """Returns the job that an equal one joins; None if there is none, or without a unique key.

        Args:
            function: the name of the function.
            unique: the unique key; `b"-"` makes the payload the key.
            data: the payload.
        """
        key = _key(function, unique, data)
        return self._equals.get(key) if key else None

    def find_unique(self, unique: bytes) -> Job | None:
        """Returns a job of any function with a unique key, or None.

        Args:
            unique: the unique key.
        """
        return next(iter(self._uniques.get(unique, ())), None)

    def add(
        self, function: Function, unique: bytes, data: bytes, priority: int, due: float = 0.0
    ) -> Job:
        """Creates a job, and queues or schedules it.

        Args:
            function: the function.
            unique: the unique key; empty for none.
            data: the payload.
            priority: HIGH, NORMAL or LOW.
            due: when to queue it, in seconds since the epoch; 0 for at once.

        Returns:
            The job.

        Raises:
            Refusal: there is no memory for it.
        """
        self._submitted += 1
        handle = b"%s:%d" % (self._prefix, self._submitted)
        job = Job(handle, function, unique, data, priority)
        self._room.take(job.size)
        self.jobs[handle] = job
        key = _key(function.name, unique, data)
        if key and self._equals.setdefault(key, job) is job:
            job.key = key
            if unique != _THE_DATA:
                self._uniques.setdefault(unique, {})[job] = None
        function.total += 1
        if due:
            job.timer = self.scheduled.set(due, job)
        else:
            self.put(job)
        return job

    def put(self, job: Job) -> None:
        """Appends a job to its queue: a new one, one that is due, or one whose worker left.

        Args:
            job: the job.
        """
        if job.worker is not None:
            job.worker = None
            job.function.running -= 1
            job.done = job.total = b"0"
        self.clear_timer(job)
        self._places += 1
        job.number = self._places
        job.function.waiting[job.priority][job.number] = job

    def take(self, functions: Iterable[Function], worker: Party) -> Job | None:
        """Assigns the next job of some functions to a worker.

        The job with the highest priority comes first, and among those the one that has waited
        longest. No function starves another.

        Args:
            functions: the functions that the worker offers.
            worker: the worker.

        Returns:
            The job, or None if none waits.
        """
        best: Job | None = None
        for function in functions:
            if function.total > function.running:
                for queue in function.waiting:
                    if queue:
                        job = next(iter(queue.values()))
                        if best is None or (job.priority, job.number) < (
                            best.priority,
                            best.number,
                        ):
                            best = job
                        break
        if best is not None:
            del best.function.waiting[best.priority][best.number]
            best.function.running += 1
            best.worker = worker
        return best

    def has_work(self, functions: Iterable[Function]) -> bool:
        """Returns whether a job of one of these functions waits.

        Args:
            functions: the functions.
        """
        return any(
            function.total > function.running and any(function.waiting) for function in functions
        )

    def finish(self, job: Job) -> None:
        """Removes a job, whatever its state.

        Args:
            job: the job.
        """
        self._room.give_back(job.size)
        del self.jobs[job.handle]
        self.separate(job)
        self.clear_timer(job)
        job.function.total -= 1
        if job.worker is not None:
            job.worker = None
            job.function.running -= 1
        else:
            job.function.waiting[job.priority].pop(job.number, None)

    def separate(self, job: Job) -> None:
        """Lets no more jobs join this one.

        Args:
            job: the job.
        """
        if job.key is not None:
            del self._equals[job.key]
            job.key = None
            equals = self._uniques.get(job.unique)
            if equals:
                del equals[job]
                if not equals:
                    del self._uniques[job.unique]

    def clear_timer(self, job: Job) -> None:
        """Cancels the timer of a job, if it has one.

        Args:
            job: the job.
        """
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None


def _key(function: bytes, unique: bytes, data: bytes) -> Key | None:
    """Returns the key by which equal jobs are found."""
    if unique == _THE_DATA:
        return (function, unique, data) if data else None
    return (function, unique, b"") if unique else None
