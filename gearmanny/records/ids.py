"""The ids of recorded jobs, and the unique id under which a job travels."""

from __future__ import annotations

import os
import re
import time
from contextvars import ContextVar
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gearmanny.errors import InvalidOption

_TRAVELLING = re.compile(rb"j:([0-9a-f]{8}):([0-9a-f]{32})\.([0-9]{1,10})")

_DIGITS = re.compile("-?".join(f"([0-9a-f]{{{digits}}})" for digits in (8, 4, 4, 4, 12)))


class Travelling(NamedTuple):
    """The unique id of a recorded job on the wire. It has at most 53 of the 63 bytes that
    gearmand keeps.

    The number of the hand-over belongs to it because a job server joins jobs with the same
    unique id: a job that is handed over again would join the lost one and never run.
    """

    store: str
    """The short id of the store: 8 hexadecimal digits."""
    id: str
    """The id of the record."""
    number: int
    """The number of the hand-over, 1 for the first."""

    def __bytes__(self) -> bytes:
        return f"j:{self.store}:{UUID(self.id).hex}.{self.number}".encode()


def parse_unique(unique: bytes) -> Travelling | None:
    """Returns what a unique id says of a recorded job; None when it is that of another job."""
    match = _TRAVELLING.fullmatch(unique)
    if match is None:
        return None
    store, id, number = match.groups()
    return Travelling(store.decode(), str(UUID(id.decode())), int(number))


running_unique: ContextVar[str] = ContextVar("gearmanny_running_unique", default="")
"""The unique id of the job that runs here: in this thread, or this coroutine, and what was started
from it. Those who submit jobs read it, and workers set it, which neither know the other."""


def running_id() -> str | None:
    """Returns the id of the record of the job that runs here; None where none runs, or it has
    none."""
    unique = running_unique.get()
    if not unique.startswith("j:"):
        return None
    found = parse_unique(unique.encode(errors="surrogateescape"))
    return None if found is None else found.id


_RANDOM_BITS = 80
"""Bits of an id behind the time at which it was made."""


def new_id() -> str:
    """Returns a new id: a UUID of version 7, which begins with the milliseconds since the epoch,
    so that new records stand together in the index."""
    head = time.time_ns() // 1_000_000 << _RANDOM_BITS
    tail = int.from_bytes(os.urandom(10), "big")
    value = head | tail
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(UUID(int=value & (1 << 128) - 1))


def first_id_of(moment: datetime) -> str:
    """Returns the smallest id that can be made at a moment, within a millisecond.

    Args:
        moment: with a time zone.
    """
    milliseconds = max(int(moment.timestamp() * 1000), 0)
    return str(UUID(int=milliseconds << _RANDOM_BITS))


def canonical(id: object) -> str:
    """Returns an id as it is written everywhere: 32 hexadecimal digits with four dashes.

    Args:
        id: a UUID, or its text, with or without dashes.

    Raises:
        InvalidOption: it is neither.
    """
    # Lists of records have thousands, and a UUID takes three times as long.
    parts = _DIGITS.fullmatch(id) if isinstance(id, str) else None
    if parts is not None:
        return "-".join(parts.groups())
    try:
        return str(id if isinstance(id, UUID) else UUID(hex=str(id)))
    except ValueError:
        raise InvalidOption(f"The id of a record is a UUID, not {id!r}.") from None
