"""The page, and the views that it fetches."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from corpus.answers import answers_json, is_text, record_of, text_of
from corpus.errors import BadInput
from corpus.packages import STDLIB
from corpus.stream import survey_lines
from corpus.survey import summarise
from gearmanny.contrib.django import async_client, client
from gearmanny.contrib.django.models import JobRecord
from gearmanny.errors import UnknownJob

MOST_PACKAGES = 5
"""Packages in one comparison. Each is a job."""

_LONGEST_LOOK = 600
"""Seconds for which a page follows a survey. The survey goes on without it."""

_PACKAGES_TIMEOUT = 5
"""Seconds. Without a list of packages, the page is still usable, and says why there is none."""


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Shows the page. Calls no worker, so that the page can say that none is running."""
    response = render(request, "corpus/index.html", {"stdlib": STDLIB})
    response["Content-Security-Policy"] = "default-src 'self'"
    return response


@require_safe
@never_cache
@answers_json
def packages(request: HttpRequest) -> dict[str, Any]:
    """Returns the packages to choose from."""
    return {"packages": async_client.corpus_packages().get_result(_PACKAGES_TIMEOUT)}


@require_safe
@never_cache
@answers_json
def search(request: HttpRequest) -> dict[str, Any]:
    """`?package=json&q=decode`: the classes and functions of a package with a text in their name.

    `seconds` shows what the cache is worth: ask twice.
    """
    package = text_of(request, "package", STDLIB)
    text = text_of(request, "q")
    started = time.perf_counter()
    found = client.corpus_search(package=package, text=text)
    seconds = round(time.perf_counter() - started, 4)
    return {"package": package, "q": text, "seconds": seconds, **found}


@require_safe
@never_cache
@answers_json
def compare(request: HttpRequest) -> dict[str, Any]:
    """`?package=json&package=asyncio`: the totals of each. The surveys run at the same time."""
    names = list(dict.fromkeys(request.GET.getlist("package")))
    if not 1 <= len(names) <= MOST_PACKAGES or not all(map(is_text, names)):
        raise BadInput(f"Give ?package=… once for each package, {MOST_PACKAGES} at the most.")
    deadline = time.monotonic() + settings.GEARMANNY["TIMEOUT"]
    works = {name: async_client.corpus_survey(package=name) for name in names}
    return {
        "packages": {
            # What is left of the time, but never so little that an answer could not be taken.
            name: summarise(work.get_result(max(1.0, deadline - time.monotonic())))
            for name, work in works.items()
        }
    }


@require_POST
@answers_json
def survey(request: HttpRequest) -> dict[str, Any]:
    """`?package=json`: begins a survey. Its id is that of a recorded job, which any page, process
    and restart of the site may follow."""
    package = text_of(request, "package", STDLIB)
    return {"survey": client.using(background=True).corpus_survey(package=package).id}


@require_safe
@never_cache
def follow(request: HttpRequest, id: UUID) -> HttpResponse | StreamingHttpResponse:
    """A survey as it goes, one JSON object a line. See `corpus.stream`."""
    try:
        record = record_of(id, "corpus_survey")
    except UnknownJob:
        return JsonResponse({"error": "There is no such survey any more."}, status=404)
    lines = survey_lines(record, _LONGEST_LOOK)
    return StreamingHttpResponse(lines, content_type="application/x-ndjson")


@require_safe
@never_cache
@answers_json
def census(request: HttpRequest) -> dict[str, Any]:
    """Returns the last census, which the workers take by themselves every ten seconds."""
    taken = JobRecord.objects.filter(function="reports_census", state=JobRecord.State.SUCCEEDED)
    last = taken.order_by("-id").first()
    if last is None:
        return {"census": None}
    return {"census": json.loads(last.result), "taken": last.finished}
