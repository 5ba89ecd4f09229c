"""Names of Gearman functions and unique ids of jobs, checked and encoded."""

from __future__ import annotations

import functools
from contextvars import ContextVar

from gearmanny.errors import InvalidOption, InvalidTask

LONGEST_FUNCTION_NAME = 512
"""Bytes. libgearman, and every client built on it, refuses longer names."""

LONGEST_UNIQUE = 63
"""Bytes. gearmand 1.1.20 cuts 64 bytes to 63, and puts a NUL before the payload."""

served_here: ContextVar[frozenset[str]] = ContextVar("gearmanny_served_here", default=frozenset())
"""The functions whose jobs this thread runs, one at a time: in a task, those that cannot run
before it has ended."""


@functools.lru_cache(maxsize=1024)
def check_function_name(name: str) -> bytes:
    """Checks and encodes the name of a Gearman function.

    Args:
        name: the name.

    Returns:
        The name in UTF-8.

    Raises:
        InvalidTask: it is not a string, is empty, longer than 512 bytes, or contains whitespace or
            control characters, which would break packets or the listings of the job server.
    """
    if not isinstance(name, str):
        raise InvalidTask(
            'A Gearman function is called by its name, a string such as "myworker_add", not by '
            f"{name!r}."
        )
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise InvalidTask(f"The name {name!r} cannot be encoded in UTF-8.") from None
    if not encoded or len(encoded) > LONGEST_FUNCTION_NAME:
        raise InvalidTask(
            f"The name {name[:40]!r} has {len(encoded)} bytes; the name of a Gearman function "
            f"has 1 to {LONGEST_FUNCTION_NAME}."
        )
    if not name.isprintable() or " " in name:
        raise InvalidTask(
            f"The name {name!r} contains whitespace or control characters. "
            "Use letters, digits, dots, dashes and underscores."
        )
    return encoded


def check_packed_name(function: bytes) -> None:
    """Checks an encoded name, which may be one of another library and not text.

    Args:
        function: the name.

    Raises:
        InvalidTask: it contains a NUL, or is longer than 512 bytes.
    """
    if b"\0" in function or len(function) > LONGEST_FUNCTION_NAME:
        raise InvalidTask(
            f"The name {function[:40]!r} has {len(function)} bytes; the name of a Gearman function "
            f"has at most {LONGEST_FUNCTION_NAME}, and no NUL."
        )


def check_unique(unique: bytes) -> None:
    """Checks the unique id of a job.

    Args:
        unique: the id.

    Raises:
        InvalidOption: it contains a NUL, or is longer than 63 bytes.
    """
    if b"\0" in unique or len(unique) > LONGEST_UNIQUE:
        raise InvalidOption(
            f"The unique id {unique[:40]!r} has {len(unique)} bytes; a unique id has at most "
            f"{LONGEST_UNIQUE}, and no NUL. Use a hash of a longer one."
        )


def encoded_unique(unique: object) -> bytes:
    """Checks and encodes the unique id of a job.

    Args:
        unique: the id.

    Raises:
        InvalidOption: it is not a string, or no job can have that id.
    """
    if not isinstance(unique, str):
        raise InvalidOption(
            f"The unique id of a job is a string, as `work.unique` has it, not {unique!r}."
        )
    try:
        encoded = unique.encode()
    except UnicodeEncodeError:
        raise InvalidOption(f"The unique id {unique!r} cannot be encoded in UTF-8.") from None
    check_unique(encoded)
    return encoded


_FOREGROUND = b"f:"
_BACKGROUND = b"b:"
"""Prefixes of the unique ids that are made from a user's key. If a foreground job joins a
background job, gearmand 1.1.20 drops both when the caller leaves: their ids must differ."""

LONGEST_KEY = LONGEST_UNIQUE - len(_FOREGROUND)
"""Bytes of a user's key, which becomes part of the unique id of the job."""


def unique_of_key(key: str, *, background: bool) -> bytes:
    """Returns the unique id of the jobs with a user's key.

    Args:
        key: the key.
        background: whether they are background jobs.
    """
    return (_BACKGROUND if background else _FOREGROUND) + key.encode()


def check_key(key: object, name: str = "unique") -> None:
    """Checks the key of a user.

    Args:
        key: the key.
        name: the name of its option.

    Raises:
        InvalidOption: it is not a string, is empty or too long, or contains control characters.
    """
    if not isinstance(key, str) or not key:
        raise InvalidOption(f"{name} must be a non-empty string, not {key!r}.")
    encoded = key.encode(errors="replace")
    if len(encoded) > LONGEST_KEY or not key.isprintable():
        raise InvalidOption(
            f"{name}={key[:40]!r} has {len(encoded)} bytes; at most {LONGEST_KEY} bytes and no "
            "control characters are allowed. Use a hash of a longer key."
        )
