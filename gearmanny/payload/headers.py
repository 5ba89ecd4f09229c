"""Headers of recorded jobs: texts that travel beside the arguments, such as the id of a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from gearmanny.errors import InvalidOption

Headers = Mapping[str, str]

NewHeaders = Callable[[], Headers]
"""Returns the headers of a job that is about to be recorded, where its caller is."""

NO_HEADERS: Headers = MappingProxyType({})

MAX_HEADERS = 8192
"""Bytes of all names and values of a job's headers together, in UTF-8."""


def check_headers(headers: object) -> None:
    """Checks the headers of a job. No message quotes a value, which may be a secret.

    Args:
        headers: any mapping of them.

    Raises:
        InvalidOption: it is not a mapping of texts that a database can keep, or too large.
    """
    if not isinstance(headers, Mapping):
        raise InvalidOption(
            f"headers must be a dict of strings, such as {{'request': '7'}}, not a "
            f"{type(headers).__name__}."
        )
    size = 0
    for name, value in headers.items():
        if not isinstance(name, str) or not name:
            raise InvalidOption(f"The name of a header must be a string, not {name!r}.")
        if not isinstance(value, str):
            raise InvalidOption(
                f"The header {name!r} must be a string, not a {type(value).__name__}: what is "
                "more than text belongs in the arguments."
            )
        size += _size(name, name) + _size(name, value)
    if size > MAX_HEADERS:
        raise InvalidOption(
            f"The headers have {size} bytes, and may have {MAX_HEADERS}: what is large belongs in "
            "the arguments."
        )


def checked_new_headers(headers: object, *, has_records: bool) -> NewHeaders | None:
    """Returns the function that makes headers; None where there is none.

    Args:
        headers: the option of a client.
        has_records: whether the client has records.

    Raises:
        InvalidOption: it is not a function, or there are no records.
    """
    if headers is None:
        return None
    if callable(headers):
        if has_records:
            return headers
        raise InvalidOption("Headers travel in records: give the client records, too.")
    raise InvalidOption(
        f"headers must be a function that returns a dict of strings, not {type(headers).__name__}. "
        "Those of one call are using(headers=…)."
    )


def encode_headers(headers: Headers) -> str:
    """Returns headers as a record keeps them: JSON, or an empty text for none.

    Args:
        headers: as they were checked.
    """
    return json.dumps(dict(headers), ensure_ascii=False) if headers else ""


def decode_headers(text: str) -> Headers:
    """Returns the headers that a record keeps.

    Args:
        text: as `encode_headers` returns it.
    """
    headers: dict[str, str] = json.loads(text) if text else {}
    return MappingProxyType(headers) if headers else NO_HEADERS


def _size(name: str, text: str) -> int:
    try:
        if "\0" not in text:
            return len(text.encode())
    except UnicodeEncodeError:
        pass
    raise InvalidOption(
        f"The header {name!r} contains a NUL or a lone surrogate, which databases refuse."
    )
