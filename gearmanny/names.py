"""Names of Gearman functions, as they may travel."""

from __future__ import annotations

import functools

from gearmanny.errors import InvalidTask

LONGEST_FUNCTION_NAME = 512
"""Bytes. libgearman refuses longer names, and so would every client made with it."""


@functools.lru_cache(maxsize=1024)
def check_function_name(name: str) -> bytes:
    """Returns the name of a Gearman function as it travels.

    Raises:
        InvalidTask: it is empty, over 512 bytes, or holds white space or control
            characters: those cut packets (NUL) or the server's own listings apart.
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise InvalidTask(f"The name {name!r} cannot be written in UTF-8.") from None
    if not encoded or len(encoded) > LONGEST_FUNCTION_NAME:
        raise InvalidTask(
            f"The name {name[:40]!r} has {len(encoded)} bytes; a function of Gearman "
            f"has 1 to {LONGEST_FUNCTION_NAME}."
        )
    if not name.isprintable() or " " in name:
        raise InvalidTask(
            f"The name {name!r} holds white space or control characters. "
            "Use letters, digits, dots, dashes and underscores."
        )
    return encoded
