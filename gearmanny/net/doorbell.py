"""Waking a thread of another process of this machine, which has to know nothing but a name.

Linux has names of sockets that are in no folder, and vanish with their process. Elsewhere nobody
can ring, and the thread wakes by itself after a while.
"""

from __future__ import annotations

import contextlib
import socket
import sys

from gearmanny.net.forks import keep_from_children
from gearmanny.net.polling import Poller, Waker


class Doorbell:
    """A wait of one thread, which other threads and processes can end.

    Attributes:
        is_over: whether there is nothing more to wait for.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._waker = Waker()
        self._poller = Poller()
        self._poller.add(self._waker)
        self._socket: socket.socket | None = None

    def answer_to(self, name: str) -> None:
        """Lets other processes ring, unless they can already. A name that is in use is left alone.

        Args:
            name: is told to them.
        """
        if self._socket is not None or sys.platform != "linux":
            return
        bell = keep_from_children(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        try:
            bell.setblocking(False)
            bell.bind(_address(name))
            self._poller.add(bell)
        except OSError:
            bell.close()
        else:
            self._socket = bell

    def wait(self, timeout: float) -> None:
        """Waits until somebody rings.

        Args:
            timeout: seconds to wait at most.
        """
        self._poller.wait(timeout)
        self._waker.clear()
        if self._socket is not None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._socket.recv(1)

    def ring(self) -> None:
        """Ends the current or the next wait. For any thread of this process."""
        self._waker.wake()

    def end(self) -> None:
        """Ends the wait for good. For any thread of this process."""
        self.is_over = True
        self._waker.wake()

    def close(self) -> None:
        """Closes the sockets."""
        self._waker.close()
        if self._socket is not None:
            self._socket.close()


def ring(name: str) -> None:
    """Ends the current or the next wait of a process of this machine, if it is there.

    Args:
        name: what it answers to.
    """
    if sys.platform == "linux":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
            bell.setblocking(False)
            with contextlib.suppress(OSError):  # it is on another machine, or was rung often
                bell.sendto(b"\0", _address(name))


def _address(name: str) -> str:
    return f"\0gearmanny/{name}"
