"""What the client side of one connection knows: bytes in, events out.

Replies carry nothing that says which submission or question they answer: they
come strictly in the order of those, so the machine keeps a queue of them.
Everything later carries the job's handle.

One handle may serve several submissions, because gearmand coalesces equal
unique keys; it then sends every packet once *per submission*, also to a
connection that submitted twice. Each copy is given to the next submission in
turn, so that each of them sees everything once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from gearmanny.errors import ProtocolError
from gearmanny.payload.names import check_packed_name, check_unique
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.outgoing import Data, take_next
from gearmanny.protocol.packets import PacketParser, PacketType, pack


class Created(NamedTuple):
    """The job server accepted the job."""

    handle: bytes


class Rejected(NamedTuple):
    """The job server refused the submission. Final."""

    code: bytes
    text: bytes


class Completed(NamedTuple):
    """The worker returned a result. Final."""

    data: bytes


class Failed(NamedTuple):
    """The worker failed; a Warned before it may say why. Final."""


class Excepted(NamedTuple):
    """The worker failed and sends its exception. Final."""

    data: bytes


class DataSent(NamedTuple):
    """The worker sent a part of its result ahead."""

    data: bytes


class Warned(NamedTuple):
    """The worker sent a warning."""

    data: bytes


class Progressed(NamedTuple):
    """The worker told how far it is."""

    done: bytes
    total: bytes


class Told(NamedTuple):
    """The job server answered a question for the state of a job. Final."""

    known: bool
    """Whether the job waits or runs."""
    running: bool
    done: bytes
    total: bytes


Event = Created | Rejected | Completed | Failed | Excepted | DataSent | Warned | Progressed | Told

_FINAL: dict[int, type[Completed | Failed | Excepted]] = {
    PacketType.WORK_COMPLETE: Completed,
    PacketType.WORK_FAIL: Failed,
    PacketType.WORK_EXCEPTION: Excepted,
}
_UPDATE: dict[int, type[DataSent | Warned | Progressed]] = {
    PacketType.WORK_DATA: DataSent,
    PacketType.WORK_WARNING: Warned,
    PacketType.WORK_STATUS: Progressed,
}


_STATUS = (PacketType.STATUS_RES, PacketType.STATUS_RES_UNIQUE)

_SUBMIT: dict[tuple[str, bool], PacketType] = {
    ("high", False): PacketType.SUBMIT_JOB_HIGH,
    ("normal", False): PacketType.SUBMIT_JOB,
    ("low", False): PacketType.SUBMIT_JOB_LOW,
    ("high", True): PacketType.SUBMIT_JOB_HIGH_BG,
    ("normal", True): PacketType.SUBMIT_JOB_BG,
    ("low", True): PacketType.SUBMIT_JOB_LOW_BG,
}
"""By priority, and by whether nobody waits for the answer."""

PRIORITIES = ("high", "normal", "low")
"""Which jobs of a function are given out first."""


class Request(NamedTuple):
    """What a job server is asked to do: the arguments of `ClientConnection.submit`."""

    function: bytes
    payload: bytes
    unique: bytes = b""
    background: bool = False
    priority: str = "normal"
    at: int | None = None


class _Background(NamedTuple):
    """Stands in the queue of replies for a job that is over for us once it is created."""

    job: Hashable


class _Question(NamedTuple):
    """Stands in the queue of replies for a question for the state of a job."""

    job: Hashable


_OPTION = object()
"""Stands in the queue of replies for the OPTION_REQ that opens every connection."""


class ClientConnection:
    """The client side of one connection to a job server.

    A job is named by a token of the caller's (anything hashable), which comes
    back with every event of that job.
    """

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        """Args: max_packet: bytes of the longest packet to keep: of a payload in a longer one,
        `Oversized` stands in its place."""
        self._parser = PacketParser(max_packet)
        self._awaiting: deque[Hashable] = deque([_OPTION])
        self._running: dict[bytes, list[Hashable]] = {}
        # Without this option a worker's WORK_EXCEPTION reaches us as a WORK_FAIL without text.
        self._outgoing: list[Data] = [*pack(PacketType.OPTION_REQ, b"exceptions")]

    def submit(
        self,
        job: Hashable,
        function: bytes,
        payload: bytes,
        unique: bytes = b"",
        background: bool = False,
        priority: str = "normal",
        at: int | None = None,
    ) -> None:
        """Queues one job for sending.

        Args:
            job: the token that the job's events will carry.
            function: name of the Gearman function, at most 512 bytes and without NULs.
            payload: the encoded arguments.
            unique: key by which the job server coalesces equal jobs in flight;
                at most 63 bytes and without NULs. A background job
                needs one: those without overwrite one another in a persistent queue.
            background: whether nobody waits for an answer. `Created` is then the last event.
            priority: one of `PRIORITIES`.
            at: seconds since 1970 before which a background job of normal priority is kept back.

        Raises:
            InvalidTask: no function can have that name. Nothing was queued.
            InvalidOption: no job can have that unique key. Nothing was queued.
        """
        check_packed_name(function)
        check_unique(unique)
        if at is not None:
            self._outgoing += pack(
                PacketType.SUBMIT_JOB_EPOCH, function, unique, b"%d" % at, payload
            )
        else:
            self._outgoing += pack(_SUBMIT[priority, background], function, unique, payload)
        self._awaiting.append(_Background(job) if background else job)

    def ask_status(self, question: Hashable, handle: bytes) -> None:
        """Queues a question for the state of a job: `Told` is the event of its answer.

        Args:
            question: the token that the answer will carry.
            handle: of the job.
        """
        self._outgoing += pack(PacketType.GET_STATUS, handle)
        self._awaiting.append(_Question(question))

    def ask_status_of_unique(self, question: Hashable, unique: bytes) -> None:
        """Queues a question for the state of a job, as `ask_status` does.

        Args:
            question: the token that the answer will carry.
            unique: the unique id of the job, which outlives a restart of the job server.

        Raises:
            InvalidOption: no job can have that unique id. Nothing was queued.
        """
        check_unique(unique)
        self._outgoing += pack(PacketType.GET_STATUS_UNIQUE, unique)
        self._awaiting.append(_Question(question))

    def data_to_send(self) -> Data:
        """Returns the next of the queued bytes, each once; empty when all are sent."""
        return take_next(self._outgoing) if self._outgoing else b""

    def receive(self, data: Data) -> Iterator[tuple[Hashable, Event]]:
        """Takes the bytes that arrived; yields the jobs that they tell of, and what, in order.

        What came before wrong bytes is told before they raise: consume it to its end.
        Packets for handles that we do not know, or know no longer, are ignored.

        Raises:
            ProtocolError: on bytes that no job server sends. Close the connection.
        """
        for type_, arguments in self._parser.feed(data):
            if type_ in _FINAL:
                # gearmand 1.1.20 sends the handle of a WORK_FAIL with a trailing NUL.
                handle = arguments[0].rstrip(b"\0")
                jobs = self._running.get(handle)
                if jobs:
                    job = jobs.pop(0)
                    if not jobs:
                        del self._running[handle]
                    yield job, _FINAL[type_](*arguments[1:])
            elif type_ == PacketType.JOB_CREATED:
                job = self._replied_to(type_)
                if isinstance(job, _Background):
                    job = job.job
                else:
                    self._running.setdefault(arguments[0], []).append(job)
                yield job, Created(arguments[0])
            elif type_ in _UPDATE:
                jobs = self._running.get(arguments[0])
                if jobs:
                    job = jobs[0]
                    if len(jobs) > 1:
                        jobs.append(jobs.pop(0))
                    yield job, _UPDATE[type_](*arguments[1:])
            elif type_ in _STATUS:
                _, known, running, done, total = arguments[:5]
                yield (
                    _unwrap(self._replied_to(type_)),
                    Told(known == b"1", running == b"1", done, total),
                )
            elif type_ in (PacketType.OPTION_RES, PacketType.ERROR):
                job = self._replied_to(type_)
                if job is not _OPTION:
                    yield _unwrap(job), Rejected(*arguments)
            else:
                raise ProtocolError(f"{PacketType(type_).name} is for workers, we are a client")

    def abandon(self) -> list[Hashable]:
        """Forgets all jobs, because the connection ended; returns those without an answer."""
        jobs = [_unwrap(job) for job in self._awaiting if job is not _OPTION]
        jobs += [job for waiting in self._running.values() for job in waiting]
        self._awaiting.clear()
        self._running.clear()
        return jobs

    def _replied_to(self, type: int) -> Hashable:
        if not self._awaiting:
            raise ProtocolError("the job server answers what was not asked")
        asked = self._awaiting[0]
        if type == PacketType.JOB_CREATED:
            fits = asked is not _OPTION and not isinstance(asked, _Question)
        elif type == PacketType.OPTION_RES:
            fits = asked is _OPTION
        else:
            fits = type == PacketType.ERROR or isinstance(asked, _Question)
        if not fits:
            raise ProtocolError("the job server answers something else than was asked")
        return self._awaiting.popleft()


def _unwrap(job: Hashable) -> Hashable:
    return job.job if isinstance(job, (_Background, _Question)) else job
