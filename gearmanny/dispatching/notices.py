"""Notices of the ends of processes, from a runner to its dispatcher, through a pipe.

The runner never waits: a notice that finds no room is lost, and the dispatcher finds out a little
later. When the runner closes the pipe, the dispatcher ends.
"""

from __future__ import annotations

import contextlib
import os
import struct

from gearmanny.net.forks import keep_from_children

_NOTICE = struct.Struct("<i?")
"""A process id, and whether the end was ordered. So short, it is written whole or not at all."""


class _End:
    """One end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Returns the descriptor; -1 once it is closed."""
        return self._descriptor

    def close(self) -> None:
        """Closes it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Sender(_End):
    """The end of the runner."""

    def send(self, pid: int, *, ordered: bool) -> None:
        """Tells that a process has ended.

        Args:
            pid: its id.
            ordered: whether it was told to end, so that no job is to blame.
        """
        with contextlib.suppress(OSError):  # it is full, or the dispatcher is about to be replaced
            os.write(self._descriptor, _NOTICE.pack(pid, ordered))


class Receiver(_End):
    """The end of the dispatcher.

    Attributes:
        is_closed: whether the runner has closed the pipe.
    """

    is_closed = False

    def receive(self) -> dict[int, bool]:
        """Returns the processes that have ended, and whether that was ordered."""
        ended: dict[int, bool] = {}
        while True:
            try:
                data = os.read(self._descriptor, 1024 * _NOTICE.size)
            except BlockingIOError:
                return ended
            if not data:
                self.is_closed = True
                return ended
            ended.update(_NOTICE.iter_unpack(data))


def pipe() -> tuple[Receiver, Sender]:
    """Returns both ends of a new pipe. Other processes than the dispatcher do not get the end of
    the runner."""
    receiver, sender = os.pipe()
    return Receiver(receiver), keep_from_children(Sender(sender))
