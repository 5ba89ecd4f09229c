"""How values become payloads: the default encoder, and the guard around every encoder.

An encoder is a class with the two class methods of gearman3's `DataEncoder`:
`encode(value)` returns bytes (or str, taken as UTF-8), `decode(payload)` takes
bytes.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from gearmanny.errors import EncodingError
from gearmanny.payload.failures import message_of
from gearmanny.payload.sizes import MAX_PACKET, Oversized, check_payload
from gearmanny.vocabulary.gearman_api import DataEncoder

__all__ = ["JSONDataEncoder", "RawDataEncoder", "decode", "encode"]

_LESS = "Raise the memory limit of this process, or send less at a time"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same key twice")
    return value


class JSONDataEncoder(DataEncoder):
    """Strict JSON in UTF-8, the same in both directions and in every language.

    NaN, infinities and lone surrogates are refused: they are not JSON, and the
    other side may be a program that says so only by crashing. So is an object with
    the same key twice, which every language reads in its own way.
    """

    json_encoder: ClassVar[type[json.JSONEncoder]] = json.JSONEncoder
    """Override with a subclass to encode more types."""

    _encoder: ClassVar[json.JSONEncoder]
    _decoder: ClassVar[json.JSONDecoder] = json.JSONDecoder(
        parse_constant=_refuse_constant, object_pairs_hook=_object
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._prepare()

    @classmethod
    def _prepare(cls) -> None:
        # json.dumps() would make a new encoder for every call with these options.
        cls._encoder = cls.json_encoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        return cls._encoder.encode(encodable_object).encode()

    @classmethod
    def decode(cls, decodable_string: bytes) -> Any:
        value = cls._decoder.decode(decodable_string.decode())
        if b"\\ud" in decodable_string or b"\\uD" in decodable_string:
            json.dumps(value, ensure_ascii=False).encode()  # half a pair is no character
        return value


JSONDataEncoder._prepare()


class RawDataEncoder(DataEncoder):
    """Bytes as they are, both ways. Whatever else they mean, caller and task agree upon."""

    takes_payload: ClassVar[bool] = True
    """Tells workers that a call brings one payload, and not an object of keywords."""

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        if not isinstance(encodable_object, bytes):  # no buffers: what was sent must not change
            raise TypeError("only bytes travel as they are. Make bytes of it, or let JSON do so")
        return encodable_object

    @classmethod
    def decode(cls, decodable_string: bytes) -> bytes:
        return decodable_string


def encode(encoder: type[DataEncoder], value: object, max_packet: int = MAX_PACKET) -> bytes:
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


def decode(encoder: type[DataEncoder], payload: bytes) -> Any:
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
