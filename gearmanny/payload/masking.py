"""Secrets in arguments and results, masked by their names before anybody reads them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from gearmanny.errors import InvalidOption

MASK = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "api_key",
    "access_key",
    "private_key",
)
"""Names whose values are masked by default."""

MASKED = "********"
"""Stands for a value that is masked."""

_DEEPEST = 50
"""Levels of nesting that are looked through; what is deeper is masked as a whole."""

_SEPARATORS = re.compile(r"[\W_]+")

_ESCAPED = re.compile(r"\\u([0-9a-f]{4})", re.IGNORECASE)


def check_mask(names: object) -> tuple[str, ...]:
    """Returns the names whose values are masked.

    Args:
        names: any sequence of them; an empty one masks nothing.

    Raises:
        InvalidOption: it is not a sequence of strings with a letter or digit in each.
    """
    found = tuple(names) if isinstance(names, Sequence) and not isinstance(names, str) else (None,)
    if all(isinstance(name, str) and _plain(name) for name in found):
        return found
    raise InvalidOption(
        f'mask must be a list of names, such as ["password", "api_key"], not {names!r}.'
    )


def masked(value: Any, names: Sequence[str]) -> Any:
    """Returns a copy of a value in which the values of some names are masked.

    A name is one of them if it contains one, whatever its case and separators are: "api_key" is
    found in "X-Api-Key" and "stripeApiKey". Names are looked for in all dicts, however they are
    nested in dicts, lists and tuples. Values without such names are returned as they are.

    Args:
        value: arguments or a result, decoded.
        names: as `check_mask` returns them.
    """
    plain = tuple(_plain(name) for name in names)
    return _masked(value, plain, _DEEPEST) if plain else value


def masked_text(text: str, names: Sequence[str]) -> str:
    """Returns a text in which no values can be found, because it is not JSON, or nested too deep.

    Args:
        text: the text. It is masked as a whole if it contains one of the names.
        names: as `check_mask` returns them.
    """
    plain = _plain(_ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text))
    return MASKED if any(_plain(name) in plain for name in names) else text


def unmasked(value: Any, original: Any, names: Sequence[str]) -> Any:
    """Returns a value that somebody has changed after it was masked, with the secrets that are
    still masked in it.

    Args:
        value: as it came back.
        original: the value before it was masked.
        names: with which it was masked.
    """
    return _unmasked(value, original, masked(original, names)) if names else value


def _unmasked(value: Any, original: Any, shown: Any) -> Any:
    if shown == MASKED and value == MASKED:
        return original
    if isinstance(value, dict) and isinstance(shown, dict):
        return {
            key: _unmasked(each, original[key], shown[key]) if key in shown else each
            for key, each in value.items()
        }
    if isinstance(value, list) and isinstance(shown, list):
        pairs = zip(value, original, shown, strict=False)
        return [*(_unmasked(*each) for each in pairs), *value[len(shown) :]]
    return value


def _masked(value: Any, names: tuple[str, ...], levels: int) -> Any:
    if not isinstance(value, dict | list | tuple):
        return value
    if not levels:
        return MASKED
    if isinstance(value, dict):
        return {
            key: MASKED if _is_secret(key, names) else _masked(each, names, levels - 1)
            for key, each in value.items()
        }
    return [_masked(each, names, levels - 1) for each in value]


def _is_secret(key: object, names: tuple[str, ...]) -> bool:
    return isinstance(key, str) and any(name in _plain(key) for name in names)


def _plain(name: str) -> str:
    # As Python compares identifiers, which may be of any script.
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name).casefold())
