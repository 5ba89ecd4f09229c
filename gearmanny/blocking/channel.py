"""One connection that any number of threads share to call: whoever waits, reads.

There is no reader thread. A thread that waits for an answer becomes the reader
if there is none, and hands every answer that comes to the job that it belongs
to. The other waiting threads sleep, each on a lock of its own (its *baton*),
until their job is answered or the reader leaves and passes its office on. A
single thread thus calls at the price of one `send` and two `recv`, without a
switch of threads, and there is no thread for a fork to lose.

`_lock` guards the protocol machine and the fields of all calls; no I/O
happens under it. `_sending` keeps the bytes in order.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Exchange, Question
from gearmanny.errors import GearmanException, JobServerLost, ProtocolError
from gearmanny.net.deadline import Deadline
from gearmanny.net.transport import Connection
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.client import ClientConnection, Event, Request


class Group:
    """Calls of which somebody waits for any to end."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended: deque[Call[Channel]] = deque()
        """Those that have ended, or have to be sent again, in their order."""

    def notice(self, exchange: Exchange[Any]) -> None:
        """Takes note that a call has ended, or has to be sent again. It is watched no longer."""
        assert isinstance(exchange, Call)
        exchange.unwatch(self)
        self.ended.append(exchange)


class Channel:
    """A connection to one job server, shared by threads."""

    def __init__(self, connection: Connection, max_packet: int = MAX_PACKET) -> None:
        self.host = connection.host
        self.tls = connection.tls
        self.error: GearmanException | None = None
        """Why this channel can be used no longer."""
        self.given_up = False
        """Whether it was ended by its owner, and not by what happened to the connection."""
        self._connection = connection
        self._machine = ClientConnection(max_packet)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._reader: threading.Lock | None = None
        self._batons: dict[object, list[threading.Lock]] = {}
        _all_channels.add(self)

    def queue(self, call: Call[Channel], request: Request) -> bool:
        """Queues a job for the next `flush()`.

        Args:
            call: what comes of it.
            request: what is sent.

        Returns:
            Whether it was queued; False when this channel has ended.

        Raises:
            InvalidTask: no function can have that name. Nothing was queued.
            InvalidOption: no job can have that unique id. Nothing was queued.
        """
        return self._queue(self._machine.submit, call, *request)

    def ask(self, question: Question[Channel], job: bytes, *, by_unique: bool) -> bool:
        """Queues a question for the state of a job. On a channel that has ended, that is its
        outcome.

        Args:
            question: what comes of it.
            job: the handle of the job, or its unique id.
            by_unique: whether it is the unique id.

        Returns:
            Whether it was queued.

        Raises:
            InvalidOption: no job can have that unique id. Nothing was queued.
        """
        machine = self._machine
        asked = machine.ask_status_of_unique if by_unique else machine.ask_status
        queued = self._queue(asked, question, job)
        if not queued:
            assert self.error is not None
            question.settle(self.error)
        return queued

    def flush(self, deadline: Deadline) -> None:
        """Sends what is queued.

        Raises:
            JobServerLost: the connection ended while it was sent, or by us, because the job
                server did not take it before the deadline.
        """
        # Whoever holds `_sending` sends for all who came meanwhile.
        with self._sending:
            try:
                with self._lock:
                    # Not what is queued while we send: that might never end.
                    queued = list(iter(self._machine.data_to_send, b""))
                for data in queued:
                    self._connection.send(data, deadline)
            except JobServerLost as error:
                self._end(error)
                raise
            except BaseException:
                self._end(JobServerLost(str(self.host), "interrupted while sending"))
                raise

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
            while not ready() and self.error is None:
                baton = threading.Lock()
                reading = self._enter(waiter, baton, ready)
                if reading:
                    timely = self._read_until(ready, deadline)
                else:
                    remaining = deadline.remaining()
                    timely = baton.acquire(timeout=-1 if remaining is None else remaining)
                if reading or not timely:
                    self._leave(waiter, baton)
                if not timely:
                    return bool(ready())
        except BaseException:  # an interrupt may come anywhere: the office must not get lost
            self._leave(waiter, baton)
            raise
        return True

    def watch(self, call: Call[Channel], group: Group) -> None:
        """Adds a call to a group, which is notified when it ends, or that it has."""
        with self._lock:
            if call.outcome is None and not call.is_lost:
                call.watch(group)
            else:
                group.notice(call)

    def poll(self) -> None:
        """Takes in what has arrived, without waiting; leaves that to the reader if there is one."""
        token = threading.Lock()
        try:
            with self._lock:
                if self._reader is not None:
                    return
                self._reader = token
            while self.error is None and self._connection.wait(0):
                self._receive()
            self._leave(None, token)
        except BaseException:  # not `finally`: an interrupt may come while we leave
            self._leave(None, token)
            raise

    def close(self) -> None:
        """Ends the connection. Jobs without an answer get `JobServerLost`."""
        self.given_up = True
        self._end(JobServerLost(str(self.host), "closed by this client"))

    def disown(self) -> None:
        """Gives the connection up in a forked child, where it is the parent's."""
        self.given_up = True
        # The locks may be held by threads that do not exist here.
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._reader = None
        error = JobServerLost(str(self.host), "it belongs to the process before the fork")
        self._settle_all(error)
        self._connection.close()

    def _queue(
        self, queue: Callable[..., None], exchange: Exchange[Channel], *arguments: object
    ) -> bool:
        try:
            with self._lock:
                if self.error is not None:
                    return False
                queue(exchange, *arguments)
                exchange.sent_over(self)
                return True
        except ValueError:
            raise  # a name that cannot be: nothing was queued
        except BaseException:  # half a submission would shift all answers that follow
            self._end(JobServerLost(str(self.host), "interrupted while submitting"))
            raise

    def _enter(self, waiter: object, baton: threading.Lock, ready: Callable[[], object]) -> bool:
        """Makes us the reader, or leaves our baton; returns whether we are the reader."""
        with self._lock:
            if self._reader is None:
                self._reader = baton
                return True
            if not ready() and self.error is None:  # nobody would release it for what came already
                baton.acquire()
                self._batons.setdefault(waiter, []).append(baton)
            return False

    def _read_until(self, ready: Callable[[], object], deadline: Deadline) -> bool:
        while not ready() and self.error is None:
            if not self._connection.wait(deadline.remaining()):
                return False
            self._receive()
        return True

    def _receive(self) -> None:
        try:
            data = self._connection.receive()
            with self._lock:
                if self.error is None:
                    for exchange, event in self._machine.receive(data):
                        assert isinstance(exchange, Exchange)
                        self._deliver(exchange, event)
        except (JobServerLost, ProtocolError) as error:
            self._end(error)
        except BaseException:
            # An interrupt may have come between taking the bytes and reading them.
            self._end(JobServerLost(str(self.host), "interrupted while receiving"))
            raise

    def _deliver(self, exchange: Exchange[Channel], event: Event) -> None:
        exchange.take(event)
        watchers = exchange.watchers
        if watchers and exchange.outcome is not None:
            exchange.notify()
        if self._batons:
            for waiter in (exchange, *watchers):
                for baton in self._batons.pop(waiter, ()):
                    baton.release()

    def _leave(self, waiter: object, baton: threading.Lock) -> None:
        """Stops reading or waiting, and sees to it that somebody reads for those who wait."""
        with self._lock:
            ended = self._reader is baton and self.error is not None
            if self._reader is baton:
                self._reader = None
            elif baton in self._batons.get(waiter, ()):
                self._batons[waiter].remove(baton)
                if not self._batons[waiter]:
                    del self._batons[waiter]
            self._call_a_reader()
        if ended:
            self._connection.close()

    def _call_a_reader(self) -> None:
        """Passes the office of the reader on to a waiting thread. Called under the lock."""
        if self._batons and self._reader is None:
            waiter, waiting = next(iter(self._batons.items()))
            waiting.pop().release()
            if not waiting:
                del self._batons[waiter]

    def _end(self, error: GearmanException) -> None:
        with self._lock:
            self._settle_all(error)
            has_reader = self._reader is not None
        self._connection.shutdown()
        if not has_reader:
            self._connection.close()

    def _settle_all(self, error: GearmanException) -> None:
        self.error = self.error or error
        for exchange in self._machine.abandon():
            assert isinstance(exchange, Exchange)
            exchange.lose(self.error)
        for waiting in self._batons.values():
            for baton in waiting:
                baton.release()
        self._batons.clear()


_all_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for channel in _all_channels:
        channel.disown()


os.register_at_fork(after_in_child=_after_fork_in_child)
