"""What the client side of one connection knows: bytes in, events out.

Replies to submissions carry nothing that says which submission they answer:
they come strictly in the order of the submissions, so the machine keeps a
queue of them. Everything later carries the job's handle.

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
from gearmanny.limits import MAX_PACKET
from gearmanny.names import check_packed_name, check_unique
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


Event = Created | Rejected | Completed | Failed | Excepted | DataSent | Warned | Progressed

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


class _Background(NamedTuple):
    """Stands in the queue of replies for a job that is over for us once it is created."""

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
        self._outgoing = [*pack(PacketType.OPTION_REQ, b"exceptions")]

    def submit(
        self,
        job: Hashable,
        function: bytes,
        payload: bytes,
        unique: bytes = b"",
        *,
        background: bool = False,
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

        Raises:
            InvalidTask: no function can have that name. Nothing was queued.
            InvalidOption: no job can have that unique key. Nothing was queued.
        """
        check_packed_name(function)
        check_unique(unique)
        kind = PacketType.SUBMIT_JOB_BG if background else PacketType.SUBMIT_JOB
        self._outgoing += pack(kind, function, unique, payload)
        self._awaiting.append(_Background(job) if background else job)

    def data_to_send(self) -> bytes:
        """Returns the queued bytes, once."""
        if not self._outgoing:
            return b""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def receive(self, data: bytes) -> Iterator[tuple[Hashable, Event]]:
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
        asked_option = self._awaiting[0] is _OPTION
        if type != PacketType.ERROR and asked_option != (type == PacketType.OPTION_RES):
            raise ProtocolError("the job server answers something else than was asked")
        return self._awaiting.popleft()


def _unwrap(job: Hashable) -> Hashable:
    return job.job if isinstance(job, _Background) else job
