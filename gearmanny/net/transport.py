"""One connection to one job server: made, kept alive, and OSError turned into ours.

Sockets never block. Whoever wants to wait, waits with a time limit first
(`Connection.wait`, `Poller.wait`), so that no call can hang for ever.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from gearmanny.errors import JobServerLost, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.forks import keep_from_children
from gearmanny.net.hosts import CONNECT_TIMEOUT, Host
from gearmanny.net.polling import Poller, has_ended
from gearmanny.net.tls import TLS, TLSSocket
from gearmanny.net.vanishing import LOOK_EVERY, Vigil, notice_vanishing

_RECEIVE_BYTES = 256 * 1024

UNREACHABLE = (OSError, UnicodeError)
"""What is raised when no connection can be made; the latter by a name that cannot be one."""


class Connection:
    """A connected socket to a job server. Made by `connect()`."""

    def __init__(self, sock: socket.socket | TLSSocket, host: Host, tls: TLS | None = None) -> None:
        self.host = host
        self.tls = tls
        """How the same job server is reached again."""
        self._socket = sock
        self._readable = Poller()
        self._readable.add(sock)
        # Kept: a new one for every receive would be mapped and unmapped by the kernel each time.
        self._received = memoryview(bytearray(_RECEIVE_BYTES))
        self._gone = ""
        """Why we ended it ourselves."""
        # None where there is no network between.
        self._vigil = Vigil() if host.port else None
        self._heard = False
        """Whether the job server ever said anything."""

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 when it is closed."""
        return self._socket.fileno()

    def send(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """Sends all of the data.

        Raises:
            JobServerLost: the connection ended, or the deadline passed; how much was sent is not
                known, so the connection cannot be used further.
        """
        try:
            if self._vigil is not None:
                self._vigil.sending(self.fileno(), len(data))
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._lost(reason_of(error)) from error
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:], deadline)

    def _send_rest(self, unsent: memoryview, deadline: Deadline) -> None:
        writable = Poller()
        writable.add(self._socket, to_write=True)
        while unsent:
            if not self._wait(writable, deadline.remaining()):
                raise JobServerLost(str(self.host), "it does not take what is sent")
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._lost(reason_of(error)) from error

    def receive(self) -> bytes | memoryview:
        """Returns what has arrived, until the next call; empty when that is nothing.

        Raises:
            JobServerLost: the connection ended.
        """
        try:
            size = self._socket.recv_into(self._received)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(reason_of(error)) from error
        if not size:
            raise self._lost("closed by the job server")
        self._heard = True
        if self._vigil is not None:
            self._vigil.heard(self.fileno())
        return self._received[:size]

    def wait(self, timeout: float | None) -> bool:
        """Returns whether something arrived, or the connection ended, within the seconds given."""
        return self._wait(self._readable, timeout)

    def _wait(self, poller: Poller, timeout: float | None) -> bool:
        if timeout is not None and timeout <= LOOK_EVERY:
            return bool(poller.wait(timeout))
        deadline = Deadline(timeout)
        while True:
            remaining = deadline.remaining()
            wait = LOOK_EVERY if remaining is None else min(remaining, LOOK_EVERY)
            if poller.wait(wait):
                return True
            if remaining is not None and remaining <= LOOK_EVERY:
                return False
            self._look_for_the_peer()

    def _look_for_the_peer(self) -> None:
        with contextlib.suppress(OSError):  # closed meanwhile
            if self._vigil is not None and self._vigil.has_vanished(self.fileno()):
                self._gone = "it has vanished: it acknowledges nothing any longer"
                self.shutdown()  # so that whoever reads, or sends, is told

    def has_ended(self) -> bool:
        """Returns whether the peer is known to have ended the connection, without reading."""
        return has_ended(self)

    def finish(self, timeout: float) -> None:
        """Closes the connection after the peer has taken in all that was sent.

        A socket closed with unread bytes in it resets the connection, and the peer
        may lose what it has not read yet: so the peer closes first.

        Args:
            timeout: seconds that the peer may take.
        """
        deadline = Deadline(timeout)
        with contextlib.suppress(OSError, JobServerLost):
            self._socket.shutdown(socket.SHUT_WR)
            while self.wait(deadline.remaining()):
                self.receive()
        self.close()

    def shutdown(self) -> None:
        """Ends the connection; a thread that waits for it wakes up. `close()` is still due."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the socket back. In a forked child, the parent's connection stays open."""
        self._socket.close()

    def _lost(self, reason: str) -> JobServerLost:
        return lost(self.host, self.tls, self._gone or reason, heard=self._heard)


def connect(
    host: Host, timeout: float | None = CONNECT_TIMEOUT, *, tls: TLS | None = None
) -> Connection:
    """Returns a new connection.

    Args:
        host: the job server.
        timeout: seconds after which it counts as unreachable, the handshake of TLS included.
        tls: how to secure it; None for a plain connection.

    Raises:
        JobServerUnavailable: it could not be reached in time, or is not to be trusted.
    """
    deadline = Deadline(timeout)
    try:
        sock = _open(host, deadline)
        if tls is not None:
            return Connection(tls.wrap(sock, host.server_name, deadline.remaining()), host, tls)
    except UNREACHABLE as error:
        raise JobServerUnavailable({str(host): reason_of(error)}) from error
    sock.setblocking(False)
    return Connection(sock, host)


def _open(host: Host, deadline: Deadline) -> socket.socket:
    if not host.port:
        return _connected(socket.AF_UNIX, host.name, deadline.remaining())
    failure: OSError | None = None
    found = socket.getaddrinfo(*host, type=socket.SOCK_STREAM)
    for tried, (family, *_, address) in enumerate(found):
        remaining = deadline.remaining()
        share = remaining and remaining / (len(found) - tried)
        try:
            sock = _connected(family, address, share)
        except OSError as error:
            failure = failure or error
        else:
            notice_vanishing(sock)
            return sock
    raise failure or OSError(f"{host.name} has no address")


def _connected(family: int, address: Any, timeout: float | None) -> socket.socket:
    # Before it is connected: another thread may fork meanwhile.
    sock = keep_from_children(socket.socket(family))
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def lost(host: Host, tls: TLS | None, reason: str, *, heard: bool) -> JobServerLost:
    """Returns the error of a connection that ended, whether or not the job server was heard."""
    if tls is None and not heard:  # a server that expects TLS leaves without a word
        reason += " before it said anything; does it expect TLS?"
    return JobServerLost(str(host), reason)


def reason_of(error: Exception) -> str:
    """Returns why a connection failed, as the middle of a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{text[:1].lower()}{text[1:]}"
