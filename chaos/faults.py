"""A TCP proxy that does to a connection what networks do, to see what happens then."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator

from tools.processes import until


class Proxy:
    """Forwards connections to a port of loopback, and harms them on demand."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = "127.0.0.1:%d" % self._server.getsockname()[1]
        self.accepted = 0
        """Connections that were made so far."""
        self.delay = 0.0
        """Seconds for which every piece is held back."""
        self._swallowed: set[socket.socket] = set()
        self._ended = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def open(self) -> int:
        """Directions that are open still, two for each connection; 0 when all have ended."""
        return sum(thread.is_alive() for thread in self._threads[1:])

    def drop(self) -> None:
        """Resets all connections; new ones work."""
        for pair in self._take_pairs():
            for sock in pair:
                # Linger 0: the peers see a reset, not an orderly end.
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    sock.shutdown(socket.SHUT_RDWR)

    def half_close(self) -> None:
        """Ends the direction from the server in all connections; new ones work."""
        for client, _ in self._take_pairs():
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)

    def swallow(self) -> None:
        """Lets nothing but ends arrive any more on all connections; new ones work."""
        self._swallowed.update(sock for pair in self._take_pairs() for sock in pair)

    def refuse(self) -> None:
        """Takes no new connections; those that are there go on."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def close(self) -> None:
        """Ends everything; waits for its threads."""
        self._ended.set()
        self.refuse()
        for sock in (*itertools.chain(*self._take_pairs()), *self._swallowed):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        until(lambda: not any(thread.is_alive() for thread in self._threads), "the proxy ending")

    def _take_pairs(self) -> list[tuple[socket.socket, socket.socket]]:
        pairs, self._pairs = self._pairs, []
        return pairs

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._pairs.append((client, server))
            ends = _Ends(client, server)
            self._start(self._forward, client, server, ends)
            self._start(self._forward, server, client, ends)

    def _forward(self, source: socket.socket, target: socket.socket, ends: _Ends) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.delay:
                    self._ended.wait(self.delay)
                if target not in self._swallowed:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        ends.leave()


class _Ends:
    """Closes both sockets of a connection once both directions have ended."""

    def __init__(self, *sockets: socket.socket) -> None:
        self._sockets = sockets
        self._lock = threading.Lock()
        self._left = 0

    def leave(self) -> None:
        with self._lock:
            self._left += 1
            if self._left == len(self._sockets):
                for sock in self._sockets:
                    sock.close()


@contextlib.contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """Runs a proxy to a port of loopback."""
    made = Proxy(port)
    try:
        yield made
    finally:
        made.close()
