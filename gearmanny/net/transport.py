"""A connection to a job server, with keepalive, and with gearmanny's errors.

Its socket never blocks. Callers wait with a timeout before they use it
(`Connection.wait`, `Poller.wait`), so every timeout is honoured.
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
from gearmanny.net.racing import connect_to_any
from gearmanny.net.resolving import UNREACHABLE, resolve
from gearmanny.net.tls import TLS, TLSSocket
from gearmanny.net.vanishing import LOOK_EVERY, VANISHED, Vigil, notice_vanishing

_RECEIVE_BYTES = 256 * 1024


class Connection:
    """A connection to a job server. Created by `connect()`."""

    def __init__(self, sock: socket.socket | TLSSocket, host: Host, tls: TLS | None = None) -> None:
        self.host = host
        self.tls = tls
        """The TLS settings with which to reconnect; None for a plain connection."""
        self._socket = sock
        self._readable = Poller()
        self._readable.add(sock)
        # Kept: the kernel would map and unmap a new one for every receive.
        self._received = memoryview(bytearray(_RECEIVE_BYTES))
        self._gone = ""
        """The reason why it was ended on this side; empty if it was not."""
        # None for a Unix socket: its peer cannot vanish.
        self._vigil = Vigil() if host.port else None
        self._heard = False
        """Whether anything was received on this connection."""

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 if it is closed."""
        return self._socket.fileno()

    def send(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """Sends all of the data.

        Args:
            data: the bytes.
            deadline: when to give up.

        Raises:
            JobServerLost: the connection ended, or the deadline passed. Part of the data may have
                been sent: do not use the connection any more.
        """
        sent = self.send_some(data)
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:], deadline)

    def send_some(self, data: bytes | memoryview) -> int:
        """Sends what the peer takes at once. The rest has to be sent next.

        Args:
            data: the bytes.

        Returns:
            How many bytes were sent; 0 if the peer takes none at the moment.

        Raises:
            JobServerLost: the connection ended.
        """
        try:
            if self._vigil is not None:
                self._vigil.sending(self.fileno(), len(data))
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost(reason_of(error)) from error

    def _send_rest(self, unsent: memoryview, deadline: Deadline) -> None:
        writable = self._writable()
        while unsent:
            remaining = deadline.remaining()
            # A peer that takes little at a time is always ready for more.
            if not self._wait(writable, remaining) or remaining == 0:
                raise JobServerLost(str(self.host), "it does not take what is sent")
            unsent = unsent[self.send_some(unsent) :]

    def wait_to_send(self) -> None:
        """Waits until the peer takes something, or the connection has ended. A peer that pauses is
        waited for, and one that has vanished is not."""
        self._wait(self._writable(), None)

    def _writable(self) -> Poller:
        writable = Poller()
        writable.add(self._socket, to_write=True)
        return writable

    def receive(self) -> bytes | memoryview:
        """Receives the bytes that have arrived.

        Returns:
            The bytes, valid until the next call; empty if none have arrived.

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
        """Waits for data.

        Args:
            timeout: seconds to wait at most; None for no limit.

        Returns:
            Whether data arrived or the connection ended.
        """
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
                self._gone = VANISHED
                self.shutdown()  # so that threads that read or send notice

    def has_ended(self) -> bool:
        """Returns whether the peer is known to have ended the connection, without reading."""
        return has_ended(self)

    def finish(self, timeout: float) -> None:
        """Closes the connection after the peer has read everything that was sent.

        Closing a socket that has unread bytes resets the connection, and the peer may lose
        what it has not read yet: so the peer closes it first.

        Args:
            timeout: seconds to wait for the peer.
        """
        deadline = Deadline(timeout)
        with contextlib.suppress(OSError, JobServerLost):
            self._socket.shutdown(socket.SHUT_WR)
            while self.wait(deadline.remaining()) and not deadline.has_passed():
                self.receive()
        self.close()

    def shutdown(self) -> None:
        """Ends the connection, and wakes a thread that waits for it. Call `close()` afterwards."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the socket. In a forked child, the parent's connection stays open."""
        self._socket.close()

    def _lost(self, reason: str) -> JobServerLost:
        return lost(self.host, self.tls, self._gone or reason, heard=self._heard)


def connect(
    host: Host, timeout: float | None = CONNECT_TIMEOUT, *, tls: TLS | None = None
) -> Connection:
    """Connects to a job server.

    Args:
        host: the job server.
        timeout: seconds to wait at most, including the TLS handshake; None for no limit.
        tls: the TLS settings; None for a plain connection.

    Returns:
        The connection.

    Raises:
        JobServerUnavailable: the server could not be reached in time, or is not trusted.
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
    sock = connect_to_any(resolve(host, deadline), deadline)
    notice_vanishing(sock)
    return sock


def _connected(family: int, address: Any, timeout: float | None) -> socket.socket:
    # Before it is connected, because another thread may fork meanwhile.
    sock = keep_from_children(socket.socket(family))
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def lost(host: Host, tls: TLS | None, reason: str, *, heard: bool) -> JobServerLost:
    """Returns the error of a connection that ended.

    Args:
        host: the job server.
        tls: the TLS settings; None for a plain connection.
        reason: what ended it, as the middle of a sentence.
        heard: whether anything was received on it.
    """
    if tls is None and not heard:  # a server that expects TLS closes the connection silently
        reason += " before it sent anything; does it expect TLS?"
    return JobServerLost(str(host), reason)


def reason_of(error: Exception) -> str:
    """Returns the reason why a connection failed, as the middle of a sentence.

    Args:
        error: the error.
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{text[:1].lower()}{text[1:]}"
