"""A job server inside this process, for development, tests and single-machine use.

It serves clients and workers as gearmand does: to switch between the two, change
the hosts. It runs in a thread of its own, or in an event loop that is running.
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
from functools import partial
from typing import Self

from gearmanny.errors import GearmanException, InvalidOption
from gearmanny.net.hosts import Host
from gearmanny.net.permission import permission
from gearmanny.payload.checks import ADDRESS, MEMORY, PORT_OR_ANY
from gearmanny.serving.listening import Listener, bind, warn_of_strangers
from gearmanny.serving.loop import Peer, ServerLoop
from gearmanny.serving.memory import default_memory

__all__ = ["JobServer"]

logger = logging.getLogger("gearmanny.server")

_MIB = 1024 * 1024


class JobServer:
    """A job server on a port of this machine.

        with JobServer() as server:
            client = SimpleClient([server.host])

    It can be started again after it was stopped, and keeps its port.

    Attributes:
        port: the port it listens on; 0 until the first start if it is to choose a free one.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        address: str = "127.0.0.1",
        store: str | os.PathLike[str] | None = None,
        max_memory: int | None = None,
    ) -> None:
        """
        Args:
            port: the port to listen on; 0 chooses a free one.
            address: the address of this machine to listen on. There is no authentication:
                anyone who can reach the address can use the server.
            store: a file that keeps background jobs across restarts; without one, they are lost
                when the server stops.
            max_memory: MiB that jobs may take. New jobs that exceed it are refused with an ERROR
                (`QUEUE_ERROR`). Default: a quarter of the memory that this process can get.

        Raises:
            InvalidOption: the port, the address, the store or `max_memory` is invalid.
        """
        PORT_OR_ANY.check("port", port)
        ADDRESS.check("address", address)
        if store is not None and (not isinstance(store, str | os.PathLike) or not os.fspath(store)):
            raise InvalidOption(f"store must be the path of a file, not {store!r}.")
        self.port = port
        self._address = address
        self._store_path = store
        MEMORY.check("max_memory", max_memory, optional=True)
        self._max_memory = max_memory
        self._thread: threading.Thread | None = None
        self._running: ServerLoop | None = None

    @property
    def host(self) -> str:
        """The address to give to clients and workers, such as `"127.0.0.1:4730"`.

        Raises:
            GearmanException: the server is to choose a free port and has not been started yet.
        """
        if not self.port:
            raise GearmanException("The job server has no port yet. Call start() first.")
        return str(Host(self._address, self.port))

    def start(self) -> None:
        """Starts the server in a thread of its own, and returns when it accepts connections.

        Raises:
            InvalidOption: the port is taken, or the address or the store cannot be used.
            GearmanException: the server is running already.
        """
        listening: Future[None] = Future()
        thread = threading.Thread(
            target=self._run, args=[listening], name="gearmanny.embedded.JobServer", daemon=True
        )
        try:
            thread.start()
            error = listening.exception()
        except BaseException:  # a Ctrl-C: nobody else would stop what has just started
            if not listening.cancel() and listening.exception() is None:
                self.stop()
            raise
        if error is not None:
            thread.join()
            raise error
        self._thread = thread

    def stop(self) -> None:
        """Stops the server and closes all its connections. Does nothing if it is not running.

        Can be called from any thread. Returns when the server has stopped, unless it was started
        by `serve()`: then `serve()` returns soon.
        """
        running, thread = self._running, self._thread
        if running is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
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
        """Runs the server in the current event loop until `stop()` is called or the task cancelled.

        Args:
            listening: called without arguments as soon as the server accepts connections.

        Raises:
            InvalidOption: the port is taken, or the address or the store cannot be used.
            GearmanException: the server is running already.
        """
        if self._running is not None:
            raise GearmanException("The job server is already running. Call stop() first.")
        memory = default_memory() if self._max_memory is None else self._max_memory * _MIB
        running = ServerLoop(asyncio.get_running_loop(), self._store_path, memory)
        self._running = running
        try:
            sockets = await self._bind()
            self.port = sockets[0].getsockname()[1]
            listener = Listener(sockets, partial(Peer, running))
            try:
                permission.add_own(self.port)
                warn_of_strangers(sockets)
                if listening is not None:
                    listening()
                await running.ended
            finally:
                permission.remove_own(self.port)
                await listener.close()
        finally:
            try:
                await running.close()
            finally:
                self._running = None

    async def _bind(self) -> list[socket.socket]:
        try:
            return await bind(self._address, self.port)
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise InvalidOption(
                    f"Port {self.port} of {self._address} is in use by another server. Stop that "
                    "server, or choose another port; 0 finds a free one."
                ) from error
            raise InvalidOption(
                f"Cannot listen on {self._address}: {error}. Use an address of this machine, such "
                "as 127.0.0.1; a port below 1024 may require root."
            ) from error

    def _run(self, listening: Future[None]) -> None:
        try:
            asyncio.run(self.serve(listening=lambda: listening.set_result(None)))
        except BaseException as error:
            if not listening.done():
                listening.set_exception(error)
            elif not listening.cancelled():
                logger.exception("The job server %s ended", self.host)
