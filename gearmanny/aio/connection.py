"""One connection of an event loop to a job server: what many tasks call over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gearmanny.aio.opening import Conversation
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Cancelled, Exchange, Question
from gearmanny.errors import GearmanException, JobServerLost, JobServerUnavailable, ProtocolError
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.net.polling import has_ended
from gearmanny.net.tls import TLS
from gearmanny.net.vanishing import LOOK_EVERY, VANISHED, Vigil
from gearmanny.protocol.client import ClientConnection, Request

_ENOUGH_TO_SEND = 256 * 1024
"""Bytes of payloads that wait for the rest of a turn of the event loop to be sent with it."""

_GOODBYE = 1.0
"""Seconds that the end of a connection may take, when all goes well."""

WRONG_LOOP = (
    "This client is used by another event loop, which still exists. Make an AioClient for each "
    "loop, or close() it in the one before."
)


class _Waiter:
    """A task that waits for something of a call."""

    __slots__ = ("future", "ready")

    def __init__(self, ready: Callable[[], bool], future: asyncio.Future[None]) -> None:
        self.ready = ready
        self.future = future

    def notice(self, exchange: Exchange[Any]) -> None:
        if self.ready():
            self.wake()

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


async def wait(
    exchange: Exchange[AioConnection], ready: Callable[[], bool], deadline: Deadline
) -> bool:
    """Waits for something of a call, or of a question.

    Args:
        exchange: the call.
        ready: tells whether it came.
        deadline: when the wait is over anyhow.

    Returns:
        Whether it came before the deadline.

    Raises:
        RuntimeError: the call belongs to another event loop.
    """
    if ready():
        return True
    loop = asyncio.get_running_loop()
    if loop is not exchange.line.loop:
        raise RuntimeError(WRONG_LOOP)
    waiter = _Waiter(ready, loop.create_future())
    exchange.watch(waiter)
    remaining = deadline.remaining()
    timer = None if remaining is None else loop.call_later(remaining, waiter.wake)
    try:
        await waiter.future
    finally:
        exchange.unwatch(waiter)
        if timer is not None:
            timer.cancel()
    return ready()


class AioConnection(Conversation):
    """A connection to one job server, made by `connect()`."""

    def __init__(self, host: Host, tls: TLS | None, max_packet: int) -> None:
        super().__init__(host, tls)
        self.loop = asyncio.get_running_loop()
        self.error: GearmanException | None = None
        """Why this connection can be used no longer."""
        self.given_up = False
        """Whether it was ended by its owner, and not by what happened to the connection."""
        self.cancelled = Cancelled()
        self._machine = ClientConnection(max_packet)
        self._unsent = 0
        self._flushing: asyncio.Handle | None = None
        self._full = False
        """Whether the transport takes nothing more for now. What is queued then waits here, where
        it needs no second copy."""
        self._writable = asyncio.Event()
        self._writable.set()
        self._turn = asyncio.Lock()
        self._closed = asyncio.Event()
        # None for a Unix socket: its peer cannot vanish.
        self._vigil = Vigil() if host.port else None
        self._descriptor = -1
        self._looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._descriptor = self.fileno()

    def usable(self) -> bool:
        """Returns whether a job may be sent: a connection that the server closed meanwhile is
        noticed here, before anything is sent on it."""
        if self.error is not None or self.transport.is_closing():
            return False
        return self._flushing is not None or not has_ended(self)

    @property
    def busy(self) -> bool:
        """Whether `drain()` is due before a job is queued."""
        return not self._writable.is_set() or self._turn.locked()

    async def drain(self, deadline: Deadline) -> None:
        """Waits until the job server has taken what was sent, or the connection has ended.

        Tasks go on in the order in which they came, and may queue one job each.

        Raises:
            JobServerUnavailable: the deadline has passed.
        """
        try:
            async with asyncio.timeout(deadline.remaining()), self._turn:
                await self._writable.wait()
        except TimeoutError as error:
            reason = "it does not take what is sent"
            raise JobServerUnavailable({str(self.host): reason}) from error

    def queue(self, call: Call[AioConnection], request: Request) -> bool:
        """Queues a job, to be sent with all that are queued in this turn of the event loop.

        Args:
            call: what comes of it.
            request: what is sent.

        Returns:
            Whether it was queued; False when this connection has ended.

        Raises:
            InvalidTask: no function can have that name. Nothing was queued.
            InvalidOption: no job can have that unique id. Nothing was queued.
        """
        if self.error is not None:
            return False
        self._queue(self._machine.submit, call, *request)
        call.sent_over(self)
        self.cancelled.discard(request.unique)
        self._send_soon(len(request.payload))
        return True

    def ask(self, question: Question[AioConnection], job: bytes, *, by_unique: bool) -> None:
        """Queues a question for the state of a job. On a connection that has ended, that is its
        outcome.

        Args:
            question: what comes of it.
            job: the handle of the job, or its unique id.
            by_unique: whether it is the unique id.

        Raises:
            InvalidOption: no job can have that unique id. Nothing was queued.
        """
        if self.error is not None:
            question.settle(self.error)
            return
        machine = self._machine
        self._queue(
            machine.ask_status_of_unique if by_unique else machine.ask_status, question, job
        )
        self._send_soon(0)

    def give_up(self) -> None:
        """Ends the connection. Jobs without an answer get `JobServerLost`."""
        self.given_up = True
        self._end(JobServerLost(str(self.host), "closed by this client"))
        self.transport.abort()

    async def close(self) -> None:
        """Ends the connection as `give_up` does, but says goodbye."""
        self.given_up = True
        self._end(JobServerLost(str(self.host), "closed by this client"))
        self.transport.close()
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._closed.wait()
        except TimeoutError:
            self.transport.abort()
            await self._closed.wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._vigil is not None:
            self._vigil.heard(self._descriptor)
        try:
            for exchange, event in self._machine.receive(data):
                assert isinstance(exchange, Exchange)
                exchange.take(event)
                exchange.notify()
        except ProtocolError as error:
            self._end(error)
            self.transport.abort()
        except BaseException:  # an interrupt, which leaves the loop: it may be run again
            self._break_off("receiving")
            raise

    def pause_writing(self) -> None:
        self._full = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self._full = False
        self._flush()
        if not self._full:
            self._writable.set()

    def eof_received(self) -> None:
        self._end(self.lost(None))

    def connection_lost(self, error: Exception | None) -> None:
        self._end(self.lost(error))
        self._closed.set()

    def _queue(self, queue: Callable[..., None], *arguments: object) -> None:
        try:
            queue(*arguments)
        except ValueError:
            raise  # a name that cannot be: nothing was queued
        except BaseException:  # half a submission would shift all answers that follow
            self._break_off("submitting")
            raise

    def _send_soon(self, size: int) -> None:
        self._unsent += size
        if self._flushing is None:
            self._flushing = self.loop.call_soon(self._flush)
        elif self._unsent > _ENOUGH_TO_SEND:
            self._flushing.cancel()
            self._flush()

    def _flush(self) -> None:
        self._flushing = None
        self._unsent = 0
        try:
            while self.error is None and not self._full and (data := self._machine.data_to_send()):
                if self._vigil is not None:
                    self._watch_over(self._vigil, len(data))
                self.transport.write(data)
        except MemoryError:  # part of it may have been sent
            self._end(JobServerLost(str(self.host), "not enough memory to send on"))
            self.transport.abort()
        except BaseException:
            self._break_off("sending")
            raise

    def _watch_over(self, vigil: Vigil, size: int) -> None:
        """Notes that bytes are sent, and checks from time to time whether the peer is there."""
        vigil.sending(self._descriptor, size)
        if vigil.is_due and self._looking is None:
            self._looking = self.loop.call_later(LOOK_EVERY, self._look_for_the_peer, vigil)

    def _look_for_the_peer(self, vigil: Vigil) -> None:
        self._looking = None
        if self.error is not None or not vigil.is_due:
            return
        if vigil.has_vanished(self._descriptor):
            self._end(JobServerLost(str(self.host), VANISHED))
            self.transport.abort()
        else:
            self._looking = self.loop.call_later(LOOK_EVERY, self._look_for_the_peer, vigil)

    def _break_off(self, doing: str) -> None:
        self.transport.abort()
        self._end(JobServerLost(str(self.host), f"interrupted while {doing}"))

    def _end(self, error: GearmanException) -> None:
        """Ends what has not ended yet. May be called again where an interrupt came between."""
        self.error = self.error or error
        self._lose_all(self.error)
        self._writable.set()
        if self._looking is not None:
            self._looking.cancel()

    def _lose_all(self, error: GearmanException) -> None:
        for exchange in self._machine.unanswered():
            assert isinstance(exchange, Exchange)
            if exchange.line is self:  # else it was sent again meanwhile
                exchange.lose(error)
        self._machine.abandon()
