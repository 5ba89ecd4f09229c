"""Encoding values and decoding payloads, with any encoder and one kind of error.

An encoder is a class with the two class methods of gearman3's `DataEncoder`:
`encode(value)` returns bytes, or a str to be encoded in UTF-8; `decode(payload)`
takes bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol, cast

from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.payload.failures import message_of
from gearmanny.payload.sizes import MAX_PACKET, Oversized, check_payload

_LESS = "Raise the memory limit of this process, or send less at a time"


class Encoder(Protocol):
    """A class that converts values to payloads, and back."""

    @classmethod
    def encode(cls, value: Any, /) -> bytes | str:
        """Returns the payload for a value, or raises any exception."""

    @classmethod
    def decode(cls, payload: bytes, /) -> Any:
        """Returns the value of a payload, or raises any exception."""


def check_encoder(encoder: object) -> type[Encoder]:
    """Returns an encoder that was given as an option.

    Args:
        encoder: the encoder.

    Raises:
        InvalidOption: it cannot encode and decode.
    """
    if all(callable(getattr(encoder, name, None)) for name in ("encode", "decode")):
        return cast("type[Encoder]", encoder)
    raise InvalidOption(
        "data_encoder must be a class with the class methods encode and decode, such as "
        f"JSONDataEncoder, not {encoder!r}."
    )


def encode(encoder: type[Encoder], value: object, max_packet: int = MAX_PACKET) -> bytes:
    """Encodes a value.

    Args:
        encoder: the encoder.
        value: the value.
        max_packet: the longest packet allowed, in bytes.

    Returns:
        The payload.

    Raises:
        EncodingError: the encoder raised an exception, the payload is too long for a packet, or
            there is not enough memory for it.
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
            f"{_advice(value)}"
        ) from error
    # Not inside the `except`: the traceback would keep the memory in use.
    raise EncodingError(f"{encoder.__name__} cannot encode this {type(value).__name__}: {reason}")


def explained(
    error: EncodingError, encoder: type[Encoder], function: str, arguments: object
) -> EncodingError:
    """Returns the error for the arguments of a call, with the name of the one that cannot be
    encoded.

    Args:
        error: raised by `encode` for all of them.
        encoder: the encoder.
        function: the Gearman function that is called.
        arguments: those of the call; by name, or one payload.
    """
    named = arguments if isinstance(arguments, Mapping) else {}
    for name, value in named.items():
        try:
            encode(encoder, {name: value})
        except EncodingError as own:
            reason = message_of(own.__cause__ or own)
            return EncodingError(
                f"{function}(): {encoder.__name__} cannot encode the argument {name!r}, this "
                f"{type(value).__name__}: {reason}{_advice(value)}"
            )
    return EncodingError(f"{function}(): {error}")


def _advice(value: object) -> str:
    """Returns what to send instead of objects of Django's ORM, as another sentence."""
    if hasattr(type(value), "values_list"):  # asking it for items would ask the database
        return ". Send primary keys instead: list(query.values_list('pk', flat=True))"
    if _is_model(value):
        return ". Send its primary key instead, and load the object where it is needed"
    if any(map(_is_model, _items(value))):
        return ". Send the primary keys of its models instead, and load them where they are needed"
    return ""


def _is_model(value: object) -> bool:
    return hasattr(type(value), "_meta") and hasattr(value, "pk")


def _items(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, Collection) and not isinstance(value, str | bytes) else ()


def decode(encoder: type[Encoder], payload: bytes) -> Any:
    """Decodes a payload.

    Args:
        encoder: the encoder.
        payload: the payload.

    Returns:
        The value.

    Raises:
        EncodingError: the encoder raised an exception, the payload was discarded because it was
            too long, or there is not enough memory for its value.
    """
    if isinstance(payload, Oversized):
        raise EncodingError(f"A payload was discarded: {payload.reason()}.")
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
