"""Waiting for several sockets, and interrupting the wait.

A process that sleeps wakes up late: by tens of microseconds on bare metal, by
hundreds on a virtual core. A job server answers faster than that. So if the last
wait was short, the next one polls for a moment before it sleeps, as Linux does
for virtual cores ("guest halt polling"). Between polls, it yields the core to
other processes.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import time
from typing import Protocol

from gearmanny.net.forks import keep_from_children

_LOOK = 300e-6
"""Seconds of polling before a wait sleeps. After a wait that took longer, waits do not poll until
one was shorter again: so a series of long waits polls only once."""

_LONGEST_POLL = 2**31 - 1
"""Milliseconds: the largest C int."""

_END = getattr(select, "POLLRDHUP", 0)

_let_others_run = getattr(os, "sched_yield", lambda: None)


class HasDescriptor(Protocol):
    """An object with a descriptor to wait for."""

    def fileno(self) -> int:
        """Returns the descriptor."""


class Poller:
    """Waits for several sockets at once."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._looks = False

    def add(self, waited_for: HasDescriptor, *, to_write: bool = False) -> int:
        """Adds a socket. It becomes ready when it can be read or written, or its connection ends.

        Args:
            waited_for: the socket, or its owner.
            to_write: whether to wait until it can be written, not read.

        Returns:
            The descriptor, as returned by `wait`.
        """
        descriptor = waited_for.fileno()
        self._poll.register(descriptor, select.POLLOUT if to_write else select.POLLIN)
        return descriptor

    def add_end(self, waited_for: HasDescriptor) -> int:
        """Starts to wait until the peer ends a connection, whatever there is to read before that.

        Where the system does not tell (POLLRDHUP is Linux's), only a reset is known.

        Returns:
            The descriptor by which `wait` names it.
        """
        descriptor = waited_for.fileno()
        self._poll.register(descriptor, _END)
        return descriptor

    def remove(self, descriptor: int) -> None:
        """Removes a socket.

        Args:
            descriptor: its descriptor, as returned by `add`.
        """
        self._poll.unregister(descriptor)

    def wait(self, timeout: float | None) -> list[int]:
        """Waits until a socket is ready.

        Args:
            timeout: seconds to wait at most; None for no limit.

        Returns:
            The descriptors that are ready; empty after the timeout.
        """
        if timeout == 0:
            ready = self._poll.poll(0)
        else:
            begun = time.monotonic()
            ready = self._look(begun + _LOOK) if self._looks else []
            if not ready:
                # Rounded up: poll(0) during the last fraction of a millisecond would burn a core.
                ready = self._poll.poll(timeout and min(math.ceil(timeout * 1000), _LONGEST_POLL))
            self._looks = time.monotonic() - begun < _LOOK
        return [descriptor for descriptor, _ in ready]

    def _look(self, until: float) -> list[tuple[int, int]]:
        while not (ready := self._poll.poll(0)) and time.monotonic() < until:
            _let_others_run()
        return ready


def has_ended(waited_for: HasDescriptor) -> bool:
    """Returns whether the peer ended a connection, even if there are still bytes to read.

    Only Linux reports that (POLLRDHUP); other systems report only a reset.

    Args:
        waited_for: the connection.
    """
    poll = select.poll()
    poll.register(waited_for.fileno(), _END)
    return bool(poll.poll(0))


class Waker:
    """Interrupts `Poller.wait()`. `wake()` can be called from a signal handler or any thread."""

    def __init__(self) -> None:
        self._receiver, self._sender = map(keep_from_children, socket.socketpair())
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        """Returns the descriptor, which is readable after a call of `wake()`."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """Makes the current or the next wait return at once."""
        with contextlib.suppress(OSError):  # full or closed: the byte is not needed
            self._sender.send(b"\0")

    def clear(self) -> None:
        """Forgets earlier calls of `wake()`."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)

    def close(self) -> None:
        """Closes both sockets."""
        self._receiver.close()
        self._sender.close()
