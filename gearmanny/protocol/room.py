"""The limit on the memory of a job server, and the refusal of requests that exceed it."""

from __future__ import annotations

import sys

_SPARE = 8 * 1024 * 1024
"""Bytes that must be free before more is stored: for everything else that the process does."""

_SPARE_SHARE = 4
"""A quarter of what is stored must be free, too: hash tables grow by allocating larger ones."""

_STEP = 1024 * 1024
"""Bytes that are stored between two checks of the free memory."""

_NO_MEMORY = b"The job server has no memory for more: it is full of jobs. Try again later"

UNLIMITED = sys.maxsize


class Refusal(Exception):
    """The job server refuses a request, with an ERROR packet."""

    def __init__(self, code: bytes, text: bytes) -> None:
        """
        Args:
            code: the code of the error, such as `b"QUEUE_ERROR"`.
            text: the reason.
        """
        super().__init__(code, text)
        self.code = code
        self.text = text


class Room:
    """The memory for jobs and names of functions.

    Requests that exceed the limit, or the memory that the process can get, are refused before
    anything of them is stored.
    """

    def __init__(self, limit: int = UNLIMITED) -> None:
        """
        Args:
            limit: the limit in bytes.
        """
        self.limit = limit
        self.taken = 0
        """Bytes in use."""
        self._granted = 0

    def take(self, size: int) -> None:
        """Reserves memory.

        Args:
            size: its size in bytes.

        Raises:
            Refusal: there is not enough memory.
        """
        taken = self.taken + size
        if taken > self._granted:
            self._check(taken)
        self.taken = taken

    def give_back(self, size: int) -> None:
        """Releases memory.

        Args:
            size: its size in bytes.
        """
        self.taken -= size

    def _check(self, taken: int) -> None:
        if taken <= self.limit:
            try:
                bytearray(max(_SPARE, taken // _SPARE_SHARE))
            except MemoryError:
                pass
            else:
                self._granted = min(taken + _STEP, self.limit)
                return
        raise Refusal(b"QUEUE_ERROR", _NO_MEMORY)
