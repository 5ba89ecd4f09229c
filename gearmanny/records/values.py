"""The values that go into a store of records and come out of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from gearmanny.records.states import Event, State

Payload = str | bytes
"""Arguments or a result as they travel: the text of JSON, or the bytes of a raw worker."""


class NewJob(NamedTuple):
    """A job that is to be recorded."""

    function: str
    """The Gearman function."""
    arguments: Payload = ""
    """As they travel."""
    id: str = ""
    """The id of its record; the store makes one when it is empty."""
    delay: float = 0.0
    """Seconds from now until it may run, by the clock of the database."""
    at: datetime | None = None
    """The time from which it may run, with a time zone; it replaces `delay`."""
    unique: str | None = None
    """Its key: of the jobs of a function with the same key, at most one is queued or running."""
    unique_waiting: str | None = None
    """Its other key: of the jobs of a function with the same one, at most one is queued."""
    priority: int = 0
    """1 for high, 0 for normal, -1 for low."""
    trace: str = ""
    """The W3C `traceparent` of its caller: the unique id, which carries it otherwise, is taken."""
    handed_over: bool = True
    """Whether the caller hands it over to a job server itself, after COMMIT, with the number 1.
    Otherwise, and when it is not due yet, the dispatcher does."""
    headers: str = ""
    """Those of its caller, as `gearmanny.payload.headers` writes them."""


class Submitted(NamedTuple):
    """The answer to a `NewJob`."""

    id: str
    """The id of its record, or of the record that has its key already."""
    is_new: bool
    """Whether a record was made."""
    is_handed_over: bool
    """Whether the caller has to hand it over, with the number 1."""
    function: str = ""
    """That of the job."""
    priority: int = 0
    """That of the job."""


class Claim(NamedTuple):
    """The right to finish a job. It is lost when somebody else takes the job."""

    id: str
    """The id of the record."""
    token: int
    """A random number of 63 bits."""


class Claimed(NamedTuple):
    """A job that now belongs to the process that claimed it."""

    claim: Claim
    function: str
    arguments: Payload
    attempt: int
    """The number of times that it was claimed or taken over, this one included."""
    failures: int
    """The number of times that the task failed before."""
    deaths: int
    """The number of processes that died of it, or with it, before."""
    created: datetime
    trace: str
    headers: str = ""


class Refusal(StrEnum):
    """The reason why a job cannot be claimed."""

    UNKNOWN = "unknown"
    """There is no record with this id and function."""
    OVER = "over"
    """It is finished or cancelled."""
    OUTDATED = "outdated"
    """It was handed over again, with a higher number, or taken over by another process."""
    EARLY = "early"
    """It is not due yet."""
    RUNNING = "running"
    """Another process has it."""
    LIMITED = "limited"
    """Its limit is reached: it waits in the database until a dispatcher releases it."""
    SOON = "soon"
    """It may begin within a moment, by its rate. Claim it again."""
    UNREGISTERED = "unregistered"
    """The process that claims it has no row: it left, or was taken for dead."""


class Refused(NamedTuple):
    """A job that could not be claimed."""

    reason: Refusal
    owner: str | None = None
    """The id of the process that has it, if it is running."""
    claim: Claim | None = None
    """The claim of that process, for `take_over` when the process is dead."""


class Settled(StrEnum):
    """The fate of a transaction whose COMMIT was not answered."""

    COMMITTED = "committed"
    """The job is finished, by this claim."""
    LOST = "lost"
    """Nothing was written, and the job still belongs to this claim: run it again."""
    TAKEN = "taken"
    """The job belongs to somebody else, or to nobody."""


class HandedOver(NamedTuple):
    """A job that is handed over to a job server."""

    id: str
    function: str
    number: int
    """The number of this hand-over."""
    priority: int
    trace: str


class HandedAgain(NamedTuple):
    """The fate of jobs that job servers had lost. Those that somebody has claimed, or handed over
    in the meantime, are in neither list."""

    handed: list[HandedOver]
    """Their next hand-overs."""
    failed: list[HandedOver]
    """Those that were handed over too often, as they were handed over last."""


class Returned(NamedTuple):
    """A running job that was taken from its owner."""

    id: str
    function: str
    event: Event
    """How it went: back to the queue, or to its end."""

    @property
    def is_poisoned(self) -> bool:
        """Whether it failed because too many processes had died of it."""
        return self.event is Event.POISONED


class Process(NamedTuple):
    """A process that runs recorded jobs."""

    id: str
    host: str
    pid: int
    pool: str
    """The name of the group of processes that it belongs to."""
    runner: str
    """The id that the processes of one runner share."""
    functions: str
    """The tasks that it offers: the text of a JSON object, as `<name>_help` returns it."""
    client_id: str
    """The name by which it is known to job servers."""
    started: datetime
    beat: datetime
    """The time of its last sign of life. Only leases are prolonged by it."""


class Snapshot(NamedTuple):
    """A record at the moment when it was read."""

    id: str
    function: str
    state: State
    arguments: Payload
    result: Payload | None
    """None unless it has succeeded."""
    error: str | None
    """The last failure, as JSON (`gearmanny.payload.failures`)."""
    errors: Sequence[str]
    """Every attempt that did not succeed: JSON objects with `started`, `ended`, `process`,
    `event` and `error`."""
    attempts: int
    failures: int
    deaths: int
    number: int
    """The number of the last hand-over; 0 before the first."""
    progress: tuple[int, int] | None
    """Numerator and denominator."""
    process: str | None
    """The id of the process that runs it, or ran it last."""
    cancelling: bool
    """Whether it runs, and is to be cancelled."""
    priority: int
    unique: str | None
    unique_waiting: str | None
    created: datetime
    due: datetime
    started: datetime | None
    finished: datetime | None
    headers: str = ""
    metadata: str | None = None
    """What the task has noted of it: the text of JSON."""


class Count(NamedTuple):
    """The open and the failed jobs of a function."""

    function: str
    waiting: int
    """Queued and due."""
    scheduled: int
    """Queued, and due later."""
    running: int
    failed: int
    oldest: float
    """Seconds for which the oldest of those that wait has been due."""


class Change(NamedTuple):
    """A message that something changed in the store."""

    subject: str
    """`"due"`, `"room"` within a limit, `"cancel"`, `"done"`, `"progress"`, `"started"`,
    `"returned"`, or `"anything"` where the database does not say, and after messages may have been
    lost."""
    id: str = ""
    """The id of the record, if it is about one; the name of the limit in which there is room."""


class Changes(Protocol):
    """A wait for changes. A context manager, for one thread, with a connection of its own."""

    def wait(self, timeout: float) -> list[Change]:
        """Returns the changes since the last call, or since the connection was made, as soon as
        there are any.

        Args:
            timeout: seconds after which it returns an empty list.

        Raises:
            StoreUnavailable: the database cannot be reached. It may be called again.
        """

    def close(self) -> None:
        """Closes the connection."""

    def __enter__(self) -> Changes: ...

    def __exit__(self, *exc_info: object) -> None: ...
