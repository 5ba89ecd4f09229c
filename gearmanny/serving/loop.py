"""A job server in an event loop: bytes between asyncio transports and the protocol machine.

Everything that arrives in one iteration of the loop is answered together: with
one `send` for each connection, after one commit of all jobs to be stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time

from gearmanny import __version__
from gearmanny.errors import GearmanException, ProtocolError
from gearmanny.net.forks import keep_from_children
from gearmanny.protocol.broker import ServerConnection
from gearmanny.protocol.server import Server
from gearmanny.serving.store import Store

logger = logging.getLogger("gearmanny.server")

_RECEIVE_BYTES = 256 * 1024

_UNSENT_BYTES = 4 * 1024 * 1024
"""Bytes that may wait for a slow peer before the connections that cause more are paused."""

_LONGEST_HOSTNAME = 32
"""Bytes of the host name in a handle, which is shorter than 64 bytes altogether."""

_LONGEST_SLEEP = 10.0
"""Seconds. Timers use the wall clock, which may be changed while we sleep by the monotonic one."""


class ServerLoop:
    """One run of a job server: the state that its connections share."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, store: str | os.PathLike[str] | None
    ) -> None:
        self.loop = loop
        self.ended: asyncio.Future[None] = loop.create_future()
        # One buffer for all: a connection consumes what it received before another one receives.
        self.received = memoryview(bytearray(_RECEIVE_BYTES))
        self._store = None if store is None else Store(store)
        # Partly random, because a client may ask for a handle of the previous run.
        prefix = f"H:{socket.gethostname()[:_LONGEST_HOSTNAME]}-{secrets.token_hex(3)}"
        try:
            self._server = Server(
                prefix.encode(),
                version=f"gearmanny-{__version__}",
                pid=os.getpid(),
                journal=self._store,
            )
        except BaseException:  # the store is damaged
            if self._store is not None:
                self._store.close()
            raise
        self._peers: dict[ServerConnection, Peer] = {}
        self.full: set[Peer] = set()
        """Peers that do not read what is sent to them."""
        self._sending: asyncio.Handle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
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

    def disconnect(self, connection: ServerConnection) -> None:
        """Forgets a peer that has disconnected.

        Args:
            connection: its connection.
        """
        del self._peers[connection]
        self._server.disconnect(connection)
        self._send_soon()

    def receive(self, peer: Peer, data: memoryview) -> None:
        """Processes received bytes, and sends the answers soon.

        Args:
            peer: the peer that sent them.
            data: the bytes.
        """
        if self.full and self._server.ready:
            self._send()  # so that this peer is the cause of what is ready afterwards
        if self.ended.done():
            return
        try:
            self._server.receive(peer.connection, data, time.time())
        except ProtocolError as error:
            address = peer.connection.address
            logger.warning(
                "closing a connection of %s: %s", address, error, extra={"action": "peer_refused"}
            )
            self._send()
            peer.leave()
        except MemoryError:
            peer.lack_memory()
        except GearmanException as error:
            self.end(error)
        else:
            for full in self.full:
                if full.connection in self._server.ready:
                    full.hold(peer)
            self._send_soon()

    def end(self, error: GearmanException | None = None) -> None:
        """Ends the run.

        Args:
            error: the reason, if it cannot go on.
        """
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)

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

    def _send_soon(self) -> None:
        if self._sending is None:
            self._sending = self.loop.call_soon(self._send)

    def _send(self) -> None:
        """Commits the store, then sends everything that is queued."""
        self._sending = None
        if self._store is not None and not self.ended.done():
            try:
                self._store.commit()
            except GearmanException as error:
                self.end(error)
        if self.ended.done():
            return  # accepted jobs may not be stored, so they must not be acknowledged
        ready = self._server.ready
        for connection in ready:
            peer = self._peers.get(connection)
            if peer is not None:
                peer.send()
        ready.clear()
        self._set_alarm()

    def _set_alarm(self) -> None:
        at = self._server.next_timer()
        if at != self._alarm_at:
            self._alarm_at = at
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            if at is not None:
                seconds = min(max(0.0, at - time.time()), _LONGEST_SLEEP)
                self._alarm = self.loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._alarm = self._alarm_at = None
        try:
            self._server.pass_time(time.time())
        except GearmanException as error:
            self.end(error)
        self._send()


class Peer(asyncio.BufferedProtocol):
    """The asyncio protocol of one connection."""

    transport: asyncio.Transport
    connection: ServerConnection

    def __init__(self, server_loop: ServerLoop) -> None:
        self._server_loop = server_loop
        self._holds: set[Peer] = set()
        """Peers that are paused until this one reads."""
        self._held_by: set[Peer] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        keep_from_children(self)
        transport.set_write_buffer_limits(_UNSENT_BYTES)
        address = transport.get_extra_info("peername")[0]
        self.connection = self._server_loop.connect(self, self.fileno(), address)
        if self._server_loop.ended.done():
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._release_held()
        for holder in self._held_by:
            holder._holds.discard(self)
        self._server_loop.disconnect(self.connection)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server_loop.received

    def buffer_updated(self, nbytes: int) -> None:
        self._server_loop.receive(self, self._server_loop.received[:nbytes])

    def send(self, *, although_full: bool = False) -> None:
        """Sends what is queued, as long as the peer reads it.

        Args:
            although_full: send everything, even if the peer does not read.
        """
        try:
            while although_full or self not in self._server_loop.full:
                data = self.connection.data_to_send()
                if not data:
                    break
                self.transport.write(data)
        except MemoryError:
            self.lack_memory()

    def leave(self) -> None:
        """Closes the connection after sending what is queued."""
        self.send(although_full=True)
        self.transport.close()

    def lack_memory(self) -> None:
        """Closes only this connection, because part of what it sends or receives is lost."""
        self.abort()
        with contextlib.suppress(MemoryError):  # not even enough memory to log it
            logger.warning(
                "closing a connection of %s: not enough memory to serve it",
                self.connection.address,
                extra={"action": "peer_refused"},
            )

    def pause_writing(self) -> None:
        self._server_loop.full.add(self)

    def resume_writing(self) -> None:
        self._server_loop.full.discard(self)
        self.send()
        if self not in self._server_loop.full:
            self._release_held()

    def _release_held(self) -> None:
        self._server_loop.full.discard(self)
        for held in self._holds:
            held._held_by.discard(self)
            if not held._held_by:
                held.transport.resume_reading()
        self._holds.clear()

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 if it is closed."""
        return int(self.transport.get_extra_info("socket").fileno())

    def hold(self, source: Peer) -> None:
        """Pauses another peer until this one has read what that one caused.

        Not itself: a client may send a lot before it reads the first answer.

        Args:
            source: the other peer.
        """
        if source is not self:
            self._holds.add(source)
            source._held_by.add(self)
            source.transport.pause_reading()

    def abort(self) -> None:
        """Closes the connection at once, even if a forked child has a copy of the socket."""
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.transport.abort()
