"""Encoders: JSON, and bytes as they are. Both are encoders of gearman3 too."""

from __future__ import annotations

import json
import math
import re
from typing import Any, ClassVar

from gearmanny.vocabulary.gearman_api import DataEncoder

__all__ = ["JSONDataEncoder", "RawDataEncoder"]


_WRITTEN_AS_STRING = re.compile(r'"(?:-?[0-9][0-9.e+-]*|true|false|null)":')
"""A key that may have been a number, a truth value or None: JSON has strings alone for keys."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:30]} is too large for a float")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same key twice")
    return value


class JSONDataEncoder(DataEncoder):
    """Strict JSON in UTF-8, the same in both directions and in every language.

    NaN, infinities and lone surrogates are refused: they are not JSON, and the
    other side may be a program that says so only by crashing. So are a number that
    overflows a float, and an object with the same key twice, which every language
    reads in its own way.
    """

    json_encoder: ClassVar[type[json.JSONEncoder]] = json.JSONEncoder
    """Override with a subclass to encode more types."""

    _encoder: ClassVar[json.JSONEncoder]
    _decoder: ClassVar[json.JSONDecoder] = json.JSONDecoder(
        parse_constant=_refuse_constant, parse_float=_float, object_pairs_hook=_object
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
        text = cls._encoder.encode(encodable_object)
        if _WRITTEN_AS_STRING.search(text):
            cls._check_keys(text)
        return text.encode()

    @classmethod
    def _check_keys(cls, text: str) -> None:
        try:
            cls._decoder.decode(text)
        except ValueError:
            raise ValueError(
                "a dict has two keys that JSON writes in the same way, such as 1 and '1'. "
                "Make all of its keys strings"
            ) from None

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
