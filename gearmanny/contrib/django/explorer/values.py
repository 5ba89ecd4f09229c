"""JSON on a page: masked, and folded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import TaskError
from gearmanny.payload.failures import decode_failure
from gearmanny.payload.masking import MASKED, masked, masked_text

LONGEST = 20_000
"""Characters of a text that a page shows."""

_MOST = 1000
"""Values that a page shows of one payload."""

_MOST_CHARACTERS = 100_000
"""Characters of all these."""

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
        return format_html("<p>{}</p>{}", note, _bytes_shown(data))
    return _text_shown(text) if text else "-"


def _text_shown(text: str) -> SafeString:
    mask = get_settings().MASK
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return block(masked_text(text, mask))
    return value_shown(masked(value, mask))


def _bytes_shown(data: bytes) -> SafeString:
    if data[:1] in (b"{", b"["):  # workers that get bytes often get JSON, which may have secrets
        try:
            return _text_shown(data.decode())
        except UnicodeDecodeError:
            pass
    text = masked_text(data.decode(errors="replace"), get_settings().MASK)
    return block(text if text == MASKED else repr(data[:LONGEST]))


def value_shown(value: Any) -> SafeString:
    """Returns a decoded value as HTML, in which long parts are folded."""
    return _folded(value, _Budget(), 0)


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
    return failure_of(failure)


def failure_of(error: TaskError) -> Failure:
    """Returns the failure of a task, in words."""
    title = shortened(f"{error.type}: {error.message}" if error.type else error.message)
    traceback = error.traceback or ""
    # Its end says where.
    return Failure(title, f"…{traceback[-LONGEST:]}" if len(traceback) > LONGEST else traceback)


def block(text: str) -> SafeString:
    """Returns a text of several lines as HTML."""
    return format_html('<pre class="gm-text">{}</pre>', shortened(text))


def shortened(text: str, longest: int = LONGEST) -> str:
    """Returns the beginning of a text that is too long."""
    longest = min(longest, LONGEST)
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({gettext('%d characters') % len(text)})"


class _Budget:
    """The values and characters that may still be shown."""

    def __init__(self) -> None:
        self.left = _MOST
        self.characters = _MOST_CHARACTERS

    def text(self, text: str) -> str:
        """Returns the part of a text that may be shown."""
        shown = shortened(text, max(self.characters, 0))
        self.characters -= len(shown)
        return shown

    def spend(self, values: Any) -> Iterator[Any]:
        for value in values:
            if self.left <= 0 or self.characters <= 0:
                return
            self.left -= 1
            yield value


_DEEPEST = 30


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "…"


def _folded(value: Any, budget: _Budget, depth: int) -> SafeString:
    if not isinstance(value, dict | list) or not value or depth >= _DEEPEST:
        return format_html('<code class="gm-value">{}</code>', budget.text(_as_json(value)))
    if isinstance(value, dict):
        found = [
            format_html(
                "<li><b>{}</b>: {}</li>", budget.text(key), _folded(each, budget, depth + 1)
            )
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
