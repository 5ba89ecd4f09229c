"""A job server in an event loop: bytes between the transports and the machine.

What all connections brought in one turn of the loop is answered together: with
one `send` to each of them, after one commit of all jobs that are to be kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections import deque

from gearmanny import __version__
from gearmanny.errors import InvalidOption, ProtocolError
from gearmanny.net.forks import keep_from_children
from gearmanny.protocol.connected import Connection
from gearmanny.protocol.room import Refusal
from gearmanny.protocol.server import Server
from gearmanny.serving.store import Store

logger = logging.getLogger("gearmanny.server")

_RECEIVE_BYTES = 256 * 1024

_SHARE_BYTES = 64 * 1024
"""What is received at once of a connection, unless it is the payload of one packet."""

_WRITTEN_BYTES = 256 * 1024
"""What the transport of a connection may hold that it does not take."""

_MAX_UNREAD = 256 * 1024 * 1024
"""Bytes that may wait for a connection before it is closed: one answer of the largest size. It is
not read more slowly instead, nor are those that send to it: workers would be late for others."""

_LEAST_UNREAD = 16 * 1024 * 1024
"""Bytes that may wait however little memory there is: more than what is received at once causes."""

_TOLD_A_MINUTE = 20
"""Refused connections that are logged; the others are counted."""

_LONGEST_HOSTNAME = 32
"""Bytes of it in a handle, which has less than 64 for everything."""

_LONGEST_SLEEP = 10.0
"""Seconds. Scheduled jobs go by the clock on the wall, which can be set while we sleep by another.
"""


class ServerLoop:
    """One run of a job server: what its connections share."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: str | os.PathLike[str] | None,
        max_memory: int,
    ) -> None:
        self.loop = loop
        self.ended: asyncio.Future[None] = loop.create_future()
        # One for all: who receives takes out what it got before anybody else receives.
        self.received = memoryview(bytearray(_RECEIVE_BYTES))
        self._store = None if store is None else Store(store)
        self._max_memory = max_memory
        # Part of it is new in every run: a client may ask for a handle of the run before.
        prefix = f"H:{socket.gethostname()[:_LONGEST_HOSTNAME]}-{secrets.token_hex(3)}"
        try:
            self._server = Server(
                prefix.encode(),
                version=f"gearmanny-{__version__}",
                pid=os.getpid(),
                journal=self._store,
                max_memory=max_memory,
                max_unread=max(_LEAST_UNREAD, min(_MAX_UNREAD, max_memory // 4)),
            )
        except BaseException as error:  # of what the store holds
            if self._store is not None:
                self._store.close()
            if isinstance(error, Refusal):
                raise InvalidOption(
                    f"The store cannot be loaded: {error.text.decode()}. Raise max_memory."
                ) from error
            raise
        self._peers: dict[Connection, Peer] = {}
        self._told: deque[float] = deque(maxlen=_TOLD_A_MINUTE)
        self._untold = 0
        self._sending: asyncio.Handle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: tuple[float | None, float | None] = (None, None)
        self._set_alarm()

    def connect(self, peer: Peer, number: int, address: str) -> Connection:
        """Returns what the job server knows of a peer."""
        connection = self._server.connect(number, address)
        self._peers[connection] = peer
        return connection

    def is_within_payload(self, peer: Peer) -> bool:
        """Returns whether the next bytes of a peer continue a payload."""
        return self._server.is_within_payload(peer.connection)

    def disconnect(self, connection: Connection) -> None:
        """Takes notice that a peer is gone."""
        del self._peers[connection]
        self._server.disconnect(connection)
        self.send_soon()

    def receive(self, peer: Peer, data: memoryview) -> None:
        """Passes on what arrived, and sends what that causes."""
        if self.ended.done():
            return
        try:
            self._server.receive(peer.connection, data, time.time(), time.monotonic())
        except ProtocolError as error:
            peer.refuse(str(error))
        except MemoryError:
            peer.lack_memory()
        else:
            if self._server.unread.total > self._max_memory:
                self.send()
                self._server.shed()
            self.send_soon()

    def send_soon(self, connection: Connection | None = None) -> None:
        """Sends what there is to send when all that arrived has been taken in.

        Args:
            connection: takes more now than it did.
        """
        if connection is not None:
            self._server.ready[connection] = None
        if self._sending is None:
            self._sending = self.loop.call_soon(self.send)

    def tell_refusal(self, address: str, reason: str) -> None:
        """Logs why a connection is closed, so often that nobody can flood the log."""
        now = self.loop.time()
        if len(self._told) == _TOLD_A_MINUTE and now - self._told[0] < 60:
            self._untold += 1
            return
        self._told.append(now)
        more = f" (and {self._untold} others lately)" if self._untold else ""
        self._untold = 0
        logger.warning(
            "closing a connection of %s: %s%s",
            address,
            reason,
            more,
            extra={"action": "peer_refused"},
        )

    def end(self) -> None:
        """Lets the run end."""
        if not self.ended.done():
            self.ended.set_result(None)

    async def close(self) -> None:
        """Ends all connections, and gives everything back."""
        self.ended.cancel()
        for handle in (self._alarm, self._sending):
            if handle is not None:
                handle.cancel()
        for peer in self._peers.values():
            peer.abort()
        try:
            while self._peers:
                await asyncio.sleep(0)
        finally:
            if self._store is not None:
                self._store.close()

    def send(self) -> None:
        """Sends what there is to send."""
        self._sending = None
        if self.ended.done():
            return
        self._commit()
        ready = self._server.ready
        while ready:
            connection = next(iter(ready))
            del ready[connection]
            peer = self._peers.get(connection)
            if peer is not None:
                peer.send()
        self._set_alarm()

    def _commit(self) -> None:
        """Makes durable what was accepted, before anybody is told that it is."""
        broker = self._server.broker
        if self._store is not None:
            lost = self._store.commit()
            if lost:
                for connection in broker.lose_rows(lost):
                    self._peers[connection].abort()
        broker.unconfirmed.clear()

    def _set_alarm(self) -> None:
        at = self._server.next_timers()
        if at != self._alarm_at:
            self._alarm_at = at
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            scheduled, limit = at
            waits = [_LONGEST_SLEEP]
            if scheduled is not None:
                waits.append(scheduled - time.time())
            if limit is not None:
                waits.append(limit - time.monotonic())
            if len(waits) > 1:
                self._alarm = self.loop.call_later(max(0.0, min(waits)), self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, (None, None)
        self._server.pass_time(time.time(), time.monotonic())
        self.send()


class Peer(asyncio.BufferedProtocol):
    """One connection: the callbacks of its transport."""

    transport: asyncio.Transport
    connection: Connection

    def __init__(self, server_loop: ServerLoop, address: str) -> None:
        self._server_loop = server_loop
        self._address = address
        self._full = False
        """Whether it does not take what is sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        keep_from_children(self)
        transport.set_write_buffer_limits(_WRITTEN_BYTES)
        self.connection = self._server_loop.connect(self, self.fileno(), self._address)
        if self._server_loop.ended.done():
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_loop.disconnect(self.connection)

    def get_buffer(self, sizehint: int) -> memoryview:
        received = self._server_loop.received
        # Small requests take their time, during which all others wait.
        return received if self._server_loop.is_within_payload(self) else received[:_SHARE_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        self._server_loop.receive(self, self._server_loop.received[:nbytes])

    def send(self) -> None:
        """Sends what there is to send, as much as the other side takes."""
        if self.connection.deaf:
            self.refuse("it does not read what it is sent", at_once=True)
        if self.transport.is_closing():
            return
        try:
            while not self._full and (data := self.connection.data_to_send()):
                self.transport.write(data)
        except MemoryError:
            self.lack_memory()

    def refuse(self, reason: str, *, at_once: bool = False) -> None:
        """Closes the connection, once what was sent is taken."""
        if self.transport.is_closing():
            return
        self._server_loop.tell_refusal(self.connection.address, reason)
        if at_once:
            self.abort()
            return
        self._server_loop.send()
        if self._full:  # it may never take the rest
            self.abort()
        else:
            self.transport.close()

    def lack_memory(self) -> None:
        """Ends this connection alone: part of what it sent, or was sent, is lost."""
        with contextlib.suppress(MemoryError):  # nothing is left to say so with
            self.refuse("not enough memory to serve it", at_once=True)
        self.abort()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._server_loop.send_soon(self.connection)

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 when it is closed."""
        return int(self.transport.get_extra_info("socket").fileno())

    def abort(self) -> None:
        """Ends the connection at once, also where a child was forked before it was made."""
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.transport.abort()
