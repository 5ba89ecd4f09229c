"""The jobs that are not run as others are, because processes died that ran them: some are failed
instead, others run alone.

In memory that a runner shares with its processes: the runner writes, the processes read it before
each job. As long as it is empty, a look costs as much as reading one number.
"""

from __future__ import annotations

import hashlib
import mmap
import struct

from gearmanny.working.jobtable import ROWS, RunningJob

_COUNT = struct.Struct("<Q")
_ENTRY = struct.Struct("<16sH")
_ENTRY_SIZE = 512
_ENTRIES = 2 * ROWS
_LONGEST = _ENTRY_SIZE - _ENTRY.size


class CondemnedJobs:
    """A ring of the last jobs that were judged. Made before the fork, and written by one process
    alone."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNT.size + _ENTRIES * _ENTRY_SIZE)
        self._known = 0
        self._verdicts: dict[bytes, str] = {}

    def __bool__(self) -> bool:
        """Returns whether any job was judged."""
        return self._memory[: _COUNT.size] != _NONE

    def add(self, job: RunningJob, verdict: str) -> None:
        """Judges a job.

        Args:
            job: the job.
            verdict: how the processes ended that ran it: what its caller is given. Empty if it is
                to run alone.
        """
        (count,) = _COUNT.unpack_from(self._memory)
        position = _COUNT.size + count % _ENTRIES * _ENTRY_SIZE
        text = verdict.encode()[:_LONGEST]
        self._memory[position + _ENTRY.size : position + _ENTRY.size + len(text)] = text
        _ENTRY.pack_into(self._memory, position, _digest(job), len(text))
        _COUNT.pack_into(self._memory, 0, count + 1)  # last: what is counted is complete

    def verdict(self, job: RunningJob) -> str | None:
        """Returns the last verdict on a job; None if there is none.

        Args:
            job: the job.
        """
        (count,) = _COUNT.unpack_from(self._memory)
        if count != self._known:
            self._read(count)
        return self._verdicts.get(_digest(job))

    def close(self) -> None:
        """Gives the memory back."""
        self._memory.close()

    def _read(self, count: int) -> None:
        self._verdicts.clear()
        for number in range(max(0, count - _ENTRIES), count):  # the last verdict on a job counts
            position = _COUNT.size + number % _ENTRIES * _ENTRY_SIZE
            digest, length = _ENTRY.unpack_from(self._memory, position)
            position += _ENTRY.size
            text = self._memory[position : position + length]
            self._verdicts[digest] = text.decode(errors="replace")
        self._known = count


_NONE = _COUNT.pack(0)


def _digest(job: RunningJob) -> bytes:
    return hashlib.blake2b("\0".join(job).encode(errors="replace"), digest_size=16).digest()
