"""Encoders: JSON, and raw bytes. Both are also encoders of gearman3."""

from __future__ import annotations

import json
import math
import re
from typing import Any, ClassVar

from gearmanny.payload import fastjson
from gearmanny.vocabulary.gearman_api import DataEncoder

__all__ = ["JSONDataEncoder", "RawDataEncoder"]


_WRITTEN_AS_STRING = re.compile(r'"(?:-?[0-9][0-9.e+-]*|true|false|null)":')
"""A key that may have been a number, a truth value or None: JSON has strings alone for keys."""


_OPTIONS: dict[str, Any] = {
    "ensure_ascii": False,
    "allow_nan": False,
    "separators": (",", ":"),
}


def _is_plain(encoder: json.JSONEncoder) -> bool:
    """Returns whether an encoder writes plain JSON as `json.JSONEncoder` does: at most its
    `default` is overridden, which is called for other types only."""
    kind = type(encoder)
    overridden = {name for each in kind.__mro__[:-2] for name in vars(each)} & _DECISIVE
    return not overridden and vars(encoder) == vars(json.JSONEncoder(**_OPTIONS))


_DECISIVE = {
    name
    for name in vars(json.JSONEncoder)
    if name == "__init__" or (not name.startswith("__") and name != "default")
}
"""The attributes of an encoder that decide how it writes plain JSON. Of those that Python adds to a
class, each version has others."""


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
        raise ValueError("an object has a duplicate key")
    return value


class JSONDataEncoder(DataEncoder):
    """Strict JSON in UTF-8, which means the same in every language.

    NaN, infinities and lone surrogates are refused: they are not JSON, and a program
    in another language may crash on them. So are numbers that overflow a float, and
    objects with duplicate keys, which languages read differently.

    Where orjson is installed (the extra `fast`), payloads and refusals are the same, only faster.
    """

    json_encoder: ClassVar[type[json.JSONEncoder]] = json.JSONEncoder
    """Override this with a subclass to encode more types."""

    _encoder: ClassVar[json.JSONEncoder]
    _is_fast: ClassVar[bool]
    """Whether orjson may encode what is plain JSON."""
    _decodes_fast: ClassVar[bool] = fastjson.is_available()
    _decoder: ClassVar[json.JSONDecoder] = json.JSONDecoder(
        parse_constant=_refuse_constant, parse_float=_float, object_pairs_hook=_object
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._prepare()

    @classmethod
    def _prepare(cls) -> None:
        # json.dumps() would create an encoder for every call with these options.
        cls._encoder = cls.json_encoder(**_OPTIONS)
        cls._is_fast = fastjson.is_available() and _is_plain(cls._encoder)

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        """Encodes a value.

        Args:
            encodable_object: the value.

        Returns:
            Its JSON, in UTF-8.

        Raises:
            ValueError: it contains NaN, an infinity, a lone surrogate, or a dict with two keys
                that JSON writes in the same way.
            TypeError: it contains an object that the JSON encoder does not support.
        """
        if cls._is_fast:
            payload = fastjson.encode(encodable_object)
            if payload is not None:
                return payload
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
        """Decodes a value.

        Args:
            decodable_string: JSON in UTF-8.

        Returns:
            The value.

        Raises:
            ValueError: it is not strict JSON.
        """
        if cls._decodes_fast:
            value = fastjson.decode(decodable_string)
            if value is not fastjson.UNDECIDED:
                return value
        value = cls._decoder.decode(decodable_string.decode())
        if b"\\ud" in decodable_string or b"\\uD" in decodable_string:
            json.dumps(value, ensure_ascii=False).encode()  # refuses lone surrogates
        return value


JSONDataEncoder._prepare()


class RawDataEncoder(DataEncoder):
    """Bytes, unchanged in both directions. Caller and task agree on their meaning."""

    takes_payload: ClassVar[bool] = True
    """Whether a call has a single payload in place of keyword arguments."""

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        """Returns bytes unchanged.

        Args:
            encodable_object: the bytes.

        Raises:
            TypeError: it is not an object of type bytes.
        """
        if not isinstance(encodable_object, bytes):  # no buffers, which could change meanwhile
            raise TypeError("it must be bytes. Convert it, or use the JSON encoder")
        return encodable_object

    @classmethod
    def decode(cls, decodable_string: bytes) -> bytes:
        """Returns bytes unchanged.

        Args:
            decodable_string: the bytes.
        """
        return decodable_string
