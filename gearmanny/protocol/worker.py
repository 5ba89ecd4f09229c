"""The worker side of one connection: bytes in, events out.

Its states are drawn in `workerstate.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gearmanny.errors import ProtocolError
from gearmanny.payload.names import check_packed_name
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.outgoing import Data, take_next
from gearmanny.protocol.packets import PacketType, pack
from gearmanny.protocol.parser import PacketParser
from gearmanny.protocol.workerstate import TRANSITIONS, Calls, Input, Sleepiness, State

_GRAB = b"".join(pack(PacketType.GRAB_JOB_UNIQ))
_PRE_SLEEP = b"".join(pack(PacketType.PRE_SLEEP))
# Python 3.11 takes its time to find a member of an enumeration, and these are needed for every job.
_ASK, _CALL = Input.ASK, Input.CALL
_JOB, _LAST_JOB = Input.JOB, Input.LAST_JOB
_NO_JOB, _LAST_NO_JOB = Input.NO_JOB, Input.LAST_NO_JOB
_ASLEEP = State.ASLEEP


class Assigned(NamedTuple):
    """A job that the job server assigned: it is held until it is answered."""

    handle: bytes
    function: bytes
    unique: bytes
    data: bytes


class Refused(NamedTuple):
    """An ERROR of the job server, for instance about an update of a job that it does not know."""

    code: bytes
    text: bytes


Event = Assigned | Refused


class WorkerConnection:
    """The worker side of one connection to a job server."""

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        """
        Args:
            max_packet: bytes of the longest packet to keep. `Oversized` stands in the place of
                the payload of a longer one.
        """
        # gearmand 1.1.20 ends the connection of a worker that answers a job before it has sent all
        # of it.
        self._parser = PacketParser(max_packet, dropped_at_once=False)
        self._outgoing: list[Data] = []
        self._functions: set[bytes] = set()
        self._withdrawn: set[bytes] = set()
        self._calls = Calls()
        self._sleepiness = Sleepiness()
        self.state = State.AWAKE
        """Where the worker is in the table of `workerstate.py`."""
        self.asking = 0
        """Questions for a job that are not answered yet."""
        self.held: set[bytes] = set()
        """Handles of the jobs that are to be answered."""

    @property
    def awake(self) -> bool:
        """Whether there may be something to grab."""
        return _ASK in TRANSITIONS[self.state]

    @property
    def empty_calls(self) -> int:
        """Calls in a row that brought no job. gearmand 1.1.20 calls without end for jobs that are
        scheduled for later, so whoever drives this asks less often as this grows."""
        return self._calls.in_vain

    def set_client_id(self, client_id: bytes) -> None:
        """Queues the name under which the job server's `workers` command lists this worker.

        Args:
            client_id: the name.
        """
        self._outgoing += pack(PacketType.SET_CLIENT_ID, client_id)

    def offer(self, functions: Iterable[bytes]) -> None:
        """Offers exactly these functions from now on.

        Each is announced once: gearmand counts a repeated CAN_DO as another
        worker. While a job is held, or may be on its way, withdrawals wait:
        CANT_DO makes gearmand give that job to another worker.

        Args:
            functions: their names.

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
        """Asks for jobs. Does nothing in a state in which nothing is asked.

        Args:
            jobs: how many.
        """
        if not self.awake:
            return
        self._follow(_ASK)
        self._outgoing.append(_GRAB * jobs)
        self.asking += jobs
        if self._sleepiness.asks():
            self._outgoing.append(_PRE_SLEEP)

    def wake(self) -> None:
        """Wakes up without a call, to look for jobs whose NOOP got lost."""
        self._follow(_CALL)

    def send_status(self, handle: bytes, done: bytes, total: bytes) -> None:
        """Queues the progress of a job.

        Args:
            handle: the job. Nothing is queued for one that is not held.
            done: a whole number in ASCII.
            total: another one.
        """
        self._update(PacketType.WORK_STATUS, handle, done, total)

    def send_data(self, handle: bytes, data: bytes) -> None:
        """Queues a part of the result of a job.

        Args:
            handle: the job. Nothing is queued for one that is not held.
            data: the payload.
        """
        self._update(PacketType.WORK_DATA, handle, data)

    def send_warning(self, handle: bytes, data: bytes) -> None:
        """Queues a warning.

        Args:
            handle: the job. Nothing is queued for one that is not held.
            data: the payload.
        """
        self._update(PacketType.WORK_WARNING, handle, data)

    def complete(self, handle: bytes, data: bytes) -> None:
        """Queues the result of a job, which is answered by that.

        Args:
            handle: the job. Nothing is queued for one that is not held.
            data: the payload.
        """
        self._answer(PacketType.WORK_COMPLETE, handle, data)

    def fail(self, handle: bytes) -> None:
        """Queues that a job failed, which is answered by that.

        Args:
            handle: the job. Nothing is queued for one that is not held.
        """
        self._answer(PacketType.WORK_FAIL, handle)

    def raise_(self, handle: bytes, data: bytes) -> None:
        """Queues the exception of a job, which is answered by that: no WORK_FAIL may follow.

        Args:
            handle: the job. Nothing is queued for one that is not held.
            data: the payload.
        """
        self._answer(PacketType.WORK_EXCEPTION, handle, data)

    def data_to_send(self) -> Data:
        """Returns the next of the queued bytes, each once; empty when all are sent."""
        return take_next(self._outgoing) if self._outgoing else b""

    def receive(self, data: Data) -> Iterator[Event]:
        """Takes in bytes that arrived, and yields the events for the worker to act upon.

        Args:
            data: the bytes, cut anywhere.

        Raises:
            ProtocolError: no job server sends these bytes to a worker that did what this one
                did. Close the connection: the job server then gives its jobs to another worker.
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
                self._take_answer(_JOB, _LAST_JOB)
                yield Assigned(*arguments)
            elif type_ == PacketType.NO_JOB:
                self._check_asked(type_)
                self._take_answer(_NO_JOB, _LAST_NO_JOB)
            elif type_ == PacketType.NOOP:
                self._follow(_CALL)
                self._calls.called = True
            elif type_ == PacketType.ERROR:
                yield Refused(*arguments)
            else:
                raise ProtocolError(f"{PacketType(type_).name} is for clients, we are a worker")

    def _check_asked(self, type: int) -> None:
        if not self.asking:
            raise ProtocolError(f"{PacketType(type).name} came, but we asked for no job")

    def _take_answer(self, input: Input, last: Input) -> None:
        self.asking -= 1
        brought_job = input is _JOB
        self._sleepiness.answered(brought_job)
        self._follow(input if self.asking else last)
        if brought_job:
            self._calls.bring_job()
        if self.state is _ASLEEP:
            self._calls.bring_nothing()
            self._withdraw()
            if not self._sleepiness.said:
                self._outgoing.append(_PRE_SLEEP)

    def _follow(self, input: Input) -> None:
        self.state = TRANSITIONS[self.state][input]

    def _update(self, type: PacketType, handle: bytes, *arguments: bytes) -> None:
        if handle in self.held:
            self._outgoing += pack(type, handle, *arguments)

    def _answer(self, type: PacketType, handle: bytes, *arguments: bytes) -> None:
        if handle in self.held:
            self._outgoing += pack(type, handle, *arguments)
            self.held.remove(handle)
            self._sleepiness.has_job_done = True
            self._withdraw()

    def _withdraw(self) -> None:
        if self._withdrawn and not self.asking and not self.held:
            for function in sorted(self._withdrawn):
                self._outgoing += pack(PacketType.CANT_DO, function)
            self._withdrawn.clear()
