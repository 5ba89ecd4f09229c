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
        raise ValueError("an object has a duplicate key")
    return value


class JSONDataEncoder(DataEncoder):
    """Strict JSON in UTF-8, the same in both directions and in every language.

    NaN, infinities and lone surrogates are refused: they are not JSON, and may crash
    the program on the other side. So is an object with a duplicate key, which every
    language reads in its own way.
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
        """Returns the JSON of a value.

        Args:
            encodable_object: the value.

        Raises:
            TypeError: JSON has no such type.
            ValueError: it has no such value.
        """
        return cls._encoder.encode(encodable_object).encode()

    @classmethod
    def decode(cls, decodable_string: bytes) -> Any:
        """Returns the value of a payload.

        Args:
            decodable_string: the payload.

        Raises:
            ValueError: it is not JSON.
        """
        value = cls._decoder.decode(decodable_string.decode())
        if b"\\ud" in decodable_string or b"\\uD" in decodable_string:
            json.dumps(value, ensure_ascii=False).encode()  # half a pair is no character
        return value


JSONDataEncoder._prepare()


class RawDataEncoder(DataEncoder):
    """Bytes as they are, both ways. Caller and task agree on their meaning."""

    takes_payload: ClassVar[bool] = True
    """Whether a call brings one payload, and not an object of keywords."""

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        """Returns the value itself.

        Args:
            encodable_object: the value.

        Raises:
            TypeError: it is not `bytes`.
        """
        if not isinstance(encodable_object, bytes):  # no buffers: what was sent must not change
            raise TypeError("only bytes travel as they are. Convert it to bytes, or use JSON")
        return encodable_object

    @classmethod
    def decode(cls, decodable_string: bytes) -> bytes:
        """Returns the payload itself.

        Args:
            decodable_string: the payload.
        """
        return decodable_string
