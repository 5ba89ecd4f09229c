"""What views have in common: JSON, and the text that a request asks for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse

from corpus.errors import BadInput, explain, status_of
from gearmanny.contrib.django import client
from gearmanny.errors import GearmanException, UnknownJob

if TYPE_CHECKING:
    from gearmanny.blocking.records import Record

LONGEST_TEXT = 100
"""Characters of a package's name, or of a text to search for."""


def answers_json(view: Callable[[HttpRequest], dict[str, Any]]) -> Callable[..., HttpResponse]:
    """Turns a function that returns an object into a view. Errors become JSON with a status."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        try:
            return JsonResponse(view(request))
        except (BadInput, GearmanException) as error:
            return JsonResponse({"error": explain(error)}, status=status_of(error))

    return wrapped


def text_of(request: HttpRequest, name: str, default: str = "") -> str:
    """Returns a text of the query.

    Args:
        request: the request.
        name: of the text, in the query.
        default: where the query has none.

    Raises:
        BadInput: it is empty, or too long.
    """
    text = request.GET.get(name, default).strip()
    if not is_text(text):
        raise BadInput(f"Give ?{name}=… with 1 to {LONGEST_TEXT} characters.")
    return text


def record_of(id: UUID, function: str) -> Record:
    """Returns the record of a job, if it is one of that function.

    Raises:
        UnknownJob: it is not, or there is none any more. Visitors may not see other jobs.
    """
    record = client.record(str(id))
    if record.function != function:
        raise UnknownJob(f"{id} is no job of {function}.")
    return record


def is_text(text: str) -> bool:
    """Returns whether a text is neither empty nor too long."""
    return 0 < len(text) <= LONGEST_TEXT
