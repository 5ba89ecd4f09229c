"""The jobs of a job server: where they wait, which is next, and which are equal.

A job waits in the queue of its function, runs, or waits for its time::

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
"""The unique key that stands for the data of a job."""

_LONGEST_FUNCTION = 8 * 1024
"""Bytes of the name of a function: gearmand 1.1.20 takes no more."""

_JOB_BYTES, _FUNCTION_BYTES = 1000, 600
"""What each takes in memory besides the bytes that were sent."""

Key = tuple[bytes, bytes, bytes]


class Party(Protocol):
    """One side of a job: a connection that submitted it, or works on it."""

    wants_exceptions: bool
    awaited: set[Job]
    held: dict[bytes, Job]

    def send_bytes(self, *data: bytes, times: int = 1) -> None:
        """Queues bytes as they are, as often as told."""

    def wake(self) -> None:
        """Calls a worker that sleeps."""


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
        """By which equal jobs find it; None when it never coalesces, or no longer."""
        self.number = 0
        """Its place in the queue: the lower, the sooner."""
        self.background = False
        self.row: int | None = None
        """Where the journal keeps it."""
        self.submitters: dict[Party, int] = {}
        """Who waits for its answer, and how often each has submitted the job."""
        self.worker: Party | None = None
        self.retries = 0
        """Workers that left while they held it."""
        self.done = self.total = b"0"
        self.timer: Timer[Job] | None = None
        """When its time comes, or has run out."""

    @property
    def size(self) -> int:
        """The bytes that it takes in memory."""
        return _JOB_BYTES + len(self.data)

    @property
    def wanted(self) -> bool:
        """Whether anybody cares for its answer, or for its being done."""
        return self.background or bool(self.submitters)


class Function:
    """A name that jobs are submitted for and that workers offer."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        # Not deques: a job in the middle is taken out when it is cancelled.
        self.waiting: tuple[OrderedDict[int, Job], ...] = tuple(OrderedDict() for _ in range(3))
        self.total = 0
        """Jobs that wait, run, or are scheduled."""
        self.running = 0
        self.workers: dict[Party, None] = {}
        """Who offers it, longest first."""
        self.limits: tuple[int, ...] = NO_LIMIT
        """Jobs above which those of each priority are refused; 0 for none."""

    def is_full(self, priority: int) -> bool:
        """Returns whether another job of this priority is one too many."""
        return 0 < self.limits[priority] <= self.total


class JobQueue:
    """All functions and their jobs."""

    def __init__(self, prefix: bytes, room: Room) -> None:
        """
        Args:
            prefix: what every handle begins with.
            room: the memory for jobs and for names of functions.
        """
        self.functions: dict[bytes, Function] = {}
        self.jobs: dict[bytes, Job] = {}
        """By handle."""
        self._equals: dict[Key, Job] = {}
        self._uniques: dict[bytes, dict[Job, None]] = {}
        """Those of them that a unique key alone finds, in the order in which they came."""
        self._prefix = prefix
        self._submitted = 0
        self._places = 0
        self._room = room
        self.scheduled: Timers[Job] = Timers()
        """When jobs are to begin. Seconds since the epoch."""
        self.limits: Timers[Job] = Timers()
        """When jobs that run have run out of their time. Seconds of a clock that nobody sets."""

    def function(self, name: bytes) -> Function:
        """Returns a function; a new one comes into being.

        Raises:
            Refusal: its name is too long, or there is no room for it.
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
        """Returns the job that one like this joins. One without a unique key joins none."""
        key = _key(function, unique, data)
        return self._equals.get(key) if key else None

    def find_unique(self, unique: bytes) -> Job | None:
        """Returns a job with this unique key, of whichever function."""
        return next(iter(self._uniques.get(unique, ())), None)

    def add(
        self, function: Function, unique: bytes, data: bytes, priority: int, due: float = 0.0
    ) -> Job:
        """Returns a new job. It waits for its time, or in the queue when `due` is 0.

        Raises:
            Refusal: there is no room for it.
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
        """Puts a job at the end of its queue: a new one, one that is due, or one given back."""
        if job.worker is not None:
            job.worker = None
            job.function.running -= 1
            job.done = job.total = b"0"
        self.clear_timer(job)
        self._places += 1
        job.number = self._places
        job.function.waiting[job.priority][job.number] = job

    def take(self, functions: Iterable[Function], worker: Party) -> Job | None:
        """Gives a worker the next job of the functions that it offers: that of the highest
        priority, and among those the one that has waited longest. No function starves another."""
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
        """Returns whether one of these functions has a job that waits."""
        return any(
            function.total > function.running and any(function.waiting) for function in functions
        )

    def finish(self, job: Job) -> None:
        """Forgets a job, wherever it is."""
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
        """Lets no more jobs join this one."""
        if job.key is not None:
            del self._equals[job.key]
            job.key = None
            equals = self._uniques.get(job.unique)
            if equals:
                del equals[job]
                if not equals:
                    del self._uniques[job.unique]

    def clear_timer(self, job: Job) -> None:
        """Takes the timer of a job back, if it has one."""
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None


def _key(function: bytes, unique: bytes, data: bytes) -> Key | None:
    if unique == _THE_DATA:
        return (function, unique, data) if data else None
    return (function, unique, b"") if unique else None
