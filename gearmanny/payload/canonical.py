"""Values as text that is equal for equal values, and for no others: keys are made of it.

Plain JSON is written by `json.dumps`. Of everything else that an encoder accepts, the text holds
more than the encoder makes of it: Django's encoder, for one, makes the same string of two datetimes
within a millisecond.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid


def canonical(value: object, json_encoder: type[json.JSONEncoder]) -> str:
    """Returns a value as text, the same for every order of the keys of its objects.

    Args:
        value: what a key is made of.
        json_encoder: decides what is accepted besides plain JSON.

    Raises:
        TypeError, ValueError, RecursionError: it is not JSON.
    """
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False)
    except TypeError:
        return _Writer(json_encoder()).text(value)
    _check_keys(value)
    return text


def _check_keys(value: object) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"a key is {type(name).__name__}, not text")
            _check_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_keys(inner)


def _exactly(value: object) -> str | None:
    """Returns what tells a value from all others of its type; None for an unknown type."""
    match value:
        case datetime.datetime() | datetime.time():
            return f"{value.isoformat()} {value.fold}"
        case datetime.date():
            return value.isoformat()
        case datetime.timedelta():
            return f"{value.days} {value.seconds} {value.microseconds}"
        case decimal.Decimal() | uuid.UUID():
            return str(value)
    return None


class _Writer:
    """Writes JSON, and names of types where json has none: no two values look the same."""

    def __init__(self, encoder: json.JSONEncoder) -> None:
        self._encoder = encoder

    def text(self, value: object) -> str:
        match value:
            case None | bool() | int() | float() | str():
                return json.dumps(value, allow_nan=False)
            case list() | tuple():
                return f"[{','.join(map(self.text, value))}]"
            case dict():
                _check_keys(value)
                return "{%s}" % ",".join(
                    f"{json.dumps(name)}:{self.text(inner)}"
                    for name, inner in sorted(value.items())
                )
        accepted = self._encoder.default(value)  # raises TypeError for what it does not know
        exact = _exactly(value)
        inner = self.text(accepted) if exact is None else json.dumps(exact)
        return f"{type(value).__module__}.{type(value).__qualname__}({inner})"
