"""A proxy in front of a job server: it listens anywhere, ends TLS, and harms its connections."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Iterator

from tools.processes import PATIENCE

_CHUNK = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
"""A linger of 0 seconds: a socket that is closed resets its connection."""


class Proxy:
    """Passes on connections to a job server, unchanged, until it is told to harm them."""

    def __init__(self, listener: socket.socket, port: int, context: ssl.SSLContext | None) -> None:
        """
        Args:
            listener: accepts the connections.
            port: that of the job server, on loopback.
            context: ends the TLS of those who connect; None for plain connections.
        """
        self.received = b""
        """The first bytes of the last connection, before TLS is made of them."""
        self.accepted = 0
        """Connections that were made so far."""
        self.delay = 0.0
        """Seconds for which every piece is held back."""
        self.delay_next: tuple[bytes, float] | None = None
        """Bytes, and the seconds for which the next piece that contains them is held back."""
        self.closed = threading.Event()
        self._listener = listener
        self._address = listener.getsockname()
        self._port = port
        self._context = context
        self._connections: set[_Connection] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """The address as clients and workers take it."""
        if isinstance(self._address, str):
            return f"unix:{self._address}"
        name = self._address[0]
        return self.named(f"[{name}]" if ":" in name else name)

    def named(self, name: str) -> str:
        """Returns the same address by another name."""
        return f"{name}:{self._address[1]}"

    @property
    def open(self) -> int:
        """Connections that have not ended."""
        return len(self._connections)

    def drop(self) -> None:
        """Resets all connections; new ones work."""
        for connection in list(self._connections):
            connection.end(reset=True)

    def half_close(self) -> None:
        """Ends the direction from the server in all connections; new ones work."""
        for connection in list(self._connections):
            _shut(connection.client, socket.SHUT_WR)

    def swallow(self) -> None:
        """Lets nothing but ends arrive any more on all connections; new ones work."""
        for connection in list(self._connections):
            connection.swallows = True

    def hold_back(self, piece: bytes) -> None:
        """Waits before a piece is passed on, as long as it is to be held back."""
        delay, following = self.delay, self.delay_next
        if following is not None and following[0] in piece:
            self.delay_next = None
            delay += following[1]
        if delay:
            self.closed.wait(delay)

    def refuse(self) -> None:
        """Takes no new connections; those that are there go on."""
        _shut(self._listener, socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def close(self) -> None:
        """Ends everything; waits for its threads."""
        self.closed.set()
        self.refuse()
        for connection in list(self._connections):
            connection.end()
            connection.thread.join(PATIENCE)
            assert not connection.thread.is_alive(), "the proxy did not stop"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.accepted += 1
                connection = _Connection(self, sock)
                self._connections.add(connection)
                connection.thread.start()

    def serve(self, connection: _Connection) -> None:
        """Runs in the thread of the connection until it has ended."""
        with connection.client as raw, contextlib.suppress(OSError):
            raw.settimeout(PATIENCE)
            self.received = raw.recv(1000, socket.MSG_PEEK)
            if self._context is not None:
                # As strict as a proxy may be: what ends without a goodbye is not passed on.
                connection.client = self._context.wrap_socket(
                    raw, server_side=True, suppress_ragged_eofs=False
                )
            with (
                connection.client,
                socket.create_connection(("127.0.0.1", self._port)) as connection.server,
            ):
                connection.relay()
        self._connections.discard(connection)


class _Connection:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.swallows = False
        self.thread = threading.Thread(target=proxy.serve, args=(self,), daemon=True)
        self._proxy = proxy

    def end(self, *, reset: bool = False) -> None:
        """Ends both directions, without a goodbye of TLS."""
        for sock in (self.client, self.server):
            if sock is not None:
                if reset:
                    with contextlib.suppress(OSError):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                _shut(sock, socket.SHUT_RDWR)

    def relay(self) -> None:
        """Passes bytes both ways in one thread: two would use one TLS connection at once."""
        client, server = self.client, self.server
        assert server is not None
        ways = {client: (server, bytearray()), server: (client, bytearray())}
        for sock in ways:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ended: set[socket.socket] = set()
        while len(ended) < 2 or any(unsent for _, unsent in ways.values()):
            readable = [
                s for s, (_, unsent) in ways.items() if s not in ended and len(unsent) < _CHUNK
            ]
            writable = [to for to, unsent in ways.values() if unsent]
            pending = [s for s in readable if isinstance(s, ssl.SSLSocket) and s.pending()]
            for sock in {*_ready(readable, writable, 0 if pending else PATIENCE * 3), *pending}:
                with _not_yet():
                    data = sock.recv(_CHUNK)
                    self._proxy.hold_back(data)
                    if not self.swallows:
                        ways[sock][1].extend(data)
                    if not data:
                        ended.add(sock)
            for sock, (to, unsent) in ways.items():
                if unsent:
                    with _not_yet():
                        del unsent[: to.send(memoryview(bytes(unsent)))]
                if sock in ended and not unsent:
                    if sock is server:
                        return
                    _shut(server, socket.SHUT_WR)


def _ready(
    readable: list[socket.socket], writable: list[socket.socket], timeout: float
) -> list[socket.socket]:
    """Waits for sockets, whatever their descriptors; returns those that can be read."""
    with selectors.DefaultSelector() as selector:
        for sock in {*readable, *writable}:
            events = selectors.EVENT_READ if sock in readable else 0
            selector.register(sock, events | (selectors.EVENT_WRITE if sock in writable else 0))
        ready = selector.select(timeout)
    return [key.fileobj for key, events in ready if events & selectors.EVENT_READ]  # type: ignore[misc]


def _not_yet() -> contextlib.AbstractContextManager[None]:
    """Passes over what says that a socket which does not block has to wait."""
    return contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def _shut(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, how)  # of an SSLSocket, too, without a goodbye


@contextlib.contextmanager
def proxy(
    port: int,
    context: ssl.SSLContext | None = None,
    *,
    address: str | tuple[str, int] = ("127.0.0.1", 0),
) -> Iterator[Proxy]:
    """Runs a proxy in front of a port of loopback.

    Args:
        port: that of the job server.
        context: ends the TLS of those who connect; None for plain connections.
        address: to listen on; the path of a Unix socket, or a name and a port.
    """
    if isinstance(address, str):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        listener = socket.create_server(address, family=family)
    running = Proxy(listener, port, context)
    try:
        yield running
    finally:
        running.close()
        if isinstance(address, str):
            os.unlink(address)
