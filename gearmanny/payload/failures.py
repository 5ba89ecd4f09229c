"""The format of failures: one JSON object, whatever encoder the worker uses for its results.

::

    {"gearmanny_error": {"type": "builtins.ValueError", "message": "…",
                         "args": […] or null, "traceback": "…" or null}}

It is the payload of the WORK_WARNING that precedes a WORK_FAIL, or of a
WORK_EXCEPTION. Workers in any language can send it; clients in any language
can read it.
"""

from __future__ import annotations

import json
import traceback as traceback_module

from gearmanny.errors import EncodingError, TaskError
from gearmanny.payload.sizes import Oversized, check_payload

_KEY = "gearmanny_error"
_LONGEST_TYPE = 200
_OPENING_BYTES = 64
"""Number of bytes at the start of a payload within which the key must appear."""


def encode_failure(error: BaseException, with_traceback: bool = False) -> bytes:
    """Encodes an exception.

    Never raises an exception, whatever the methods of the given one do: otherwise the
    caller would get no answer.

    Args:
        error: the exception that the task raised.
        with_traceback: whether to include its traceback.

    Returns:
        The JSON object.
    """
    try:
        return _described(
            error,
            message_of(error),
            _arguments(error),
            _traceback(error) if with_traceback else None,
        )
    except MemoryError:
        return _described(error, "<there is not enough memory to encode its text>", None, None)


def _described(
    error: BaseException, message: str, arguments: list[object] | None, traceback: str | None
) -> bytes:
    return json.dumps(
        {
            _KEY: {
                "type": type_name(error),
                "message": message,
                "args": arguments,
                "traceback": traceback,
            }
        }
    ).encode()


def shortened(failure: bytes, max_packet: int) -> bytes:
    """Replaces an encoded failure that is too long.

    Args:
        failure: the failure.
        max_packet: the longest packet allowed, in bytes.

    Returns:
        The failure, or another one that says that it was too long to be sent.
    """
    try:
        check_payload(failure, max_packet)
    except ValueError as error:
        return encode_failure(EncodingError(f"The failure cannot be sent: {error}."))
    return failure


def cut(failure: str, longest: int) -> str:
    """Returns an encoded failure with shorter texts, if it is too long to be kept.

    Args:
        failure: the failure.
        longest: characters; at least 1,000.
    """
    if len(failure) <= longest:
        return failure
    described = json.loads(failure)[_KEY]
    message, traceback = described["message"], described["traceback"] or ""
    characters, shorter = longest, failure
    while len(shorter) > longest:
        characters //= 2
        texts = {
            "type": described["type"][:_LONGEST_TYPE],
            "message": _beginning(message, characters),
            "args": None,
            "traceback": traceback[-characters:] or None,  # its end says where
        }
        shorter = json.dumps({_KEY: texts})
    return shorter


def _beginning(text: str, characters: int) -> str:
    if len(text) <= characters:
        return text
    return f"{text[:characters]}… (cut: it has {len(text):,} characters)"


def decode_failure(function: str, payload: bytes) -> TaskError | None:
    """Decodes a failure.

    Args:
        function: the Gearman function that failed.
        payload: the payload.

    Returns:
        The error, or None if the payload is not an encoded failure.
    """
    if _KEY.encode() not in payload[:_OPENING_BYTES]:
        return None
    try:
        described = json.loads(payload)[_KEY]
        type_, message = described["type"], described["message"]
        if not isinstance(type_, str) or not isinstance(message, str):
            return None
        return TaskError(
            function, type_, message, described.get("args"), described.get("traceback")
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def foreign_failure(function: str, payload: bytes) -> TaskError:
    """Converts the text that a worker of another library sent.

    Args:
        function: the Gearman function that failed.
        payload: the text. Bytes that are not UTF-8 are replaced.

    Returns:
        The error.
    """
    if isinstance(payload, Oversized):
        return TaskError(function, None, f"the reason was discarded: {payload.reason()}")
    return TaskError(function, None, payload.decode(errors="replace").strip())


def type_name(error: BaseException) -> str:
    """Returns the dotted name of an exception's class, such as `"builtins.ValueError"`.

    Args:
        error: the exception.
    """
    return f"{type(error).__module__}.{type(error).__qualname__}"


def message_of(error: BaseException) -> str:
    """Returns the text of an exception, even if its `__str__` raises another one.

    Args:
        error: the exception.
    """
    try:
        return _clean(str(error))
    except (Exception, SystemExit) as second:
        return f"<no message: str() raised {type_name(second)}>"


def _clean(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _traceback(error: BaseException) -> str | None:
    try:
        return _clean("".join(traceback_module.format_exception(error)))
    except (Exception, SystemExit):
        return None


def _arguments(error: BaseException) -> list[object] | None:
    try:
        arguments = list(error.args)
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except (Exception, SystemExit):
        return None
    return arguments
