"""What stands between us and a gearmand that knows no TLS: certificates, and a proxy that does."""

from __future__ import annotations

import contextlib
import datetime
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import trustme

from tests.support.servers import PATIENCE

_CHUNK = 256 * 1024


class Authority:
    """Signs certificates, and knows the files that they are in."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def context(
        self,
        *names: str,
        expired: bool = False,
        wants_certificate: bool = False,
        version: ssl.TLSVersion | None = None,
    ) -> ssl.SSLContext:
        """Returns what a server with a certificate for these names needs."""
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        issued = self._ca.issue_cert(*names, not_after=yesterday if expired else None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        if wants_certificate:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        if version is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")  # without this no server speaks an old one
            context.minimum_version = context.maximum_version = version
        return context

    def client_files(self) -> dict[str, str]:
        """Returns the option `tls` of a client with a certificate of its own."""
        issued = self._ca.issue_cert("client.example")
        cert, key = self._folder / "client.pem", self._folder / "client.key"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        return {"ca": self.file, "cert": str(cert), "key": str(key)}


class Proxy:
    """Ends TLS, and passes on what comes, as it is, to a server and back."""

    def __init__(
        self, listener: socket.socket, backend: tuple[str, int], context: ssl.SSLContext | None
    ) -> None:
        """Args: context: None passes on plain connections."""
        self.received = b""
        """The first bytes of the last connection, before anybody makes sense of them."""
        self._listener = listener
        self._backend = backend
        self._context = context
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def host(self) -> str:
        """The address as clients and workers take it."""
        address = self._listener.getsockname()
        if self._listener.family == socket.AF_UNIX:
            return f"unix:{address}"
        name = f"[{address[0]}]" if self._listener.family == socket.AF_INET6 else address[0]
        return f"{name}:{address[1]}"

    def named(self, name: str) -> str:
        """The same address by another name."""
        return f"{name}:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Ends all connections, without a goodbye."""
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the proxy did not stop"

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.add(sock)
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            stack.enter_context(contextlib.suppress(OSError))
            sock.settimeout(PATIENCE)
            self.received = sock.recv(1000, socket.MSG_PEEK)
            if self._context is not None:
                # As strict as a proxy may be: what ends without a goodbye is not passed on.
                raw, sock = (
                    sock,
                    self._context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False),
                )
                self._open.discard(raw)
                self._open.add(sock)
                stack.callback(sock.close)
            server = stack.enter_context(socket.create_connection(self._backend))
            self._open.add(server)
            for end in (sock, server):
                if end.family != socket.AF_UNIX:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _relay(sock, server)
        self._open.discard(sock)


def _relay(client: socket.socket, server: socket.socket) -> None:
    """Passes bytes both ways in one thread: two would use one TLS connection at once."""
    ways = {client: (server, bytearray()), server: (client, bytearray())}
    for sock in ways:
        sock.setblocking(False)
    ended: set[socket.socket] = set()
    while len(ended) < 2 or any(unsent for _, unsent in ways.values()):
        readable = [s for s, (_, unsent) in ways.items() if s not in ended and len(unsent) < _CHUNK]
        writable = [to for to, unsent in ways.values() if unsent]
        pending = [s for s in readable if isinstance(s, ssl.SSLSocket) and s.pending()]
        ready, _, _ = select.select(readable, writable, [], 0 if pending else PATIENCE * 3)
        for sock in {*ready, *pending}:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                data = sock.recv(_CHUNK)
                ways[sock][1].extend(data)
                if not data:
                    ended.add(sock)
        for sock, (to, unsent) in ways.items():
            if unsent:
                with contextlib.suppress(
                    BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError
                ):
                    del unsent[: to.send(memoryview(bytes(unsent)))]
            if sock in ended and not unsent:
                if sock is client:
                    socket.socket.shutdown(server, socket.SHUT_WR)
                else:
                    return


@contextlib.contextmanager
def proxy(
    port: int,
    context: ssl.SSLContext | None = None,
    *,
    address: str | tuple[str, int] = ("127.0.0.1", 0),
) -> Iterator[Proxy]:
    """Runs a proxy in front of a port of loopback; `address` may be the path of a unix socket."""
    if isinstance(address, str):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        listener = socket.create_server(address, family=family)
    running = Proxy(listener, ("127.0.0.1", port), context)
    try:
        yield running
    finally:
        running.close()
        if isinstance(address, str):
            os.unlink(address)
