"""The key by which equal calls of a cached task become one job."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from gearmanny.payload.canonical import canonical

_LENGTH = 40
"""Hexadecimal digits: they fit into a unique id, and no two calls meet by chance."""


class _Known(json.JSONEncoder):
    """Accepts values that can be told apart. How they are written as JSON is up to the client."""

    def default(self, o: object) -> object:
        if isinstance(o, datetime | date | time | timedelta | Decimal | UUID):
            return str(o)
        return super().default(o)


def key_of(
    function: str, signature: inspect.Signature, arguments: Mapping[str, object]
) -> str | None:
    """Returns a key that is equal for equal calls, and for no others; None where the arguments
    cannot be told apart.

    Args:
        function: the name of the function.
        signature: of its task, without `self`.
        arguments: of the call, by name. Defaults need not be among them.
    """
    defaults = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    try:
        text = canonical([function, {**defaults, **arguments}], _Known)
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_LENGTH]
