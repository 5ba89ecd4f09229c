"""Reports: surveys that nobody waits for. Each is a job with a record, which the page shows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from corpus.answers import answers_json, record_of, text_of
from gearmanny.contrib.django import client
from gearmanny.contrib.django.models import JobRecord
from gearmanny.errors import TaskError, UnknownJob

_SHOWN = 5
"""The last reports are shown on the page."""


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@answers_json
def reports(request: HttpRequest) -> dict[str, Any]:
    """Returns the last reports. With POST and `?package=json`, orders another one first."""
    if request.method == "POST":
        package = text_of(request, "package")
        # Two clicks, one report: while one waits or runs, the next one joins it.
        client.using(background=True, unique=package).reports_write(package=package)
    last = JobRecord.objects.filter(function="reports_write").order_by("-id")[:_SHOWN]
    return {"reports": [_report(str(id)) for id in last.values_list("id", flat=True)]}


@require_POST
def retry(request: HttpRequest, id: UUID) -> HttpResponse:
    """Has a report written again that has failed."""
    try:
        retried = record_of(id, "reports_write").retry()
    except UnknownJob:
        return JsonResponse({"error": "There is no such report any more."}, status=404)
    return JsonResponse({"retried": retried})


def _report(id: str) -> dict[str, Any]:
    record = client.record(id)
    error = record.error
    return {
        "id": id,
        "package": record.arguments["package"],
        "state": record.state,
        "attempts": record.attempts,
        "totals": record.result,
        "problem": error.message if isinstance(error, TaskError) else None,
    }
