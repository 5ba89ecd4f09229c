"""Answers as JSON, and in a document of MongoDB. Pure.

A document holds an answer as it is where BSON gives back exactly that, so that it can be queried.
Everything else is kept as JSON in a binary field.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from gearmanny.errors import EncodingError

MISSING = object()
"""Stands for an answer that cannot be read."""

_COMPRESSED_OVER = 64 * 1024
"""Bytes of JSON. Below that, decompressing costs more than it saves on the way."""

_DEEPEST = 80
"""Levels of lists and objects. A server refuses documents of more than a hundred."""

_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)

_JSON, _COMPRESSED, _DATA, _INT64S = "json", "zlib", "data", "int64"


def to_json(unique_name: str, value: Any, encoder: type[json.JSONEncoder]) -> str:
    """Returns an answer as JSON.

    Raises:
        EncodingError: it is not JSON.
    """
    try:
        return json.dumps(value, allow_nan=False, cls=encoder)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodingError(
            f"The answer of {unique_name!r} cannot be cached: it is not JSON ({error})."
        ) from error


def as_it_is(value: Any) -> dict[str, Any] | None:
    """Returns the fields for an answer that BSON gives back exactly; None for any other."""
    widths: set[bool] = set()
    if not _is_exact(value, _DEEPEST, widths):
        return None
    return {_DATA: value, _INT64S: True} if widths else {_DATA: value}


def as_json(text: str) -> dict[str, Any]:
    """Returns the fields for any answer, given as JSON."""
    raw = text.encode()
    if len(raw) <= _COMPRESSED_OVER:
        return {_JSON: raw}
    return {_JSON: zlib.compress(raw), _COMPRESSED: True}


def read(document: Mapping[str, Any]) -> Any:
    """Returns the answer in a document, `MISSING` where that cannot be read."""
    if _JSON not in document:
        value = document.get(_DATA, MISSING)
        return _plain(value) if _INT64S in document else value
    try:
        raw = document[_JSON]
        return json.loads(zlib.decompress(raw) if document.get(_COMPRESSED) else raw)
    except (TypeError, ValueError, RecursionError, zlib.error):
        return MISSING


def _is_exact(value: Any, depth: int, widths: set[bool]) -> bool:
    kind = type(value)
    if kind is str:
        return _is_unicode(value)
    if kind is int:
        if value not in _INT32:
            widths.add(True)
        return value in _INT64
    if kind is dict:
        return depth > 0 and all(
            _is_name(name) and _is_exact(inner, depth - 1, widths) for name, inner in value.items()
        )
    if kind is list:
        return depth > 0 and all(_is_exact(inner, depth - 1, widths) for inner in value)
    return True  # None, bool and float


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:  # a surrogate without its other half
        return False


def _is_name(name: str) -> bool:
    # Names with a dollar sign are operators and references, which a server or a driver may read.
    return not name.startswith("$") and "\0" not in name and _is_unicode(name)


def _plain(value: Any) -> Any:
    """Integers that a driver marks as 64 bits wide are those of a subclass."""
    kind = type(value)
    if kind is dict:
        return {name: _plain(inner) for name, inner in value.items()}
    if kind is list:
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, int) and kind is not bool else value
