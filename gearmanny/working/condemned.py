"""The jobs that are failed instead of run, because they have killed too many processes.

In memory that a runner shares with its processes: the runner writes, the processes read it before
each job. As long as it is empty, a look costs as much as reading one number.
"""

from __future__ import annotations

import hashlib
import mmap
import struct

_COUNT = struct.Struct("<Q")
_ENTRY = struct.Struct("<16sH")
_ENTRY_SIZE = 512
_ENTRIES = 128
_LONGEST = _ENTRY_SIZE - _ENTRY.size


class CondemnedJobs:
    """A ring of the last jobs that were condemned. Made before the fork, and written by one
    process alone."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNT.size + _ENTRIES * _ENTRY_SIZE)
        self._known = 0
        self._reasons: dict[bytes, str] = {}

    def add(self, host: str, handle: str, reason: str) -> None:
        """Condemns a job.

        Args:
            host: the job server that it came from.
            handle: its handle.
            reason: how the processes ended that ran it: what its caller is given.
        """
        (count,) = _COUNT.unpack_from(self._memory)
        position = _COUNT.size + count % _ENTRIES * _ENTRY_SIZE
        text = reason.encode()[:_LONGEST]
        self._memory[position + _ENTRY.size : position + _ENTRY.size + len(text)] = text
        _ENTRY.pack_into(self._memory, position, _digest(host, handle), len(text))
        _COUNT.pack_into(self._memory, 0, count + 1)  # last: what is counted is complete

    def reason(self, host: str, handle: str) -> str | None:
        """Returns why a job is not to be run; None for one that is."""
        (count,) = _COUNT.unpack_from(self._memory)
        if not count:
            return None
        if count != self._known:
            self._read(count)
        return self._reasons.get(_digest(host, handle))

    def close(self) -> None:
        """Gives the memory back."""
        self._memory.close()

    def _read(self, count: int) -> None:
        self._reasons.clear()
        for number in range(min(count, _ENTRIES)):
            position = _COUNT.size + number * _ENTRY_SIZE
            digest, length = _ENTRY.unpack_from(self._memory, position)
            position += _ENTRY.size
            text = self._memory[position : position + length]
            self._reasons[digest] = text.decode(errors="replace")
        self._known = count


def _digest(host: str, handle: str) -> bytes:
    return hashlib.blake2b(f"{host}\0{handle}".encode(errors="replace"), digest_size=16).digest()
