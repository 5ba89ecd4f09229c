"""What the worker side of one connection knows: bytes in, events out.

A worker asks for a job (GRAB_JOB_UNIQ) and is given one or told NO_JOB. Then it
says that it sleeps (PRE_SLEEP); one NOOP wakes it when there is something to
grab. With one job at a time::

                    grab()              JOB_ASSIGN_UNIQ
        awake ───────────────► asking ─────────────────► holding
          ▲                      │                          │
          │ NOOP, wake()         │ NO_JOB: PRE_SLEEP        │ complete(), fail(), raise_()
          │                      ▼                          │
          ├─────────────────── asleep                       │
          └─────────────────────────────────────────────────┘

Several questions may be under way at once, and several jobs held: so these are
counts. After the first NO_JOB nothing more is asked, and PRE_SLEEP follows the
answer to the last question.

Where jobs come one by one, the question after each is answered by NO_JOB. As
soon as that is seen, PRE_SLEEP leaves together with that question, which saves
a send for every job. A wrong guess costs a NOOP too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gearmanny.errors import ProtocolError
from gearmanny.payload.names import check_packed_name
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.outgoing import Data, take_next
from gearmanny.protocol.packets import PacketParser, PacketType, pack

_GRAB = b"".join(pack(PacketType.GRAB_JOB_UNIQ))
_PRE_SLEEP = b"".join(pack(PacketType.PRE_SLEEP))


class Assigned(NamedTuple):
    """The job server gives us a job: we hold it until it is answered."""

    handle: bytes
    function: bytes
    unique: bytes
    data: bytes


class Refused(NamedTuple):
    """The job server answered ERROR, for instance to an update of a job that it knows no longer."""

    code: bytes
    text: bytes


Event = Assigned | Refused


class WorkerConnection:
    """The worker side of one connection to a job server."""

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        """Args: max_packet: bytes of the longest packet to keep: of a payload in a longer one,
        `Oversized` stands in its place."""
        # gearmand 1.1.20 ends the connection of a worker that answers a job before it has sent all
        # of it.
        self._parser = PacketParser(max_packet, dropped_at_once=False)
        self._outgoing: list[Data] = []
        self._functions: set[bytes] = set()
        self._withdrawn: set[bytes] = set()
        self.awake = True
        """Whether there may be something to grab."""
        self.asking = 0
        """Questions for a job that are not answered yet."""
        self.held: set[bytes] = set()
        """Handles of the jobs that we have to answer."""
        self.empty_calls = 0
        """Calls in a row that brought no job. gearmand 1.1.20 calls without end for jobs that are
        scheduled for later: whoever drives this asks less often as this grows."""
        self._called = False
        self._just_answered = False
        self._follows_answer = False
        """Whether the question that is under way followed the answer to a job."""
        self._one_by_one = False
        """Whether the last question that followed an answer brought no job."""
        self._sleep_sent = False
        """Whether PRE_SLEEP left together with the question that is under way."""

    def set_client_id(self, client_id: bytes) -> None:
        """Tells the name under which the job server's `workers` command lists us."""
        self._outgoing += pack(PacketType.SET_CLIENT_ID, client_id)

    def offer(self, functions: Iterable[bytes]) -> None:
        """Offers exactly these functions from now on.

        Each is announced once: gearmand counts a repeated CAN_DO as another
        worker. While a job is held, or may be on its way, withdrawals wait:
        CANT_DO makes gearmand give that job to somebody else.

        Raises:
            InvalidTask: no function can have such a name. Nothing was queued.
        """
        wanted = set(functions)
        for function in wanted:
            check_packed_name(function)
        new = wanted - self._functions - self._withdrawn
        for function in sorted(new):
            self._outgoing += pack(PacketType.CAN_DO, function)
        if new:
            self.wake()  # jobs that wait for a new function already call nobody
        self._withdrawn = (self._functions | self._withdrawn) - wanted
        self._functions = wanted
        self._withdraw()

    def grab(self, jobs: int = 1) -> None:
        """Asks for so many jobs, unless we are asleep."""
        if self.awake:
            self._outgoing.append(_GRAB * jobs)
            self.asking += jobs
            self._follows_answer, self._just_answered = self._just_answered, False
            self._sleep_sent = self._follows_answer and self._one_by_one
            if self._sleep_sent:
                self._outgoing.append(_PRE_SLEEP)

    def wake(self) -> None:
        """Wakes up without having been called, to look for jobs whose NOOP got lost."""
        self.awake = True

    def send_status(self, handle: bytes, done: bytes, total: bytes) -> None:
        """Queues how far the job is, as two whole numbers in ASCII."""
        self._update(PacketType.WORK_STATUS, handle, done, total)

    def send_data(self, handle: bytes, data: bytes) -> None:
        """Queues a part of the result."""
        self._update(PacketType.WORK_DATA, handle, data)

    def send_warning(self, handle: bytes, data: bytes) -> None:
        """Queues a warning."""
        self._update(PacketType.WORK_WARNING, handle, data)

    def complete(self, handle: bytes, data: bytes) -> None:
        """Queues the result. The job is answered: further answers to it are ignored."""
        self._answer(PacketType.WORK_COMPLETE, handle, data)

    def fail(self, handle: bytes) -> None:
        """Queues that the job failed."""
        self._answer(PacketType.WORK_FAIL, handle)

    def raise_(self, handle: bytes, data: bytes) -> None:
        """Queues the exception of the job. No WORK_FAIL may follow it: this is the answer."""
        self._answer(PacketType.WORK_EXCEPTION, handle, data)

    def data_to_send(self) -> Data:
        """Returns the next of the queued bytes, each once; empty when all are sent."""
        return take_next(self._outgoing) if self._outgoing else b""

    def receive(self, data: Data) -> Iterator[Event]:
        """Takes the bytes that arrived; yields what the worker has to act upon.

        Raises:
            ProtocolError: on bytes that no job server sends to a worker that did
                what we did. Close the connection: the job server then gives our
                job to somebody else.
        """
        for type_, arguments in self._parser.feed(data):
            if type_ == PacketType.JOB_ASSIGN_UNIQ:
                handle, function, _, _ = arguments
                self._check_asked(type_)
                if function not in self._functions and function not in self._withdrawn:
                    raise ProtocolError(f"a job for {function!r}, which we never offered")
                if handle in self.held:
                    raise ProtocolError(f"the job {handle!r}, which we hold already")
                self.held.add(handle)
                self._count_answer(brought_job=True)
                yield Assigned(*arguments)
            elif type_ == PacketType.NO_JOB:
                self._check_asked(type_)
                self.awake = False
                self._count_answer(brought_job=False)
            elif type_ == PacketType.NOOP:
                self.awake = self._called = True
            elif type_ == PacketType.ERROR:
                yield Refused(*arguments)
            else:
                raise ProtocolError(f"{PacketType(type_).name} is for clients, we are a worker")

    def _check_asked(self, type: int) -> None:
        if not self.asking:
            raise ProtocolError(f"{PacketType(type).name} came, but we asked for no job")

    def _count_answer(self, *, brought_job: bool) -> None:
        self.asking -= 1
        if self._follows_answer:
            self._one_by_one = not brought_job
        if brought_job:
            self.empty_calls = 0
            self._called = False
        if not self.asking and not self.awake:
            self.empty_calls += self._called
            self._called = False
            self._withdraw()
            if not self._sleep_sent:
                self._outgoing.append(_PRE_SLEEP)

    def _update(self, type: PacketType, handle: bytes, *arguments: bytes) -> None:
        if handle in self.held:
            self._outgoing += pack(type, handle, *arguments)

    def _answer(self, type: PacketType, handle: bytes, *arguments: bytes) -> None:
        if handle in self.held:
            self._outgoing += pack(type, handle, *arguments)
            self.held.remove(handle)
            self._just_answered = True
            self._withdraw()

    def _withdraw(self) -> None:
        if self._withdrawn and not self.asking and not self.held:
            for function in sorted(self._withdrawn):
                self._outgoing += pack(PacketType.CANT_DO, function)
            self._withdrawn.clear()
