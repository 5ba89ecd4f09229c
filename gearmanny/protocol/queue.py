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

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Protocol

from gearmanny.protocol.packets import PacketType

HIGH, NORMAL, LOW = range(3)
"""Priorities, in the order in which they are served."""

NO_LIMIT = (0, 0, 0)

_STALE_TIMERS = 64
"""Number of cancelled timers that may stay in the heap before it is rebuilt."""

Key = tuple[bytes, bytes, bytes]


class Party(Protocol):
    """One side of a job: a connection that submitted it, or runs it."""

    wants_exceptions: bool
    awaited: set[Job]
    held: dict[bytes, Job]

    def send(self, type: PacketType, *arguments: bytes) -> None:
        """Queues a packet."""

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
        self.submitters: list[Party] = []
        """The connections that wait for its answer, once for each time they submitted the job."""
        self.worker: Party | None = None
        self.retries = 0
        """Number of workers that disconnected while they were running it."""
        self.done = self.total = b"0"
        self.timer: float | None = None
        """When it is due, or runs out of time, in seconds since the epoch."""

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

    def __init__(self, prefix: bytes) -> None:
        """
        Args:
            prefix: the beginning of every handle.
        """
        self.functions: dict[bytes, Function] = {}
        self.jobs: dict[bytes, Job] = {}
        """All jobs, by handle."""
        self._equals: dict[Key, Job] = {}
        self._prefix = prefix
        self._submitted = 0
        self._places = 0
        self._timers: list[tuple[float, int, Job]] = []
        self._armed = 0

    def function(self, name: bytes) -> Function:
        """Returns the function with a name, and creates it if it is new.

        Args:
            name: the name.
        """
        found = self.functions.get(name)
        if found is None:
            found = self.functions[name] = Function(name)
        return found

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
        found = (self.find(function, unique, b"") for function in self.functions)
        return next(filter(None, found), None)

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
        """
        self._submitted += 1
        handle = b"%s:%d" % (self._prefix, self._submitted)
        job = self.jobs[handle] = Job(handle, function, unique, data, priority)
        key = _key(function.name, unique, data)
        if key and self._equals.setdefault(key, job) is job:
            job.key = key
        function.total += 1
        if due:
            self.set_timer(job, due)
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
        return any(any(function.waiting) for function in functions)

    def finish(self, job: Job) -> None:
        """Removes a job, whatever its state.

        Args:
            job: the job.
        """
        job.data = b""  # a cancelled timer may refer to the job for a while
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

    def set_timer(self, job: Job, when: float) -> None:
        """Sets the timer of a job.

        Args:
            job: the job.
            when: when it is due, or runs out of time, in seconds since the epoch.
        """
        job.timer = when
        self._armed += 1
        self._places += 1
        heapq.heappush(self._timers, (when, self._places, job))
        if len(self._timers) > 2 * self._armed + _STALE_TIMERS:
            self._timers = [entry for entry in self._timers if entry[2].timer == entry[0]]
            heapq.heapify(self._timers)

    def clear_timer(self, job: Job) -> None:
        """Cancels the timer of a job, if it has one.

        Args:
            job: the job.
        """
        if job.timer is not None:
            job.timer = None
            self._armed -= 1

    def next_timer(self) -> float | None:
        """Returns when the next timer fires, in seconds since the epoch; None if there is none."""
        while self._timers and self._timers[0][2].timer != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def due(self, now: float) -> Iterator[Job]:
        """Yields the jobs whose timers have fired, each once.

        Args:
            now: the current time, in seconds since the epoch.
        """
        while (when := self.next_timer()) is not None and when <= now:
            job = heapq.heappop(self._timers)[2]
            self.clear_timer(job)
            yield job


def _key(function: bytes, unique: bytes, data: bytes) -> Key | None:
    """Returns the key by which equal jobs are found. The unique key "-" stands for the payload."""
    if unique == b"-":
        return (function, unique, data) if data else None
    return (function, unique, b"") if unique else None
