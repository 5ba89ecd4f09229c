"""The client side of a connection: bytes in, events out.

Replies do not say which submission or question they answer: they arrive in the
order of the requests, so the machine keeps a queue of these. All later packets
carry the handle of the job.

One handle may belong to several submissions, because gearmand coalesces equal
unique keys. It then sends every packet once *per submission*, also to a
connection that submitted twice. The copies go to the submissions in turn, so
that each of them gets every event once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from gearmanny.errors import ProtocolError
from gearmanny.payload.names import check_packed_name, check_unique
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.outgoing import Data, take_next
from gearmanny.protocol.packets import PacketType, pack
from gearmanny.protocol.parser import PacketParser


class Created(NamedTuple):
    """The job server accepted the job."""

    handle: bytes


class Rejected(NamedTuple):
    """The job server refused the request. Final."""

    code: bytes
    text: bytes


class Completed(NamedTuple):
    """The worker returned a result. Final."""

    data: bytes


class Failed(NamedTuple):
    """The job failed; an earlier `Warned` may give the reason. Final."""


class Excepted(NamedTuple):
    """The job failed, and the worker sent its exception. Final."""

    data: bytes


class DataSent(NamedTuple):
    """The worker sent a part of its result."""

    data: bytes


class Warned(NamedTuple):
    """The worker sent a warning."""

    data: bytes


class Progressed(NamedTuple):
    """The worker reported its progress."""

    done: bytes
    total: bytes


class StatusReceived(NamedTuple):
    """The job server returned the status of a job. Final."""

    known: bool
    """Whether the job is waiting or running."""
    running: bool
    done: bytes
    total: bytes


Event = (
    Created
    | Rejected
    | Completed
    | Failed
    | Excepted
    | DataSent
    | Warned
    | Progressed
    | StatusReceived
)

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
"""The packet type for each priority, in the foreground (False) and the background (True)."""

PRIORITIES = ("high", "normal", "low")
"""The priorities of a job, highest first."""


class Request(NamedTuple):
    """A job to submit: the arguments of `ClientConnection.submit`."""

    function: bytes
    payload: bytes
    unique: bytes = b""
    background: bool = False
    priority: str = "normal"
    at: int | None = None


class _Background(NamedTuple):
    """An expected reply to a background job, for which `Created` is the last event."""

    job: Hashable


class _Question(NamedTuple):
    """An expected reply to a status request."""

    job: Hashable


_OPTION = object()
"""The expected reply to the OPTION_REQ that opens every connection."""


class ClientConnection:
    """The client side of a connection to a job server.

    The caller identifies each job by a token, which may be any hashable object and
    is returned with every event of that job.
    """

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        """
        Args:
            max_packet: the longest packet to keep, in bytes. `Oversized` replaces the payload of
                a longer one.
        """
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
        """Queues a job to be submitted.

        Args:
            job: the token of the job.
            function: name of the Gearman function, at most 512 bytes and without NULs.
            payload: the encoded arguments.
            unique: key by which the job server coalesces equal jobs in flight; at most 63 bytes
                and without NULs. A background job needs one: in a persistent queue, jobs without
                a key overwrite one another.
            background: whether nobody waits for an answer. `Created` is then the last event.
            priority: one of `PRIORITIES`.
            at: when to run the job, in seconds since the epoch. Only for background jobs of
                normal priority.

        Raises:
            InvalidTask: the name is too long or contains a NUL. Nothing was queued.
            InvalidOption: the key is too long or contains a NUL. Nothing was queued.
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
        """Queues a request for the status of a job. The answer is the event `StatusReceived`.

        Args:
            question: the token of the answer.
            handle: the handle of the job.
        """
        self._outgoing += pack(PacketType.GET_STATUS, handle)
        self._awaiting.append(_Question(question))

    def ask_status_of_unique(self, question: Hashable, unique: bytes) -> None:
        """Queues a request for the status of a job. The answer is the event `StatusReceived`.

        Args:
            question: the token of the answer.
            unique: the unique id of the job, which unlike its handle survives a restart of the
                job server.

        Raises:
            InvalidOption: the id is too long or contains a NUL. Nothing was queued.
        """
        check_unique(unique)
        self._outgoing += pack(PacketType.GET_STATUS_UNIQUE, unique)
        self._awaiting.append(_Question(question))

    def data_to_send(self) -> Data:
        """Returns the next queued bytes and removes them; empty when there are none."""
        return take_next(self._outgoing) if self._outgoing else b""

    def receive(self, data: Data) -> Iterator[tuple[Hashable, Event]]:
        """Processes received bytes.

        Packets for unknown handles, and for jobs that are over, are ignored. A job is over when
        the iterator goes on after its final event: whoever is interrupted before that still finds
        it among those that `unanswered` returns.

        Args:
            data: the bytes.

        Yields:
            The token and the event of each packet, in order. Exhaust the iterator.

        Raises:
            ProtocolError: the bytes are not the answers of a job server. All events before them
                have been yielded. Close the connection.
        """
        for type_, arguments in self._parser.feed(data):
            if type_ in _FINAL:
                # gearmand 1.1.20 sends the handle of a WORK_FAIL with a trailing NUL.
                handle = arguments[0].rstrip(b"\0")
                jobs = self._running.get(handle)
                if jobs:
                    yield jobs[0], _FINAL[type_](*arguments[1:])
                    del jobs[0]
                    if not jobs:
                        del self._running[handle]
            elif type_ == PacketType.JOB_CREATED:
                job = self._asked_for(type_)
                if isinstance(job, _Background):
                    job = job.job
                else:
                    self._running.setdefault(arguments[0], []).append(job)
                yield job, Created(arguments[0])
                self._awaiting.popleft()
            elif type_ in _UPDATE:
                jobs = self._running.get(arguments[0])
                if jobs:
                    yield jobs[0], _UPDATE[type_](*arguments[1:])
                    if len(jobs) > 1:
                        jobs[:] = [*jobs[1:], jobs[0]]
            elif type_ in _STATUS:
                _, known, running, done, total = arguments[:5]
                yield (
                    _unwrap(self._asked_for(type_)),
                    StatusReceived(known == b"1", running == b"1", done, total),
                )
                self._awaiting.popleft()
            elif type_ in (PacketType.OPTION_RES, PacketType.ERROR):
                job = self._asked_for(type_)
                if job is not _OPTION:
                    yield _unwrap(job), Rejected(*arguments)
                self._awaiting.popleft()
            else:
                raise ProtocolError(f"{PacketType(type_).name} is for workers, not for clients")

    def unanswered(self) -> list[Hashable]:
        """Returns the tokens of the jobs and questions that have no final event yet."""
        jobs = [_unwrap(job) for job in self._awaiting if job is not _OPTION]
        jobs += [job for waiting in self._running.values() for job in waiting]
        return list(dict.fromkeys(jobs))

    def abandon(self) -> None:
        """Forgets all jobs and questions, because the connection ended."""
        self._awaiting.clear()
        self._running.clear()

    def _asked_for(self, type: int) -> Hashable:
        if not self._awaiting:
            raise ProtocolError("the job server sent a reply without a request")
        asked = self._awaiting[0]
        if type == PacketType.JOB_CREATED:
            fits = asked is not _OPTION and not isinstance(asked, _Question)
        elif type == PacketType.OPTION_RES:
            fits = asked is _OPTION
        else:
            fits = type == PacketType.ERROR or isinstance(asked, _Question)
        if not fits:
            raise ProtocolError("the job server sent a reply that does not match the request")
        return asked


def _unwrap(job: Hashable) -> Hashable:
    return job.job if isinstance(job, (_Background, _Question)) else job
