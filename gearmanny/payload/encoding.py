"""Encoding of values and decoding of payloads: the guard around every encoder.

An encoder is a class with the two class methods of gearman3's `DataEncoder`:
`encode(value)` returns bytes (or str, taken as UTF-8), `decode(payload)` takes
bytes.
"""

from __future__ import annotations

from typing import Any, Protocol

from gearmanny.errors import EncodingError
from gearmanny.payload.failures import message_of
from gearmanny.payload.sizes import MAX_PACKET, Oversized, check_payload

_LESS = "Raise the memory limit of this process, or send less at a time"


class Encoder(Protocol):
    """A class that makes payloads of values, and values of payloads."""

    @classmethod
    def encode(cls, value: Any, /) -> bytes | str: ...

    @classmethod
    def decode(cls, payload: bytes, /) -> Any: ...


def encode(encoder: type[Encoder], value: object, max_packet: int = MAX_PACKET) -> bytes:
    """Returns the payload of a value.

    Args:
        encoder: makes it.
        value: what is to travel.
        max_packet: bytes of the longest packet that it may travel in.

    Raises:
        EncodingError: the encoder refuses the value, for whatever reason of its own, or the
            payload is too long, also for the memory that there is.
    """
    try:
        payload = encoder.encode(value)
        if not isinstance(payload, bytes):
            payload = _utf8(payload)
        check_payload(payload, max_packet)
        return payload
    except MemoryError:
        reason = f"there is not enough memory for its payload. {_LESS}"
    except Exception as error:
        raise EncodingError(
            f"{encoder.__name__} cannot encode this {type(value).__name__}: {message_of(error)}"
        ) from error
    # Not inside the `except`: the traceback would keep what there is too much of.
    raise EncodingError(f"{encoder.__name__} cannot encode this {type(value).__name__}: {reason}")


def decode(encoder: type[Encoder], payload: bytes) -> Any:
    """Returns the value of a payload.

    Raises:
        EncodingError: the encoder refuses the payload, for whatever reason of its own, or the
            payload was too long to be kept or to be decoded in the memory that there is.
    """
    if isinstance(payload, Oversized):
        raise EncodingError(f"A payload was not taken: {payload.reason()}.")
    try:
        return encoder.decode(payload)
    except MemoryError:
        reason = f"there is not enough memory for its value. {_LESS}"
    except Exception as error:
        raise EncodingError(
            f"{encoder.__name__} cannot decode a payload of {len(payload)} bytes: "
            f"{message_of(error)}"
        ) from error
    raise EncodingError(
        f"{encoder.__name__} cannot decode a payload of {len(payload)} bytes: {reason}"
    )


def _utf8(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"encode() returned {type(text).__name__}, not bytes")
    return text.encode()
