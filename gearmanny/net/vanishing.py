"""Detection of peers that have vanished, as opposed to peers that pause.

The kernel sends keepalive probes on a silent connection, and ends it if they are not answered. It
sends none while sent data is unacknowledged; TCP_USER_TIMEOUT limits that. But this limit also
includes the time during which the peer does not read and its window is closed, although it answers
the window probes of Linux. So the option is set only while everything sent fits into any window.
Beyond that, waiting threads check every few seconds whether the peer still acknowledges anything.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator

_KEEPALIVE_IDLE = 15
_KEEPALIVE_INTERVAL = 5
_KEEPALIVE_PROBES = 3
"""A peer that vanished is detected after 15 + 3 * 5 seconds of silence. The kernel's
default is two hours, during which a worker seems to be running but gets no jobs."""

_GONE_AFTER = _KEEPALIVE_IDLE + _KEEPALIVE_PROBES * _KEEPALIVE_INTERVAL
"""Seconds without an answer to probes after which a peer has vanished."""

_FITS_ANY_WINDOW = 16 * 1024
"""Bytes that the kernel of a peer accepts even if the peer does not read."""

LOOK_EVERY = 10.0
"""Seconds between two checks while waiting."""

VANISHED = "the peer has vanished: it acknowledges nothing any more"
"""The reason why a connection was ended then."""

_INFO = struct.Struct("=BBBBBBBB24I")
"""The beginning of Linux's `struct tcp_info`."""
_RETRANSMITS, _PROBES, _LAST_ACK_RECEIVED = 2, 3, 8 + 12


def notice_vanishing(sock: socket.socket) -> None:
    """Makes a TCP connection end if its peer vanishes, and send small packets without delay.

    Args:
        sock: the socket.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    _limit_silence(sock, _GONE_AFTER)


class Vigil:
    """Checks whether the peer of a connection has vanished.

    Apply `notice_vanishing` to its socket first.
    """

    def __init__(self) -> None:
        self._unheard = 0
        """Bytes sent since the peer last sent something."""

    @property
    def is_due(self) -> bool:
        """Whether to check every `LOOK_EVERY` seconds, because the kernel does not."""
        return self._unheard > _FITS_ANY_WINDOW

    def sending(self, descriptor: int, size: int) -> None:
        """Must be called before bytes are sent.

        Args:
            descriptor: the descriptor of the socket.
            size: the number of bytes.
        """
        before, self._unheard = self._unheard, self._unheard + size
        if before <= _FITS_ANY_WINDOW < self._unheard:
            with _plain(descriptor) as sock:
                _limit_silence(sock, 0)

    def heard(self, descriptor: int) -> None:
        """Must be called after bytes were received.

        Args:
            descriptor: the descriptor of the socket.
        """
        before, self._unheard = self._unheard, 0
        if before > _FITS_ANY_WINDOW:
            with _plain(descriptor) as sock:
                _limit_silence(sock, _GONE_AFTER)

    def has_vanished(self, descriptor: int) -> bool:
        """Returns whether the peer has stopped answering; False where the kernel cannot tell.

        Args:
            descriptor: the descriptor of the socket.
        """
        if not self.is_due or not hasattr(socket, "TCP_INFO"):
            return False
        with _plain(descriptor) as sock:
            info = _INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
        # The answer to a single probe may still be on its way.
        asked = info[_RETRANSMITS] > 0 or info[_PROBES] > 1
        return asked and bool(info[_LAST_ACK_RECEIVED] > 1000 * _GONE_AFTER)


def _limit_silence(sock: socket.socket, seconds: int) -> None:
    """Limits how long sent data may stay unacknowledged; 0 sets the default of the kernel."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * seconds)


@contextlib.contextmanager
def _plain(descriptor: int) -> Iterator[socket.socket]:
    """Yields the plain socket of a connection, which may use TLS."""
    if descriptor < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()
