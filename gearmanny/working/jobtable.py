"""The jobs that a process runs, in memory that its parent shares: it names them when they have
killed the process.

A row is written before its job begins, and erased when that is answered. Both are copies of a few
bytes, because every job pays for them.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

ROWS = 256
"""Jobs that can be named at a time. Rows that were never used take no memory."""
_HEADER = struct.Struct("<HHHH")
"""Lengths of the four fields of a row: all 0 in an empty one."""
_ROW_SIZE = 1024
_EMPTY = bytes(_HEADER.size)
_LONGEST = 240
"""Bytes of each field; the rest of a longer one is not kept."""


class RunningJob(NamedTuple):
    """A job as the table names it."""

    host: str
    """The job server that it came from."""
    function: str
    handle: str
    unique: str

    def __str__(self) -> str:
        unique = f", unique id {self.unique}" if self.unique else ""
        return f"{self.function} (handle {self.handle}{unique}, of {self.host})"


class JobTable:
    """The table of one process. Made before the fork, written by the child, read by the parent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, ROWS * _ROW_SIZE + 1)
        self._free = list(range(ROWS - 1, -1, -1))

    def begin(self, host: bytes, function: bytes, handle: bytes, unique: bytes) -> int | None:
        """Writes a job that is about to run.

        Args:
            host: the job server that it came from.
            function: the name of its function.
            handle: its handle.
            unique: its unique id; empty without one.

        Returns:
            The row, to be given to `end`. None when too many jobs run at a time to name them all.
        """
        if not self._free:
            return None
        row = self._free.pop()
        fields = [field[:_LONGEST] for field in (host, function, handle, unique)]
        start = row * _ROW_SIZE
        text = b"".join(fields)
        body = start + _HEADER.size
        self._memory[body : body + len(text)] = text
        _HEADER.pack_into(self._memory, start, *map(len, fields))
        return row

    def end(self, row: int | None) -> None:
        """Erases a job that is answered, or was given back."""
        if row is not None:
            _HEADER.pack_into(self._memory, row * _ROW_SIZE, 0, 0, 0, 0)
            self._free.append(row)

    def note_failure(self) -> None:
        """Writes that a job has failed, for good."""
        self._memory[ROWS * _ROW_SIZE] = 1

    @property
    def has_failure(self) -> bool:
        """Whether a job has failed."""
        return bool(self._memory[ROWS * _ROW_SIZE])

    def running(self) -> list[RunningJob]:
        """Returns the jobs that were begun and not ended."""
        return [job for row in range(ROWS) if (job := self.read(row)).handle]

    def is_empty(self) -> bool:
        """Returns whether no job runs."""
        starts = range(0, ROWS * _ROW_SIZE, _ROW_SIZE)
        return all(self._memory[start : start + _HEADER.size] == _EMPTY for start in starts)

    def read(self, row: int) -> RunningJob:
        """Returns the job in a row. Its fields are empty if there is none.

        Args:
            row: what `begin` returned.
        """
        position = row * _ROW_SIZE
        lengths = _HEADER.unpack_from(self._memory, position)
        position += _HEADER.size
        fields = []
        for length in lengths:
            field = self._memory[position : position + length]
            fields.append(field.decode(errors="backslashreplace"))
            position += length
        return RunningJob(*fields)

    def close(self) -> None:
        """Gives the memory back."""
        self._memory.close()
