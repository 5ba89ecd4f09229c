"""Large texts in JSON, apart from the rest of their value: copied as rarely as possible.

A copy of many MiB costs memory, and more time than JSON itself: the kernel gives its pages one by
one. So a mark takes the place of each large text while the rest is written, read or checked, and a
text is checked in pieces that stay in the cache of the processor. Large texts are found at the top
of a value, and in a dict or a list there; all else is written and read as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

__all__ = ["LARGE", "is_written", "read", "set_apart"]

LARGE = 2**18
"""Characters, or bytes, of the shortest large text."""

_FEW_ITEMS = 16
"""Items of a dict or a list in which large texts are looked for."""

_PIECE = 2**15
"""Characters of a large text that are checked at once."""

_MARK = "\0 a large text"
"""Takes the place of a large text. A text like it costs time and nothing else."""

_QUOTE, _BACKSLASH = b'"', b"\\"


def set_apart(value: Any) -> tuple[Any, list[str]]:
    """Sets the large texts of a value apart.

    Args:
        value: the value.

    Returns:
        The value, or a copy of it that has a mark in place of each large text; and these texts.
    """
    kind = type(value)
    if kind is str:
        return (value, []) if len(value) < LARGE else (_MARK, [value])
    if (kind is not dict and kind is not list) or len(value) > _FEW_ITEMS:
        return value, []
    for item in value.values() if kind is dict else value:
        if type(item) is str and len(item) >= LARGE:
            break
    else:
        return value, []
    rest, texts = value.copy(), []
    for key, item in value.items() if kind is dict else enumerate(value):
        if type(item) is str and len(item) >= LARGE:
            rest[key] = _MARK
            texts.append(item)
    return rest, texts


def is_written(value: Any, payload: bytes) -> bool:
    """Returns whether orjson writes a value as a payload.

    Args:
        value: the value.
        payload: JSON in UTF-8.
    """
    rest, texts = set_apart(value)
    if not texts:
        return bool(orjson.dumps(value) == payload)
    first, *others = orjson.dumps(rest).split(orjson.dumps(_MARK))
    if len(others) != len(texts) or not payload.startswith(first):
        return False
    end = len(first)
    for text, after in zip(texts, others, strict=True):
        for piece in _written(text, after):
            if not payload.startswith(piece, end):
                return False
            end += len(piece)
    return end == len(payload)


def _written(text: str, after: bytes) -> Iterator[bytes]:
    """Yields what orjson writes of a text, in pieces, and what comes after it."""
    yield _QUOTE
    for start in range(0, len(text), _PIECE):
        yield orjson.dumps(text[start : start + _PIECE])[1:-1]
    yield _QUOTE + after


def read(payload: bytes) -> Any:
    """Returns the value of a payload; a wrong one if `is_written` denies it.

    Args:
        payload: JSON in UTF-8.

    Raises:
        ValueError: it is not JSON.
    """
    rest, texts = _cut_out(payload)
    if not texts:
        return orjson.loads(payload)
    value = orjson.loads(rest)
    if value == _MARK:
        return texts[0]
    # With a mark in it, it is a dict or a list; the mark may be deeper.
    places = value.items() if type(value) is dict else enumerate(value)
    marked = [key for key, item in places if item == _MARK]
    if len(marked) != len(texts):
        return orjson.loads(payload)
    for key, text in zip(marked, texts, strict=True):
        value[key] = text
    return value


def _cut_out(payload: bytes) -> tuple[bytes, list[str]]:
    """Returns a payload that has a mark in place of each large text, and these texts; none if there
    are escapes, which need a parser."""
    kept, texts, start = [], [], 0
    opening = payload.find(_QUOTE)
    for _ in range(2 * _FEW_ITEMS):
        closing = payload.find(_QUOTE, opening + 1)
        if opening < 0 or closing < 0:
            break
        if payload.find(_BACKSLASH, opening, closing) >= 0:
            return payload, []
        if closing - opening > LARGE:
            kept.append(payload[start:opening])
            texts.append(str(memoryview(payload)[opening + 1 : closing], "utf-8"))
            start = closing + 1
        opening = payload.find(_QUOTE, closing + 1)
    if not texts:
        return payload, []
    return orjson.dumps(_MARK).join([*kept, payload[start:]]), texts
