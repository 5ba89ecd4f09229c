"""Arguments in a form, as JSON: their secrets are masked, and put back where they stay so."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from gearmanny.contrib.django.settings import get_settings
from gearmanny.payload.masking import masked, unmasked

Arguments = dict[str, Any]


def decoded(text: str | None) -> Arguments | None:
    """Returns the arguments of a column of text; None where they are not a JSON object."""
    try:
        arguments = parse(text or "{}")
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


def written(arguments: Arguments | None) -> str | None:
    """Returns arguments as somebody changes them: masked, in many lines. None where there are none,
    or too deep ones."""
    if arguments is None:
        return None
    try:
        shown = masked(arguments, get_settings().MASK)
        return json.dumps(shown, indent=2, ensure_ascii=False)
    except RecursionError:
        return None


def read(text: str, old: Arguments | None = None) -> Arguments:
    """Returns arguments that somebody has written, with the secrets that are still masked.

    Args:
        text: JSON.
        old: the arguments that were shown; None if none were.

    Raises:
        ValidationError: they are not a JSON object.
    """
    new = decoded(text)
    if new is None:
        raise forms.ValidationError(gettext_lazy("This is not a JSON object."))
    found: Arguments = new if old is None else unmasked(new, old, get_settings().MASK)
    return found


def parse(text: str) -> Any:
    """Returns the value of JSON.

    Raises:
        ValueError: it is not JSON, also for Infinity and NaN, which Python alone reads.
        RecursionError: it is too deep for Python.
    """
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
