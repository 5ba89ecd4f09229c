"""Connecting to a host with several addresses: none of them can use up the time of all."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque

from gearmanny.net.deadline import Deadline
from gearmanny.net.forks import keep_from_children
from gearmanny.net.polling import Poller
from gearmanny.net.resolving import Address

_NEXT_AFTER = 0.25
"""Seconds after which the next address is tried beside those that do not answer. RFC 8305 calls it
the Connection Attempt Delay."""


def pace(addresses: int, deadline: Deadline) -> float:
    """Returns the seconds from one attempt to the next, so that the last one has time, too.

    Args:
        addresses: how many there are.
        deadline: when to give up.
    """
    left = deadline.remaining()
    return _NEXT_AFTER if left is None else min(_NEXT_AFTER, left / (addresses + 1))


def connect_to_any(addresses: list[Address], deadline: Deadline) -> socket.socket:
    """Returns a socket that is connected to the first address that answers. It does not block.

    Args:
        addresses: in the order in which they are tried.
        deadline: when to give up.

    Raises:
        OSError: none answered in time; the error of the first one, if there is one.
    """
    race = _Race(addresses, deadline)
    try:
        winner = race.run()
        race.sockets.remove(winner)
        return winner
    finally:
        for sock in race.sockets:
            sock.close()


class _Race:
    """Attempts at several addresses."""

    def __init__(self, addresses: list[Address], deadline: Deadline) -> None:
        self.sockets: list[socket.socket] = []
        self._left = deque(addresses)
        self._deadline = deadline
        self._pace = pace(len(addresses), deadline)
        self._poller = Poller()
        self._running: dict[int, socket.socket] = {}
        self._failure: OSError | None = None

    def run(self) -> socket.socket:
        while self._left or self._running:
            if self._left and (sock := self._start(self._left.popleft())):
                return sock
            if self._running and (sock := self._wait()):
                return sock
            if self._deadline.has_passed():
                raise TimeoutError("timed out")
        raise self._failure or OSError("it has no address")

    def _start(self, address: Address) -> socket.socket | None:
        try:
            # Kept before it is connected, because another thread may fork meanwhile.
            sock = keep_from_children(socket.socket(address.family, socket.SOCK_STREAM))
        except OSError as error:  # a family that this system does not have
            self._failure = self._failure or error
            return None
        self.sockets.append(sock)
        sock.setblocking(False)
        number = sock.connect_ex(address.address)
        if number == 0:
            return sock
        if number == errno.EINPROGRESS:
            self._running[self._poller.add(sock, to_write=True)] = sock
        else:
            self._fail(number)
        return None

    def _wait(self) -> socket.socket | None:
        """Waits until an attempt ends, or the next one is due."""
        wait = self._deadline.within(self._pace if self._left else None).remaining()
        for descriptor in self._poller.wait(wait):
            self._poller.remove(descriptor)
            sock = self._running.pop(descriptor)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number == 0:
                return sock
            self._fail(number)
        return None

    def _fail(self, number: int) -> None:
        self._failure = self._failure or OSError(number, os.strerror(number))
