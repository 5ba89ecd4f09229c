"""A job server in this process: for development, for tests, and where one machine is enough.

It does for clients and workers what gearmand does, so that hosts are all that
changes between the two. One thread with an event loop of its own runs it, or a
loop that is there already.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from gearmanny import __version__
from gearmanny.errors import GearmanException, InvalidOption, ProtocolError
from gearmanny.protocol.broker import Connection
from gearmanny.protocol.server import Server
from gearmanny.store import Store
from gearmanny.transport import Host

__all__ = ["JobServer"]

logger = logging.getLogger("gearmanny.server")

_RECEIVE_BYTES = 256 * 1024
_UNSENT_BYTES = 4 * 1024 * 1024
"""What may wait to be taken by a connection before those that cause more of it are not read."""

_BACKLOG = 512
"""Connections that may wait to be accepted."""

_LONGEST_HOSTNAME = 32
"""Bytes of it in a handle, which has less than 64 for everything."""

_LONGEST_SLEEP = 10.0
"""Seconds. Timers go by the clock on the wall, which can be set while we sleep by another."""


class JobServer:
    """A job server on a port of this machine.

        with JobServer() as server:
            client = SimpleClient([server.host])

    It may be started again after it was stopped, and keeps its port.

    Attributes:
        port: where it listens. Known once it was started.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        address: str = "127.0.0.1",
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        """
        Args:
            port: where to listen; 0 for any port that is free.
            address: the address of this machine to listen on. There is no authentication:
                whoever can reach it can use it.
            store: a file that keeps background jobs over restarts; without one, they end with
                the server.

        Raises:
            InvalidOption: the port cannot be.
        """
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 2**16:
            raise InvalidOption(f"A port is a number from 0 to 65535, not {port!r}.")
        self.port = port
        self._address = address
        self._store_path = store
        self._thread: threading.Thread | None = None
        self._engine: _Engine | None = None

    @property
    def host(self) -> str:
        """What clients and workers take as one of their hosts, `"127.0.0.1:4730"`."""
        return str(Host(self._address, self.port))

    def start(self) -> None:
        """Starts it in a thread of its own. Returns when it listens.

        Raises:
            InvalidOption: the port is taken, or the address or the store cannot be used.
            GearmanException: it runs already.
        """
        listening: Future[None] = Future()
        thread = threading.Thread(
            target=self._run, args=[listening], name=f"{__name__}.JobServer", daemon=True
        )
        thread.start()
        try:
            listening.result()
        except BaseException:
            thread.join()
            raise
        self._thread = thread

    def stop(self) -> None:
        """Ends it, from any thread; all its connections end. Does nothing where it does not run.

        Returns when it has ended, unless it runs in a loop that was there before: then `serve()`
        returns soon.
        """
        engine, thread = self._engine, self._thread
        if engine is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended by itself
                engine.loop.call_soon_threadsafe(engine.end)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def serve(self, *, listening: Callable[[], object] | None = None) -> None:
        """Runs it in the loop of the caller, until `stop()`, or until the task is cancelled.

        Args:
            listening: called once it listens.

        Raises:
            InvalidOption: the port is taken, or the address or the store cannot be used.
            GearmanException: it runs already, or its store cannot be written any longer.
        """
        if self._engine is not None:
            raise GearmanException(f"The job server {self.host} runs already. stop() it first.")
        engine = self._engine = _Engine(asyncio.get_running_loop(), self._store_path)
        try:
            listener = await self._listen(engine)
            try:
                self.port = listener.sockets[0].getsockname()[1]
                if listening is not None:
                    listening()
                await engine.ended
            finally:
                for sock in listener.sockets:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)  # a forked child may have it too
                listener.close()
        finally:
            await engine.close()
            self._engine = None

    async def _listen(self, engine: _Engine) -> asyncio.Server:
        try:
            return await engine.loop.create_server(
                lambda: _Peer(engine), self._address, self.port, backlog=_BACKLOG
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise InvalidOption(
                    f"The port {self.port} of {self._address} is taken: another server listens "
                    "there. Stop that one, or choose another port; 0 finds a free one."
                ) from error
            raise InvalidOption(
                f"Cannot listen on {self.host}: {error}. The address has to be one of this "
                "machine, such as 127.0.0.1."
            ) from error

    def _run(self, listening: Future[None]) -> None:
        try:
            asyncio.run(self.serve(listening=lambda: listening.set_result(None)))
        except BaseException as error:
            if not listening.done():
                listening.set_exception(error)
            else:
                logger.exception("The job server %s ended", self.host)


class _Engine:
    """One run of a job server: what its connections share."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, store: str | os.PathLike[str] | None
    ) -> None:
        self.loop = loop
        self.ended: asyncio.Future[None] = loop.create_future()
        # One for all: who receives takes out what it got before anybody else receives.
        self.received = memoryview(bytearray(_RECEIVE_BYTES))
        self._store = None if store is None else Store(store)
        # Part of it is new in every run: a client may ask for a handle of the run before.
        prefix = f"H:{socket.gethostname()[:_LONGEST_HOSTNAME]}-{secrets.token_hex(3)}"
        self._server = Server(
            prefix.encode(),
            version=f"gearmanny-{__version__}",
            pid=os.getpid(),
            journal=self._store,
        )
        for job in self._store.jobs() if self._store else ():
            self._server.restore(*job)
        self._peers: dict[Connection, _Peer] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self._set_alarm()

    def connect(self, peer: _Peer, number: int, address: str) -> Connection:
        """Returns what the job server knows of a peer."""
        connection = self._server.connect(number, address)
        self._peers[connection] = peer
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Takes notice that a peer is gone."""
        del self._peers[connection]
        self._server.disconnect(connection)
        self._send()

    def receive(self, peer: _Peer, data: bytes) -> None:
        """Passes on what arrived, and sends what that causes."""
        try:
            self._server.receive(peer.connection, data, time.time())
        except ProtocolError as error:
            address = peer.connection.address
            logger.warning(
                "closing a connection of %s: %s", address, error, extra={"action": "peer_refused"}
            )
            self._send(peer)
            peer.transport.close()
        except GearmanException as error:
            self.end(error)
        else:
            self._send(peer)

    def end(self, error: GearmanException | None = None) -> None:
        """Lets the run end, with an error where it cannot go on."""
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)

    async def close(self) -> None:
        """Ends all connections, and gives everything back."""
        self.ended.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        for peer in self._peers.values():
            peer.abort()
        while self._peers:
            await asyncio.sleep(0)
        if self._store is not None:
            self._store.close()

    def _send(self, source: _Peer | None = None) -> None:
        """Sends what there is to send. Whoever caused it waits for those who do not take it."""
        if self.ended.done():
            return
        if self._store is not None:
            try:
                self._store.commit()
            except GearmanException as error:
                # What was accepted is not kept: nobody may be told that it is.
                self.end(error)
                return
        ready = self._server.ready
        for connection in ready:
            peer = self._peers.get(connection)
            if peer is not None:
                peer.transport.write(connection.data_to_send())
                if peer.is_full and source is not None:
                    peer.hold(source)
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
        self._server.pass_time(time.time())
        self._send()


