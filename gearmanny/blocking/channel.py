"""One connection that any number of threads share to call: whoever waits, reads.

There is no reader thread. A thread that waits for an answer becomes the reader
if there is none, and hands every answer that comes to the job that it belongs
to. The other waiting threads sleep until their job is answered, or the reader
leaves and it is their turn. A single thread thus calls at the price of one
`send` and two `recv`, without a switch of threads, and there is no thread for a
fork to lose.

`_lock` guards the protocol machine and the fields of all calls; no I/O
happens under it. Turns keep in order what is sent, and what is read.

An interrupt may arrive at any moment. So there is a flag while something is
half done, and whoever comes next ends the connection where it is set; an
exchange stays in the machine until it was notified of its end; and ending can
be repeated. Loops stand apart from the `with` and `try` around them: Python
3.13 passes by these when an interrupt arrives between two rounds.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from copy import copy
from functools import partial

from gearmanny.blocking.group import Group
from gearmanny.blocking.turns import Missed, Turns
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Cancelled, Exchange, Question
from gearmanny.errors import GearmanException, JobServerLost, JobServerUnavailable, ProtocolError
from gearmanny.net.deadline import Deadline
from gearmanny.net.transport import Connection
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.client import ClientConnection, Event, Request

_LOOKS = 64
"""Reads of a look at what has arrived: as many as the buffers of the kernel can fill. More may
arrive while they are read, without end."""


class Channel:
    """A connection to one job server, shared by threads."""

    def __init__(self, connection: Connection, max_packet: int = MAX_PACKET) -> None:
        self.host = connection.host
        self.tls = connection.tls
        self.error: GearmanException | None = None
        """Why this channel can be used no longer."""
        self.given_up = False
        """Whether it was ended by its owner, and not by what happened to the connection."""
        self.cancelled = Cancelled()
        self._connection = connection
        self._machine = ClientConnection(max_packet)
        self._half_sent = self._half_read = False
        self._make_turns()
        _all_channels.add(self)

    def _make_turns(self) -> None:
        self._lock = threading.Lock()
        self._reading = Turns(self._lock)
        self._sending = Turns(threading.Lock())

    def submit(self, jobs: Iterable[tuple[Call[Channel], Request]], deadline: Deadline) -> bool:
        """Sends jobs, when those of other threads have been sent. If the connection ends
        meanwhile, each call says so.

        Args:
            jobs: the calls, and what is sent of each.
            deadline: when to give up.

        Returns:
            Whether they were sent; False when this channel had ended before.

        Raises:
            JobServerUnavailable: the job server does not take what others send. Nothing was sent.
            InvalidTask: no function can have that name. Nothing was sent.
            InvalidOption: no job can have that unique id. Nothing was sent.
        """
        return self._send(partial(self._queue, jobs), deadline)

    def ask(
        self, question: Question[Channel], job: bytes, deadline: Deadline, *, by_unique: bool
    ) -> None:
        """Asks for the state of a job. On a channel that has ended, that is the outcome.

        Args:
            question: what comes of it.
            job: the handle of the job, or its unique id.
            deadline: when to give up.
            by_unique: whether it is the unique id.

        Raises:
            JobServerUnavailable: the job server does not take what others send.
            InvalidOption: no job can have that unique id. Nothing was sent.
        """
        machine = self._machine
        asked = machine.ask_status_of_unique if by_unique else machine.ask_status
        if not self._send(partial(asked, question, job), deadline):
            assert self.error is not None
            question.settle(self.error)

    def usable(self) -> bool:
        """Returns whether a job may be sent: a connection that the server closed meanwhile is
        noticed here, before anything is sent on it."""
        self.poll()
        return self.error is None

    def wait(self, waiter: object, ready: Callable[[], object], deadline: Deadline) -> bool:
        """Waits until `ready()`, or until nothing more can come because the channel has ended.

        Args:
            waiter: a call, a question, or a group of calls, on which alone `ready()` depends.
            ready: whether the wait is over.
            deadline: when it is over anyhow.

        Returns:
            Whether the wait is over; False when the deadline passed first.
        """
        baton = threading.Lock()
        try:
            timely = self._wait(waiter, ready, deadline, baton)
            self._leave(waiter, baton)
        except BaseException:  # not `finally`: an interrupt may come while we leave
            self._leave(waiter, baton)
            raise
        return timely

    def watch(self, call: Call[Channel], group: Group) -> None:
        """Adds a call to a group, which is notified when it ends, or that it has."""
        with self._lock:
            if call.outcome is None and not call.is_lost:
                call.watch(group)
            else:
                group.notice(call)

    def poll(self) -> None:
        """Takes in what has arrived, without waiting; leaves that to the reader if there is one."""
        baton = threading.Lock()
        try:
            if self._reading.enter(baton, unless=_always):
                self._look()
            self._leave(None, baton)
        except BaseException:
            self._leave(None, baton)
            raise

    def close(self) -> None:
        """Ends the connection. Jobs without an answer get `JobServerLost`."""
        self.given_up = True
        self._end(JobServerLost(str(self.host), "closed by this client"))

    def disown(self) -> None:
        """Gives the connection up in a forked child, where it is the parent's."""
        self.given_up = True
        # The locks may be held by threads that do not exist here.
        self._make_turns()
        self._note(JobServerLost(str(self.host), "it belongs to the process before the fork"))
        self._settle_all()
        self._connection.close()

    def _send(self, queue: Callable[[], object], deadline: Deadline) -> bool:
        """Queues something and sends it, when it is our turn; returns whether it was queued."""
        try:
            return self._sending.do(partial(self._send_now, queue, deadline), deadline)
        except Missed:
            reason = "it does not take what is sent"
            raise JobServerUnavailable({str(self.host): reason}) from None

    def _send_now(self, queue: Callable[[], object], deadline: Deadline) -> bool:
        if self._half_sent:
            self._end(self._interrupted("sending"))
        self._half_sent = True
        try:
            with self._lock:
                if self.error is not None:
                    return False
                queue()
                queued = list(iter(self._machine.data_to_send, b""))
            self._send_all(queued, deadline)
        except ValueError:
            self._half_sent = False  # a name that cannot be: nothing was queued
            raise
        except JobServerLost as error:
            self._end(error)
            return True
        except BaseException:
            self._end(self._interrupted("sending"))
            raise
        self._half_sent = False
        return True

    def _send_all(self, queued: Iterable[bytes | memoryview], deadline: Deadline) -> None:
        for data in queued:
            self._connection.send(data, deadline)

    def _queue(self, jobs: Iterable[tuple[Call[Channel], Request]]) -> None:
        for call, request in jobs:
            self._machine.submit(call, *request)
            call.sent_over(self)
            self.cancelled.discard(request.unique)

    def _wait(
        self,
        waiter: object,
        ready: Callable[[], object],
        deadline: Deadline,
        baton: threading.Lock,
    ) -> bool:
        def over() -> bool:
            return bool(ready()) or self.error is not None

        while not over():
            if self._reading.enter(baton, waiter, over):
                if not self._read_until(over, deadline):
                    return bool(ready())
            else:
                remaining = deadline.remaining()
                called = baton.acquire(timeout=-1 if remaining is None else remaining)
                if not called or remaining == 0:
                    return bool(ready())
        if not ready():
            self._settle_all()
            if isinstance(waiter, Exchange) and waiter.line is self and not ready():
                assert self.error is not None
                waiter.lose(self.error)
        return True

    def _read_until(self, over: Callable[[], bool], deadline: Deadline) -> bool:
        while not over():
            remaining = deadline.remaining()
            if not self._connection.wait(remaining):
                return False
            self._read()
            # There may always be something to read.
            if remaining == 0:
                return over()
        return True

    def _look(self) -> None:
        for _ in range(_LOOKS):
            if self.error is not None or not self._connection.wait(0):
                return
            self._read()

    def _read(self) -> None:
        if self._half_read:
            self._end(self._interrupted("receiving"))
            return
        self._half_read = True
        try:
            data = self._connection.receive()
            with self._lock:
                self._take_in(data)
        except (JobServerLost, ProtocolError) as error:
            self._end(error)
        except BaseException:
            self._end(self._interrupted("receiving"))
            raise
        self._half_read = False

    def _take_in(self, data: bytes | memoryview) -> None:
        if self.error is None:
            for exchange, event in self._machine.receive(data):
                assert isinstance(exchange, Exchange)
                self._deliver(exchange, event)

    def _deliver(self, exchange: Exchange[Channel], event: Event) -> None:
        exchange.take(event)
        watchers = exchange.watchers
        if watchers and exchange.outcome is not None:
            exchange.notify()
        self._reading.wake(exchange)
        for watcher in watchers:
            self._reading.wake(watcher)

    def _leave(self, waiter: object, baton: threading.Lock) -> None:
        """Stops reading or waiting, and sees to it that somebody reads for those who wait."""
        self._reading.leave(baton, waiter)
        self._close_unless_read()

    def _interrupted(self, doing: str) -> JobServerLost:
        return JobServerLost(str(self.host), f"interrupted while {doing}")

    def _end(self, error: GearmanException) -> None:
        self._note(error)
        self._settle_all()
        self._connection.shutdown()
        self._close_unless_read()

    def _note(self, error: GearmanException) -> None:
        self.error = self.error or copy(error)  # without its traceback, whose frames hold calls

    def _close_unless_read(self) -> None:
        if self.error is not None and not self._reading.taken:
            self._connection.close()

    def _settle_all(self) -> None:
        """Ends what has not ended yet. May be called again where an interrupt came between."""
        with self._lock:
            self._lose_all()

    def _lose_all(self) -> None:
        assert self.error is not None
        for exchange in self._machine.unanswered():
            assert isinstance(exchange, Exchange)
            if exchange.line is self:  # else it was sent again meanwhile
                exchange.lose(self.error)
        self._machine.abandon()
        self._reading.wake_all()


def _always() -> bool:
    return True


_all_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for channel in _all_channels:
        channel.disown()


os.register_at_fork(after_in_child=_after_fork_in_child)
