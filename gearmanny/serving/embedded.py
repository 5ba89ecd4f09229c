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
from functools import partial
from typing import Self

from gearmanny.errors import GearmanException, InvalidOption
from gearmanny.net.hosts import Host
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
        max_memory: int | None = None,
    ) -> None:
        """
        Args:
            port: where to listen; 0 for any port that is free.
            address: the address of this machine to listen on. There is no authentication:
                whoever can reach it can use it.
            store: a file that keeps background jobs over restarts; without one, they end with
                the server.
            max_memory: MiB that jobs may take. Further ones are refused until some are done, with
                an ERROR (`QUEUE_ERROR`). Default: a quarter of what this process can get.

        Raises:
            InvalidOption: the port, the address, the store or the limit cannot be.
        """
        PORT_OR_ANY.check("port", port)
        ADDRESS.check("address", address)
        if store is not None and (not isinstance(store, str | os.PathLike) or not os.fspath(store)):
            raise InvalidOption(f"A store is the path of a file, not {store!r}.")
        self.port = port
        self._address = address
        self._store_path = store
        MEMORY.check("max_memory", max_memory, optional=True)
        self._max_memory = max_memory
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
            GearmanException: it runs already.
        """
        if self._running is not None:
            raise GearmanException("The job server runs already. stop() it first.")
        memory = default_memory() if self._max_memory is None else self._max_memory * _MIB
        running = ServerLoop(asyncio.get_running_loop(), self._store_path, memory)
        self._running = running
        try:
            sockets = await self._bind()
            self.port = sockets[0].getsockname()[1]
            listener = Listener(sockets, partial(Peer, running))
            try:
                warn_of_strangers(sockets)
                if listening is not None:
                    listening()
                await running.ended
            finally:
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
