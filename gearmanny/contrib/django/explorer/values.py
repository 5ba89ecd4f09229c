"""JSON on a page: masked, and folded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from gearmanny.contrib.django.settings import get_settings
from gearmanny.payload.failures import decode_failure
from gearmanny.payload.masking import masked

LONGEST = 20_000
"""Characters of a text that a page shows."""

_MOST = 1000
"""Values that a page shows of one payload."""

_UNFOLDED = 5
"""Values in a list or an object that is not folded."""


class Failure(NamedTuple):
    """An error, as a page shows it."""

    title: str
    traceback: str


def payload_shown(text: str | None, raw: Any) -> SafeString | str:
    """Returns a payload as HTML.

    Args:
        text: its column of text.
        raw: its column of bytes.
    """
    if raw is not None:
        data = bytes(raw)
        note = ngettext("%d byte", "%d bytes", len(data)) % len(data)
        return format_html("<p>{}</p>{}", note, block(repr(data[:LONGEST])))
    if not text:
        return "-"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return block(text)
    return value_shown(masked(value, get_settings().MASK))


def value_shown(value: Any) -> SafeString:
    """Returns a decoded value as HTML, in which long parts are folded."""
    return _folded(value, _Budget(_MOST), 0)


def failure_shown(error: str | None) -> Failure | None:
    """Returns an error of a record, in words; None if there is none.

    Args:
        error: as the record has it.
    """
    if not error:
        return None
    failure = decode_failure("", error.encode(errors="replace"))
    if failure is None:
        return Failure(shortened(error), "")
    return Failure(shortened(f"{failure.type}: {failure.message}"), failure.traceback or "")


def block(text: str) -> SafeString:
    """Returns a text of several lines as HTML."""
    return format_html('<pre class="gm-text">{}</pre>', shortened(text))


def shortened(text: str) -> str:
    """Returns the beginning of a text that is too long."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({gettext('%d characters') % len(text)})"


class _Budget:
    """The values that may still be shown."""

    def __init__(self, most: int) -> None:
        self.left = most

    def spend(self, values: Any) -> Iterator[Any]:
        for value in values:
            if self.left <= 0:
                return
            self.left -= 1
            yield value


_DEEPEST = 30


def _folded(value: Any, budget: _Budget, depth: int) -> SafeString:
    if not isinstance(value, dict | list) or not value or depth >= _DEEPEST:
        text = shortened(json.dumps(value, ensure_ascii=False))
        return format_html('<code class="gm-value">{}</code>', text)
    if isinstance(value, dict):
        found = [
            format_html("<li><b>{}</b>: {}</li>", shortened(key), _folded(each, budget, depth + 1))
            for key, each in budget.spend(value.items())
        ]
        summary = ngettext("%d entry", "%d entries", len(value)) % len(value)
    else:
        found = [
            format_html("<li>{}</li>", _folded(each, budget, depth + 1))
            for each in budget.spend(value)
        ]
        summary = ngettext("%d item", "%d items", len(value)) % len(value)
    items = format_html_join("", "{}", ((each,) for each in found))
    if len(found) < len(value):
        rest = gettext("and %d more") % (len(value) - len(found))
        items = format_html("{}<li>{}</li>", items, rest)
    if depth == 0 or len(value) <= _UNFOLDED:
        return format_html('<ul class="gm-json">{}</ul>', items)
    return format_html(
        '<details><summary>{}</summary><ul class="gm-json">{}</ul></details>', summary, items
    )
