"""The records of jobs in Django's admin site, to be read."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from gearmanny.contrib.django import scheduleadmin as scheduleadmin  # noqa: PLC0414  registers
from gearmanny.contrib.django.models import JobRecord, WorkerProcess
from gearmanny.contrib.django.schema import session_on
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import InvalidOption
from gearmanny.payload.masking import masked
from gearmanny.records.ids import canonical
from gearmanny.records.looking import counts

_LONGEST = 20_000
"""Characters of a payload that a page shows."""

_PAYLOADS = ("arguments", "arguments_raw", "result", "result_raw", "error", "errors", "headers")
"""Columns of any length, which the list does not read."""


class FunctionFilter(admin.SimpleListFilter):
    """Functions with jobs that wait, run or have failed: those that the indexes know of."""

    title = gettext_lazy("function")
    parameter_name = "function"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        session = session_on(connections[get_settings().RECORDS.DATABASE])
        known = {count.function for count in counts(session)}
        return [(function, function) for function in sorted({*known, self.value() or ""} - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(function=self.value()) if self.value() else queryset


@admin.register(JobRecord)
class JobRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows records, and changes none: the store does."""

    list_display = ("short_id", "function", "state", "created", "finished", "attempts")
    list_filter = ("state", FunctionFilter)
    search_fields = ("id",)
    search_help_text = gettext_lazy("The id of a job, or the name of a function")
    ordering = ("-id",)  # ids begin with the time at which they were made
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("id", "function", "state", "priority", "shown_process")}),
        (
            gettext_lazy("Times"),
            {"fields": ("created", "due", "handed", "started", "finished")},
        ),
        (
            gettext_lazy("Content"),
            {"fields": ("shown_arguments", "shown_result", "shown_error", "shown_errors")},
        ),
        (
            gettext_lazy("Counters and keys"),
            {
                "fields": (
                    *("attempts", "failures", "deaths", "handovers"),
                    *("unique_key", "unique_waiting_key", "trace", "shown_headers"),
                )
            },
        ),
    )

    def has_module_permission(self, request: HttpRequest) -> bool:
        return get_settings().RECORDS.STORE is not None and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: JobRecord | None = None) -> bool:
        return get_settings().RECORDS.STORE is not None and super().has_view_permission(
            request, obj
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: JobRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: JobRecord | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobRecord]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        of_one = match is not None and "object_id" in match.kwargs
        return rows if of_one else rows.defer(*_PAYLOADS)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(id=canonical(term)), False
        except InvalidOption:
            return queryset.filter(function=term), False

    @admin.display(description=gettext_lazy("id"), ordering="id")
    def short_id(self, job: JobRecord) -> str:
        """Returns the end of the id, which tells jobs apart: its beginning is their time."""
        return str(job.id)[-12:]

    @admin.display(description=gettext_lazy("process"))
    def shown_process(self, job: JobRecord) -> str:
        """Returns the process that runs the job, or ran it last, if it is still registered."""
        if job.process is None:
            return "-"
        found = WorkerProcess.objects.filter(id=job.process).first()
        return str(job.process) if found is None else f"{found} ({job.process})"

    @admin.display(description=gettext_lazy("arguments"))
    def shown_arguments(self, job: JobRecord) -> SafeString | str:
        """Returns the arguments for a page."""
        return _shown(job.arguments, job.arguments_raw)

    @admin.display(description=gettext_lazy("headers"))
    def shown_headers(self, job: JobRecord) -> SafeString | str:
        """Returns the headers for a page."""
        return _shown(job.headers, None)

    @admin.display(description=gettext_lazy("result"))
    def shown_result(self, job: JobRecord) -> SafeString | str:
        """Returns the result for a page."""
        return _shown(job.result, job.result_raw)

    @admin.display(description=gettext_lazy("error"))
    def shown_error(self, job: JobRecord) -> SafeString | str:
        """Returns the last error for a page."""
        return _error(_json(job.error)) if job.error else "-"

    @admin.display(description=gettext_lazy("attempts that did not succeed"))
    def shown_errors(self, job: JobRecord) -> SafeString | str:
        """Returns those attempts for a page."""
        attempts = [_json(line) for line in job.errors.splitlines()]
        if not attempts:
            return "-"
        rows = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            (
                (each["started"], each["ended"], each["event"], _error(each["error"]))
                for each in attempts
                if isinstance(each, dict)
            ),
        )
        head = format_html(
            "<tr><th>{}</th><th>{}</th><th>{}</th><th>{}</th></tr>",
            *("started", "ended", "event", "error"),
        )
        return format_html("<table>{}{}</table>", head, rows)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(text: str | None, raw: Any) -> SafeString | str:
    if raw is not None:
        text = repr(bytes(raw)[:_LONGEST])
    elif text:
        value = _json(text)
        if value is not text:
            value = masked(value, get_settings().MASK)
            text = json.dumps(value, indent=2, ensure_ascii=False)
    return _block(text) if text else "-"


def _error(error: Any) -> SafeString | str:
    """Returns a failure as it travels, in words."""
    found = error.get("gearmanny_error") if isinstance(error, dict) else None
    if not isinstance(found, dict):
        return "-" if error is None else _block(str(error))
    text = f"{found.get('type')}: {found.get('message')}"
    return _block(f"{text}\n\n{found['traceback']}" if found.get("traceback") else text)


def _block(text: str) -> SafeString:
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
    return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', shown)
