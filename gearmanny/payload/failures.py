"""How a failure travels: one JSON object, whatever encoder the worker uses for its results.

::

    {"gearmanny_error": {"type": "builtins.ValueError", "message": "…",
                         "args": […] or null, "traceback": "…" or null}}

It is the payload of the WORK_WARNING that precedes a WORK_FAIL, or of a
WORK_EXCEPTION. A worker in any language may send it; a client in any language
may print it.
"""

from __future__ import annotations

import json
import traceback as traceback_module

from gearmanny.errors import EncodingError, TaskError
from gearmanny.payload.sizes import Oversized, check_payload

_KEY = "gearmanny_error"
_OPENING_BYTES = 64
"""Within these the key stands, however the object was written."""


def encode_failure(error: BaseException, with_traceback: bool = False) -> bytes:
    """Returns the object that describes an exception.

    Never raises, whatever the exception's own methods do: a failure that cannot
    be told would leave the caller waiting.

    Args:
        error: what the task raised.
        with_traceback: whether its traceback may leave this process.
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
    """Returns an encoded failure, or one that says that it was too long to be told."""
    try:
        check_payload(failure, max_packet)
    except ValueError as error:
        return encode_failure(EncodingError(f"The failure cannot be told: {error}."))
    return failure


def decode_failure(function: str, payload: bytes) -> TaskError | None:
    """Returns the `TaskError` that a payload describes, or None when it is something else."""
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
    """Returns the `TaskError` for the text that a worker of another library sent."""
    if isinstance(payload, Oversized):
        return TaskError(function, None, f"the reason was not taken: {payload.reason()}")
    return TaskError(function, None, payload.decode(errors="replace").strip())


def type_name(error: BaseException) -> str:
    """Returns the dotted name of an exception's class, `"builtins.ValueError"`."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def message_of(error: BaseException) -> str:
    """Returns the text of an exception, also when its `__str__` fails."""
    try:
        return _clean(str(error))
    except (Exception, SystemExit) as second:
        return f"<its text cannot be had: {type_name(second)}>"


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