class _Peer(asyncio.BufferedProtocol):
    """One connection: the callbacks of its transport."""

    transport: asyncio.Transport
    connection: Connection

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self.is_full = False
        """Whether it does not take what is sent."""
        self._holds: set[_Peer] = set()
        """Those that are not read until it does."""
        self._held_by: set[_Peer] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(_UNSENT_BYTES)
        number = transport.get_extra_info("socket").fileno()
        address = transport.get_extra_info("peername")[0]
        self.connection = self._engine.connect(self, number, address)
        if self._engine.ended.done():
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()
        for holder in self._held_by:
            holder._holds.discard(self)
        self._engine.disconnect(self.connection)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._engine.received

    def buffer_updated(self, nbytes: int) -> None:
        self._engine.receive(self, self._engine.received[:nbytes].tobytes())

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        for held in self._holds:
            held._held_by.discard(self)
            if not held._held_by:
                held.transport.resume_reading()
        self._holds.clear()

    def hold(self, source: _Peer) -> None:
        """Lets a source of what we do not take wait until we do.

        Not ourselves: a client may send very much before it reads the first answer.
        """
        if source is not self:
            self._holds.add(source)
            source._held_by.add(self)
            source.transport.pause_reading()

    def abort(self) -> None:
        """Ends the connection at once, also where a forked child has it too."""
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.transport.abort()
