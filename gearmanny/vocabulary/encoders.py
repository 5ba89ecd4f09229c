"""Encoders: JSON, and bytes as they are. Both are encoders of gearman3 too."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from gearmanny.vocabulary.gearman_api import DataEncoder

__all__ = ["JSONDataEncoder", "RawDataEncoder"]


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
