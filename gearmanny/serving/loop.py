"""A job server in an event loop: bytes between asyncio transports and the protocol machine.

Everything that arrives in one iteration of the loop is answered together: with
one `send` for each connection, after one commit of all jobs to be stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time

from gearmanny import __version__
from gearmanny.errors import InvalidOption, ProtocolError
from gearmanny.net.forks import keep_from_children
from gearmanny.protocol.connected import ServerConnection
from gearmanny.protocol.room import Refusal
from gearmanny.protocol.server import Server
from gearmanny.serving.refusals import RefusalLog
from gearmanny.serving.store import Store

_RECEIVE_BYTES = 256 * 1024

_SHARE_BYTES = 64 * 1024
"""Bytes to receive at once from a connection, unless they continue the payload of a packet."""

_WRITTEN_BYTES = 256 * 1024
"""Bytes that the transport of a connection may buffer."""

_MAX_UNREAD = 256 * 1024 * 1024
"""Bytes that may wait for a slow peer before its connection is closed: one answer of the largest
size. Pausing the connections that cause more would delay workers that serve others as well."""

_LEAST_UNREAD = 16 * 1024 * 1024
"""Bytes that may wait even if there is little memory: more than one read can cause."""

_LONGEST_HOSTNAME = 32
"""Bytes of the host name in a handle, which is shorter than 64 bytes altogether."""

_LONGEST_SLEEP = 10.0
"""Seconds. Scheduled jobs use the wall clock, which may be changed while we sleep by the monotonic
one."""


class ServerLoop:
    """One run of a job server: the state that its connections share."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: str | os.PathLike[str] | None,
        max_memory: int,
    ) -> None:
        self.loop = loop
        self.ended: asyncio.Future[None] = loop.create_future()
        # One buffer for all: a connection consumes what it received before another one receives.
        self.received = memoryview(bytearray(_RECEIVE_BYTES))
        self._store = None if store is None else Store(store)
        self._max_memory = max_memory
        # Partly random, because a client may ask for a handle of the previous run.
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
        except BaseException as error:  # the store is damaged, or too large
            if self._store is not None:
                self._store.close()
            if isinstance(error, Refusal):
                raise InvalidOption(
                    f"The store cannot be loaded: {error.text.decode()}. Raise max_memory."
                ) from error
            raise
        self._peers: dict[ServerConnection, Peer] = {}
        self.refusals = RefusalLog()
        self._sending: asyncio.Handle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: tuple[float | None, float | None] = (None, None)
        self._set_alarm()

    def connect(self, peer: Peer, number: int, address: str) -> ServerConnection:
        """Registers a peer.

        Args:
            peer: the peer.
            number: its number in the answer to the command `workers`.
            address: its address.

        Returns:
            Its connection in the protocol machine.
        """
        connection = self._server.connect(number, address)
        self._peers[connection] = peer
        return connection

    def is_within_payload(self, peer: Peer) -> bool:
        """Returns whether the next bytes of a peer continue a payload.

        Args:
            peer: the peer.
        """
        return self._server.is_within_payload(peer.connection)

    def disconnect(self, connection: ServerConnection) -> None:
        """Forgets a peer that has disconnected.

        Args:
            connection: its connection.
        """
        del self._peers[connection]
        self._server.disconnect(connection)
        self.send_soon()

    def receive(self, peer: Peer, data: memoryview) -> None:
        """Processes received bytes, and sends the answers soon.

        Args:
            peer: the peer that sent them.
            data: the bytes.
        """
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

    def send_soon(self, connection: ServerConnection | None = None) -> None:
        """Sends what is queued after everything that has arrived is processed.

        Args:
            connection: a connection that can send again; None for none.
        """
        if connection is not None:
            self._server.ready[connection] = None
        if self._sending is None:
            self._sending = self.loop.call_soon(self.send)

    def end(self) -> None:
        """Ends the run."""
        if not self.ended.done():
            self.ended.set_result(None)

    async def close(self) -> None:
        """Closes all connections and the store."""
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
        """Commits the store, then sends everything that is queued."""
        self._sending = None
        if self.ended.done():
            return  # accepted jobs may not be stored, so they must not be acknowledged
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
        """Makes accepted jobs durable before they are acknowledged."""
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
    """The asyncio protocol of one connection."""

    transport: asyncio.Transport
    connection: ServerConnection

    def __init__(self, server_loop: ServerLoop, address: str) -> None:
        self._server_loop = server_loop
        self._address = address
        self._full = False
        """Whether the transport has buffered enough."""

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
        # Many small requests take long to process, and all other connections wait meanwhile.
        return received if self._server_loop.is_within_payload(self) else received[:_SHARE_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        self._server_loop.receive(self, self._server_loop.received[:nbytes])

    def send(self) -> None:
        """Sends what is queued, as long as the peer reads it."""
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
        """Logs why a connection is refused, and closes it after sending what is queued.

        Args:
            reason: the reason.
            at_once: whether to discard what is queued.
        """
        if self.transport.is_closing():
            return
        self._server_loop.refusals.add(self.connection.address, reason)
        if at_once:
            self.abort()
            return
        self._server_loop.send()
        if self._full:  # the peer may never read the rest
            self.abort()
        else:
            self.transport.close()

    def lack_memory(self) -> None:
        """Closes only this connection, because part of what it sends or receives is lost."""
        with contextlib.suppress(MemoryError):  # not even enough memory to log it
            self.refuse("not enough memory to serve it", at_once=True)
        self.abort()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._server_loop.send_soon(self.connection)

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 if it is closed."""
        return int(self.transport.get_extra_info("socket").fileno())

    def abort(self) -> None:
        """Closes the connection at once, even if a forked child has a copy of the socket."""
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.transport.abort()
