"""How much memory the jobs and the answers of a job server may take, and who goes over it."""

from __future__ import annotations

import sys

_SPARE = 8 * 1024 * 1024
"""Bytes that have to be free before more is kept: for everything else that the process does."""

_SPARE_SHARE = 4
"""One part in so many of what is kept has to be free too: tables grow by making larger ones."""

_STEP = 1024 * 1024
"""Bytes that are kept between two looks whether there are so many."""

_NO_MEMORY = b"The job server has no memory for more: it is full of jobs. Try again later"

UNLIMITED = sys.maxsize


class Refusal(Exception):
    """A request that the job server refuses, in the words of its ERROR packet."""

    def __init__(self, code: bytes, text: bytes) -> None:
        """
        Args:
            code: such as `b"QUEUE_ERROR"`.
            text: the reason.
        """
        super().__init__(code, text)
        self.code = code
        self.text = text


class Room:
    """The memory for jobs and names: what is over the limit, or over what the process can get, is
    refused before anything of it is kept."""

    def __init__(self, limit: int = UNLIMITED) -> None:
        """Args: limit: bytes."""
        self.limit = limit
        self.taken = 0
        """Bytes."""
        self._granted = 0

    def take(self, size: int) -> None:
        """Counts bytes that are about to be kept.

        Raises:
            Refusal: there is no room for them.
        """
        taken = self.taken + size
        if taken > self._granted:
            self._look(taken)
        self.taken = taken

    def give_back(self, size: int) -> None:
        """Counts bytes that are no longer kept."""
        self.taken -= size

    def _look(self, taken: int) -> None:
        if taken <= self.limit:
            try:
                bytearray(max(_SPARE, taken // _SPARE_SHARE))
            except MemoryError:
                pass
            else:
                self._granted = min(taken + _STEP, self.limit)
                return
        raise Refusal(b"QUEUE_ERROR", _NO_MEMORY)
