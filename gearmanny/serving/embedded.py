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
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from gearmanny.errors import GearmanException, InvalidOption
from gearmanny.net.forks import keep_from_children
from gearmanny.net.hosts import Host
from gearmanny.payload.checks import ADDRESS, PORT_OR_ANY
from gearmanny.serving.loop import Peer, ServerLoop

__all__ = ["JobServer"]

logger = logging.getLogger("gearmanny.server")

_BACKLOG = 512
"""Connections that may wait to be accepted."""


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
            InvalidOption: the port, the address or the store cannot be.
        """
        PORT_OR_ANY.check("port", port)
        ADDRESS.check("address", address)
        if store is not None and (not isinstance(store, str | os.PathLike) or not os.fspath(store)):
            raise InvalidOption(f"A store is the path of a file, not {store!r}.")
        self.port = port
        self._address = address
        self._store_path = store
        self._thread: threading.Thread | None = None
        self._running: ServerLoop | None = None

    @property
    def host(self) -> str:
        """What clients and workers take as one of their hosts, `"127.0.0.1:4730"`.

        Raises:
            GearmanException: it was to choose a port of its own, and was not started yet.
        """
        if not self.port:
            raise GearmanException("The job server has no port yet. start() it first.")
        return str(Host(self._address, self.port))

    def start(self) -> None:
        """Starts it in a thread of its own. Returns when it listens.

        Raises:
            InvalidOption: the port is taken, or the address or the store cannot be used.
            GearmanException: it runs already.
        """
        listening: Future[None] = Future()
        thread = threading.Thread(
            target=self._run, args=[listening], name="gearmanny.embedded.JobServer", daemon=True
        )
        try:
            thread.start()
            error = listening.exception()
        except BaseException:  # a Ctrl-C: there is nobody to stop what starts
            if not listening.cancel() and listening.exception() is None:
                self.stop()
            raise
        if error is not None:
            thread.join()
            raise error
        self._thread = thread

    def stop(self) -> None:
        """Ends it, from any thread; all its connections end. Does nothing where it does not run.

        Returns when it has ended, unless it runs in a loop that was there before: then `serve()`
        returns soon.
        """
        running, thread = self._running, self._thread
        if running is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended by itself
                running.loop.call_soon_threadsafe(running.end)
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
        if self._running is not None:
            raise GearmanException("The job server runs already. stop() it first.")
        running = self._running = ServerLoop(asyncio.get_running_loop(), self._store_path)
        try:
            listener = await self._listen(running)
            ports = [keep_from_children(_Port(sock)) for sock in listener.sockets]
            try:
                self.port = listener.sockets[0].getsockname()[1]
                if listening is not None:
                    listening()
                await running.ended
            finally:
                await _close(listener)
                ports.clear()
        finally:
            try:
                await running.close()
            finally:
                self._running = None

    async def _listen(self, running: ServerLoop) -> asyncio.Server:
        try:
            return await running.loop.create_server(
                lambda: Peer(running), self._address, self.port, backlog=_BACKLOG
            )
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise InvalidOption(
                    f"The port {self.port} of {self._address} is taken: another server listens "
                    "there. Stop that one, or choose another port; 0 finds a free one."
                ) from error
            raise InvalidOption(
                f"Cannot listen on {self._address}: {error}. The address has to be one of this "
                "machine, such as 127.0.0.1, and a port below 1024 may be for root alone."
            ) from error

    def _run(self, listening: Future[None]) -> None:
        try:
            asyncio.run(self.serve(listening=lambda: listening.set_result(None)))
        except BaseException as error:
            if not listening.done():
                listening.set_exception(error)
            elif not listening.cancelled():
                logger.exception("The job server %s ended", self.host)


class _Port:
    """The descriptor of a socket of asyncio's, which cannot be referred to weakly itself."""

    def __init__(self, sock: socket.socket) -> None:
        self.fileno = sock.fileno


async def _close(listener: asyncio.Server) -> None:
    """Ends a listener, and lets those that it has just accepted arrive, so that they are told: of
    who has no transport yet, asyncio would lose sight and leave the connection open."""
    try:
        for sock in listener.sockets:
            listener.get_loop().remove_reader(sock)
        for _ in ("its transport is made", "connection_made() is called"):
            await asyncio.sleep(0)
    finally:
        for sock in listener.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # a forked child may have it too
        listener.close()
