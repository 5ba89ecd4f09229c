"""Telling a peer that has vanished from one that pauses.

The kernel sends probes on a silent connection, and ends it when nothing answers them. It sends none
while data of ours is not acknowledged; for that there is TCP_USER_TIMEOUT. But this also counts the
time for which the peer does not read and its window is closed, although Linux goes on to ask it and
is answered. So the option is set only while all that we sent fits into any window. Beyond that,
whoever waits looks every few seconds whether the peer still acknowledges anything.
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
"""A peer that vanished is noticed after 15 + 3 * 5 seconds of silence. The
kernel's own default is two hours, during which a worker looks alive and takes
nothing."""

_GONE_AFTER = _KEEPALIVE_IDLE + _KEEPALIVE_PROBES * _KEEPALIVE_INTERVAL
"""Seconds without a sign of life although it was asked for one."""

_FITS_ANY_WINDOW = 16 * 1024
"""Bytes. A peer that does not read takes these nevertheless."""

LOOK_EVERY = 10.0
"""Seconds between two looks of who waits."""

_INFO = struct.Struct("=BBBBBBBB24I")
"""The beginning of Linux's `struct tcp_info`."""
_RETRANSMITS, _PROBES, _LAST_ACK_RECEIVED = 2, 3, 8 + 12


def notice_vanishing(sock: socket.socket) -> None:
    """Has a TCP connection end when its peer has vanished, and send without waiting for more."""
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
    """Watches for the peer of one connection, which `notice_vanishing` was applied to."""

    def __init__(self) -> None:
        self._unheard = 0
        """Bytes sent since the peer was heard last."""

    def sending(self, descriptor: int, size: int) -> None:
        """Takes notice of bytes that are about to be sent."""
        before, self._unheard = self._unheard, self._unheard + size
        if before <= _FITS_ANY_WINDOW < self._unheard:
            with _plain(descriptor) as sock:
                _limit_silence(sock, 0)

    def heard(self, descriptor: int) -> None:
        """Takes notice that the peer has sent something."""
        before, self._unheard = self._unheard, 0
        if before > _FITS_ANY_WINDOW:
            with _plain(descriptor) as sock:
                _limit_silence(sock, _GONE_AFTER)

    def has_vanished(self, descriptor: int) -> bool:
        """Returns whether the peer answers nothing any longer. Where the kernel does not tell, it
        answers until the kernel ends the connection."""
        if self._unheard <= _FITS_ANY_WINDOW or not hasattr(socket, "TCP_INFO"):
            return False
        with _plain(descriptor) as sock:
            info = _INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
        # One probe may just be under way: a peer that pauses answers it.
        asked = info[_RETRANSMITS] > 0 or info[_PROBES] > 1
        return asked and bool(info[_LAST_ACK_RECEIVED] > 1000 * _GONE_AFTER)


def _limit_silence(sock: socket.socket, seconds: int) -> None:
    """Sets for how long what was sent may stay unacknowledged; 0 for what the kernel thinks."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * seconds)


@contextlib.contextmanager
def _plain(descriptor: int) -> Iterator[socket.socket]:
    """Lends the plain socket below a connection, which may be one of TLS."""
    if descriptor < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()
