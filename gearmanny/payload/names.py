"""Names of Gearman functions, and unique ids of jobs, as they may travel."""

from __future__ import annotations

import functools

from gearmanny.errors import InvalidOption, InvalidTask

LONGEST_FUNCTION_NAME = 512
"""Bytes. libgearman refuses longer names, and so would every client made with it."""


LONGEST_UNIQUE = 63
"""Bytes. Of 64 gearmand 1.1.20 keeps 63, and delivers a payload that begins with a NUL."""


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


def check_packed_name(function: bytes) -> None:
    """Raises InvalidTask when the name of a function would cut its packet in two, or is too long.

    For names that need not be text: those of other libraries.
    """
    if b"\0" in function or len(function) > LONGEST_FUNCTION_NAME:
        raise InvalidTask(
            f"The name {function[:40]!r} has {len(function)} bytes; a function of Gearman has up "
            f"to {LONGEST_FUNCTION_NAME}, and no NUL among them."
        )


def check_unique(unique: bytes) -> None:
    """Raises InvalidOption when a job server cannot keep the unique id of a job as it is."""
    if b"\0" in unique or len(unique) > LONGEST_UNIQUE:
        raise InvalidOption(
            f"The unique id {unique[:40]!r} has {len(unique)} bytes; a job has up to "
            f"{LONGEST_UNIQUE}, and no NUL among them. Use a hash of what is longer."
        )


_FOREGROUND = b"f:"
_BACKGROUND = b"b:"
"""Begin the unique ids that are made of a user's key. A foreground job that meets a background
one takes it along when its caller leaves (gearmand 1.1.20), so the two must never be equal."""

LONGEST_KEY = LONGEST_UNIQUE - len(_FOREGROUND)
"""Bytes of a user's key, which becomes a part of the unique id of its job."""


def unique_of_key(key: str, *, background: bool) -> bytes:
    """Returns the unique id that the jobs of a user's key have."""
    return (_BACKGROUND if background else _FOREGROUND) + key.encode()


def check_key(key: object) -> None:
    """Raises InvalidOption unless it is a key that unique ids can be made of."""
    if not isinstance(key, str) or not key:
        raise InvalidOption(f"unique is a text that is not empty, not {key!r}.")
    encoded = key.encode(errors="replace")
    if len(encoded) > LONGEST_KEY or not key.isprintable():
        raise InvalidOption(
            f"unique={key[:40]!r} has {len(encoded)} bytes; it may have {LONGEST_KEY}, and no "
            "control characters. Use a hash of what is longer."
        )
