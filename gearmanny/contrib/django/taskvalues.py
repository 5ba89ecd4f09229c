"""Values that tasks get and return, as JSON has them."""

from __future__ import annotations

from typing import Any

from gearmanny.contrib.django.compat import normalize_json
from gearmanny.errors import EncodingError


def normalized(value: Any) -> Any:
    """Returns a value as JSON has it: a list for a tuple, text for bytes.

    Args:
        value: the value.

    Raises:
        TypeError: it cannot be written as JSON.
        ValueError: it has bytes that are not UTF-8.
        EncodingError: it has a key that is not text, which JSON would change.
    """
    found = normalize_json(value)
    check_keys(found)
    return found


def check_keys(value: Any) -> None:
    """Checks that all keys of a normalized value are text.

    Args:
        value: the value.

    Raises:
        EncodingError: one is not.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise EncodingError(
                    f"A dictionary has a key of type {type(key).__name__}. Use text for keys, as "
                    "JSON has no others."
                )
            check_keys(item)
    elif isinstance(value, list):
        for item in value:
            check_keys(item)
