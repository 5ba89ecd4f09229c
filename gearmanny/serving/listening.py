"""The sockets on which a job server listens, and the connections that they accept.

asyncio's own servers are not used: if the process may open no more files, they try 512 times in a
row, and log a traceback each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from functools import partial

from gearmanny.net.forks import keep_from_children

logger = logging.getLogger("gearmanny.server")

_BACKLOG = 512
"""Number of connections that may wait to be accepted."""

_ACCEPTED_AT_ONCE = 64
"""Number of connections to accept before existing ones get their turn."""

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_PAUSE = 1.0
"""Seconds until the next attempt if a connection could not be accepted."""

_TOLD_EVERY = 60.0
"""Seconds between two log messages about it."""


class Listener:
    """Accepts connections until it is closed."""

    def __init__(
        self, sockets: list[socket.socket], make_protocol: Callable[[str], asyncio.BaseProtocol]
    ) -> None:
        """
        Args:
            sockets: the listening sockets, as returned by `bind`.
            make_protocol: called with the address of the peer for each new connection; returns its
                protocol. The socket itself no longer knows the address after a reset.
        """
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._make_protocol = make_protocol
        self._arriving: set[asyncio.Task[object]] = set()
        self._told_at: float | None = None
        self._closed = False
        for sock in sockets:
            self._loop.add_reader(sock, self._accept, sock)

    async def close(self) -> None:
        """Stops accepting, and returns when all accepted connections have their protocols."""
        self._closed = True
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # a forked child may have it too
            sock.close()
        while self._arriving:
            await asyncio.sleep(0)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, (address, *_) = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._pause(listening, error)
                return
            accepted.setblocking(False)
            # asyncio does so only for sockets that it has created itself.
            with contextlib.suppress(OSError):  # reset already
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(
                self._loop.connect_accepted_socket(partial(self._make_protocol, address), accepted)
            )
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        self._loop.remove_reader(listening)
        self._loop.call_later(_PAUSE, self._resume, listening)
        now = self._loop.time()
        if self._told_at is None or now - self._told_at > _TOLD_EVERY:
            self._told_at = now
            logger.warning(
                "no new connection can be accepted until one ends: %s. Raise the limit of open "
                "files (ulimit -n).",
                error.strerror,
                extra={"action": "server_full"},
            )

    def _resume(self, listening: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listening, self._accept, listening)


async def bind(address: str, port: int) -> list[socket.socket]:
    """Returns sockets that listen on all addresses of a name, on the same port.

    Args:
        address: an address of this machine, or a host name.
        port: the port; 0 for any free one.

    Raises:
        OSError: the port is taken, or the address is not one of this machine.
        UnicodeError: the host name is invalid.
    """
    try:  # an address needs no thread to look it up, which would stay alive
        found = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(address, port, type=socket.SOCK_STREAM)
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, *_, (name, number, *scope) in found:
        try:
            # All addresses of a name use the port that was found for the first one.
            chosen = sockets[0].getsockname()[1] if sockets else number
            sock = socket.create_server((name, chosen, *scope), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # IPv6 may be disabled
                for opened in sockets:
                    opened.close()
                raise
            failure = error
        else:
            sock.setblocking(False)
            sockets.append(keep_from_children(sock))
    if not sockets:
        raise failure or OSError("the host name has no address")
    return sockets


def warn_of_strangers(sockets: list[socket.socket]) -> None:
    """Logs a warning if other machines can connect.

    Args:
        sockets: the listening sockets.
    """
    addresses = [sock.getsockname()[0] for sock in sockets]
    open_to_others = [a for a in addresses if not ipaddress.ip_address(a).is_loopback]
    if open_to_others:
        logger.warning(
            "listening on %s: there is no authentication, so anyone who can reach that address can "
            "submit jobs, read and cancel those of others, and act as a worker. Use a firewall to "
            "admit only your own machines, or listen on 127.0.0.1.",
            ", ".join(open_to_others),
            extra={"action": "listening_openly"},
        )
