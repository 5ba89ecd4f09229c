"""The Python stacks of a process, which it writes into a file without a name when it gets SIGUSR1.

The handler is written in C: it also works while C code keeps the GIL.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import signal
import tempfile

from gearmanny.net.forks import reset_in_children

SIGNAL = signal.SIGUSR1

WRITTEN_WITHIN = 0.5
"""Seconds in which a process writes its stacks."""

_LONGEST = 2**20
"""Bytes that are read of them."""


class Stacks:
    """The stacks of one process. Made before the fork, written by the child, read by the parent."""

    def __init__(self) -> None:
        self._file = _new_file()
        self._taken = 0
        """Bytes that `take` has returned."""

    def write_on_signal(self) -> None:
        """Has this process, the child, write its stacks when it gets the signal. Processes that it
        forks handle the signal as usual."""
        reset_in_children(SIGNAL)
        signal.signal(SIGNAL, signal.SIG_DFL)
        faulthandler.register(SIGNAL, self._file)
        os.register_at_fork(after_in_child=_unregister)

    def write(self) -> None:
        """Writes the stacks of this process."""
        faulthandler.dump_traceback(self._file)

    def take(self) -> str:
        """Returns what was written since; empty if nothing was."""
        # The file is never emptied: the process may write between reading and that.
        written = os.pread(self._file, _LONGEST, self._taken)
        self._taken += len(written)
        return written.decode(errors="replace")

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._file)


def _new_file() -> int:
    """Returns the descriptor of a file without a name, to which everything is appended."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("gearmanny stacks")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


def _unregister() -> None:
    with contextlib.suppress(ValueError):
        faulthandler.unregister(SIGNAL)
