"""Waiting for sockets: which of them has something, and how to interrupt the wait.

A process that sleeps is woken late: by tens of microseconds on bare metal, by
hundreds where its core is virtual. A job server answers sooner than that. So
where the last wait was a short one, the next begins with a look, and only
sleeps when that was in vain: kernels wait in the same way for a virtual core
(Linux, "guest halt polling"). The core is offered to whoever else can run, look by look.
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
"""Seconds of looking before a wait sleeps. One that turns out longer is the last to look, until
there was a shorter one: so nobody pays for long waits with more than a single look."""

_LONGEST_POLL = 2**31 - 1
"""Milliseconds, as a C int."""

_END = getattr(select, "POLLRDHUP", 0)

_let_others_run = getattr(os, "sched_yield", lambda: None)


class HasDescriptor(Protocol):
    """What can be waited for."""

    def fileno(self) -> int: ...


class Poller:
    """Waits for several sockets at once."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._looks = False

    def add(self, waited_for: HasDescriptor, *, to_write: bool = False) -> int:
        """Starts to wait until a socket can be read, or written; an end of the connection counts.

        Returns:
            The descriptor by which `wait` names it.
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
        """Stops waiting for a socket."""
        self._poll.unregister(descriptor)

    def wait(self, timeout: float | None) -> list[int]:
        """Returns the descriptors that were ready within the seconds given; None waits for ever."""
        if timeout == 0:
            ready = self._poll.poll(0)
        else:
            begun = time.monotonic()
            ready = self._look(begun + _LOOK) if self._looks else []
            if not ready:
                # Rounded up: poll(0) until the last fraction of a millisecond would burn a core.
                ready = self._poll.poll(timeout and min(math.ceil(timeout * 1000), _LONGEST_POLL))
            self._looks = time.monotonic() - begun < _LOOK
        return [descriptor for descriptor, _ in ready]

    def _look(self, until: float) -> list[tuple[int, int]]:
        while not (ready := self._poll.poll(0)) and time.monotonic() < until:
            _let_others_run()
        return ready


def has_ended(waited_for: HasDescriptor) -> bool:
    """Returns whether the peer ended a connection, also when there is more to read before that.

    Where the system does not tell (POLLRDHUP is Linux's), only a reset is known.
    """
    poll = select.poll()
    poll.register(waited_for.fileno(), _END)
    return bool(poll.poll(0))


class Waker:
    """Interrupts a `Poller.wait`. `wake()` may be called from a signal handler or any thread."""

    def __init__(self) -> None:
        self._receiver, self._sender = map(keep_from_children, socket.socketpair())
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        """Returns the descriptor that is readable once `wake()` was called."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """Lets the current or the next wait return at once."""
        with contextlib.suppress(OSError):  # full or closed: either way nobody needs this byte
            self._sender.send(b"\0")

    def clear(self) -> None:
        """Forgets earlier calls of `wake()`."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)

    def close(self) -> None:
        """Gives both sockets back."""
        self._receiver.close()
        self._sender.close()
