"""The description of arguments in the help table, for programs in any language."""

from __future__ import annotations

import inspect
import json
from typing import Any


def described(parameter: inspect.Parameter) -> dict[str, Any]:
    """Returns the entry of an argument in the help table.

    Args:
        parameter: the argument, as the signature of its task has it.
    """
    required = parameter.default is inspect.Parameter.empty
    description: dict[str, Any] = {
        "default": None if required else _as_json(parameter.default),
        "required": required,
    }
    if parameter.annotation is not inspect.Parameter.empty:
        description["annotation"] = annotation_text(parameter.annotation)
    return description


def annotation_text(annotation: object) -> str:
    """Returns an annotation as it is written in Python.

    Args:
        annotation: the annotation, which may be text already.
    """
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _as_json(value: object) -> object:
    """The value itself where any language can read it, else how Python writes it."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return ascii(value)
    return value
