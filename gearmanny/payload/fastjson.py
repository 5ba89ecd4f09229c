"""JSON by orjson, where it is installed and certain to do what `json` does.

orjson is many times faster, but it writes infinity as null, calls UUIDs and enums strings, reads
integers of more than 64 bits as floats, and keeps the last of several equal keys. So its answers
count only where a check that runs in C proves them; for all else the caller uses `json`. Large
texts are checked apart from the rest, in pieces (`largetexts.py`).
"""

from __future__ import annotations

import marshal
import mmap
import re
from typing import Any, Final

try:
    import orjson

    from gearmanny.payload import largetexts
except ImportError:
    orjson = None  # type: ignore[assignment]

__all__ = ["UNDECIDED", "decode", "encode", "is_available"]


class _Undecided:
    """The type of `UNDECIDED`."""


UNDECIDED: Final = _Undecided()
"""The value of a payload that `json` has to decode."""

_MARSHAL_VERSION = 2
"""Refuses objects whose type is not exactly one of the builtin ones, and writes floats as `g` and
8 bytes, without references to equal ones before."""

_FLOAT = b"g"
"""Precedes each float in what marshal writes; texts and other numbers may contain it."""

_NOT_FINITE = re.compile(rb"g.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)
"""A NaN or an infinity in what marshal writes; texts may look the same."""

_EXPONENT = re.compile(rb"e-?[1-9][0-9]*(?:[],}]|\Z)")
"""A number that orjson may write in another way than Python: 1e-7 for 1e-07, and in older releases
1e16 for 1e+16. Texts may look the same."""

_FEW_BYTES = 2048
"""Bytes of a payload for which there is always enough memory."""

_SPARE = 2**20
"""Bytes besides, for its stack and the arenas of Python."""

_MEMORY_OF_TEXT = {True: 16, False: 72}
"""Bytes that orjson may need for each character of a text that is ASCII, or is not: it reserves up
to 16 for each byte in UTF-8, and has a copy of those of the latter."""

_MEMORY = 64
"""Bytes that orjson may need for each byte of a payload, or of what marshal writes: it reserves as
much for each item of a list, and `[],` becomes a list in a list."""


def is_available() -> bool:
    """Returns whether orjson is installed."""
    return orjson is not None


if orjson is not None:
    _OPTIONS = (
        orjson.OPT_PASSTHROUGH_SUBCLASS
        | orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
    )


def encode(value: Any) -> bytes | None:
    """Encodes a value.

    Args:
        value: the value.

    Returns:
        The same JSON as that of `json` without spaces, in UTF-8; None where `json` has to encode
        it, or to refuse it.
    """
    try:
        rest, texts = largetexts.set_apart(value)
        guard = marshal.dumps(rest, _MARSHAL_VERSION)
        if (texts or len(guard) > _FEW_BYTES) and not _is_memory_for(len(guard), texts):
            return None
        payload: bytes = orjson.dumps(value, option=_OPTIONS)
        written = orjson.dumps(rest, option=_OPTIONS) if texts else payload
    except (ValueError, TypeError):
        return None
    if _FLOAT in guard and _differs(guard, written):
        return None
    return payload


def decode(payload: bytes) -> Any:
    """Decodes a payload.

    Args:
        payload: JSON in UTF-8.

    Returns:
        The same value as that of `json`; `UNDECIDED` where `json` has to decode it, or to refuse
        it: also where it is written in another way than `encode` writes it.
    """
    size = len(payload)
    if size > _FEW_BYTES and not _is_memory_for(size):
        return UNDECIDED
    try:
        if size < largetexts.LARGE:
            value = orjson.loads(payload)
            return value if orjson.dumps(value) == payload else UNDECIDED
        value = largetexts.read(payload)
        return value if largetexts.is_written(value, payload) else UNDECIDED
    except (ValueError, TypeError):
        return UNDECIDED


def _differs(guard: bytes, payload: bytes) -> bool:
    """Returns whether orjson may have written a float in another way than `json`.

    Args:
        guard: the value as marshal writes it.
        payload: the value as orjson writes it.
    """
    if b"null" in payload and _NOT_FINITE.search(guard):
        return True
    return _has_small_float(payload) or _EXPONENT.search(payload) is not None


def _has_small_float(payload: bytes) -> bool:
    """Returns whether there is a number as orjson writes it and Python does not: 0.00001 rather
    than 1e-05. Texts may look the same."""
    at = payload.find(b"0.0000")
    while at >= 0 and payload[at - 1 : at].isdigit():
        at = payload.find(b"0.0000", at + 1)
    return at >= 0


def _is_memory_for(size: int, texts: list[str] | None = None) -> bool:
    """Returns whether there is memory for a payload, and for large texts besides: orjson crashes
    where an allocation fails."""
    for_texts = sum(len(text) * _MEMORY_OF_TEXT[text.isascii()] for text in texts or ())
    try:
        # No page of it is touched.
        trial = size * _MEMORY + for_texts + _SPARE
        mmap.mmap(-1, trial, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, OverflowError):
        return False
    return True
