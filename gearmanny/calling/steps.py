"""The steps of calls that a driver carries out.

A driver takes a step, does it in its own way, as threads or an event loop do, and sends the
answer back, or throws the error in. So the rules stand here once, and no step of them needs
I/O to be tested.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Line, Question
from gearmanny.calling.values import Update
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.net.tls import TLS
from gearmanny.protocol.admin import AdminConnection

if TYPE_CHECKING:
    from gearmanny.records.contract import HandOver, Store
    from gearmanny.records.values import NewJob
    from gearmanny.records.waiting import Listener

R = TypeVar("R")


class Wait(NamedTuple):
    """Waits for something of a call. The answer: whether it came before the deadline."""

    call: Call[Any]
    ready: Callable[[], bool]
    deadline: Deadline


class Look(NamedTuple):
    """Takes in what has arrived for a call, without waiting for it."""

    call: Call[Any]


class Pause(NamedTuple):
    """Lets time pass."""

    seconds: float


class Reach(NamedTuple):
    """Connects to the first of some hosts that is up. The answer: the connection."""

    hosts: list[Host]
    deadline: Deadline
    """When to give up, if that comes before the connect timeout."""


class Send(NamedTuple):
    """Sends a job over a connection. The answer: False when that has ended meanwhile."""

    call: Call[Any]
    line: Line
    deadline: Deadline


class Ask(NamedTuple):
    """Asks for a job, over the connection of the question. The answer: whether that is answered
    before the deadline."""

    question: Question[Any]
    job: bytes
    """A handle, or a unique id."""
    by_unique: bool
    deadline: Deadline


class Command(NamedTuple):
    """Sends a text command over a connection of its own. The answer: what `receive` returns."""

    host: Host
    tls: TLS | None
    command: str
    receive: Callable[[AdminConnection, bytes], Any]
    timeout: float | None
    """Seconds that it may take, connecting included; None for as long as it takes."""


class Avoid(NamedTuple):
    """Lets calls go to other hosts for a while, as far as there are others."""

    host: Host


class Tell(NamedTuple):
    """Calls the `on_update` of a call with an update."""

    on_update: Callable[[Update], object]
    update: Update


class Record(NamedTuple):
    """Records jobs, and hands them over once they are committed. The answer: what became of each,
    as `Store.record` returns it."""

    store: Store
    jobs: list[NewJob]
    hand_over: HandOver


class Consult(NamedTuple):
    """Does something with a store, which may block. The answer: what `ask` returns."""

    store: Store
    ask: Callable[[], Any]


class Listen(NamedTuple):
    """Begins to listen for changes of a record. The answer: a bell that rings with each, or with
    the end of the job alone."""

    listener: Listener
    record: str
    is_for_the_end: bool


class Heed(NamedTuple):
    """Waits until a bell rings. The answer: whether it did before the deadline."""

    bell: Any
    deadline: Deadline
    function: str


class Submit(NamedTuple):
    """Sends jobs together. The answer: their calls."""

    inputs: list[Any]


class Give(NamedTuple):
    """Yields an item to who iterates."""

    item: Any


RecordStep = Pause | Record | Consult | Listen | Heed
"""The steps that need no job server."""

Step = Wait | Look | Reach | Send | Ask | Command | Avoid | Tell | Submit | Give | RecordStep

Steps = Generator[Step, Any, R]
"""Steps that lead to a result."""
