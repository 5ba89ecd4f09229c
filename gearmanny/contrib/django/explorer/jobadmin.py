"""The jobs in Django's admin site: a list, a page for each, and errors in groups."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.translation import gettext, gettext_lazy, ngettext

from gearmanny.contrib.django.explorer import access
from gearmanny.contrib.django.explorer.again import (
    AgainForm,
    can_run_again,
    may_change_arguments,
    run_again,
    were_forgotten,
)
from gearmanny.contrib.django.explorer.callpages import CallPages
from gearmanny.contrib.django.explorer.changes import CHANGES, change_jobs
from gearmanny.contrib.django.explorer.joblist import (
    STATES,
    Filter,
    in_words,
    jobs_with,
    list_jobs,
)
from gearmanny.contrib.django.explorer.jobpage import CHILDREN, family_of, progress_of, steps_of
from gearmanny.contrib.django.explorer.many import change_all
from gearmanny.contrib.django.explorer.offered import described_by_processes
from gearmanny.contrib.django.explorer.site import store_of_project
from gearmanny.contrib.django.explorer.values import payload_shown
from gearmanny.contrib.django.explorer.worker import MOST
from gearmanny.contrib.django.models import JobRecord, JobSchedule, WorkerProcess
from gearmanny.errors import GearmanException, InvalidOption
from gearmanny.records.ids import canonical
from gearmanny.records.summaries import NEWEST_FAILED


class JobRecordAdmin(CallPages):
    """Shows records, and asks the store to change them."""

    def pages(self) -> list[Any]:
        def named(route: str, view: Any, name: str) -> Any:
            return path(route, self.admin_site.admin_view(view), name=f"gearmanny_{name}")

        return [
            named("", self.changelist_view, "jobrecord_changelist"),
            named("functions/", self.functions_view, "jobrecord_functions"),
            named("call/<path:function>/", self.call_view, "jobrecord_call"),
            named("errors/", self.errors_view, "jobrecord_errors"),
            named("<path:object_id>/change/", self.change_view, "jobrecord_change"),
            named("<path:object_id>/history/", self.history_view, "jobrecord_history"),
        ]

    # The list

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Shows jobs; changes those that were chosen."""
        self.require_view(request)
        found = Filter(request.GET)
        before = request.GET.get("before")
        if before is not None and not _ids([before]):
            return HttpResponseRedirect(request.path)
        if request.method == "POST" and found.is_valid():
            return self._change_chosen(request, found)
        context: dict[str, Any] = {"filter": found}
        if found.is_valid():
            listing = list_jobs(store_of_project(), found, before)
            context |= {
                "listing": listing,
                "older": listing.after and found.address(before=listing.after),
                "newest": before is not None and (found.address() or request.path),
                "changes": CHANGES.values(),
                "functions": _functions(),
                "states": [
                    (label, found.address(state=state), state == found.data.get("state", ""))
                    for state, label in STATES
                ],
            }
        context |= extra_context or {}
        return self.page(request, "change_list", gettext_lazy("Jobs"), context)

    def _change_chosen(self, request: HttpRequest, found: Filter) -> HttpResponse:
        self._require_act(request)
        change = CHANGES.get(request.POST.get("change", ""))
        back = HttpResponseRedirect(request.get_full_path())
        if change is None:
            return back
        if request.POST.get("scope") == "all":
            if request.POST.get("sure") != "yes":
                number = store_of_project().count(found.wanted) if not found.text else None
                context = {
                    "change": change,
                    "filter": found,
                    "number": in_words(number),
                    "most": MOST,
                }
                return self.page(request, "change_all", change.label, context)
            id = change_all(change.name, found, request.user.pk)
            messages.success(request, gettext("The jobs are changed by this job of its own."))
            return HttpResponseRedirect(self.address("change", id))
        jobs = jobs_with(_ids(request.POST.getlist("id")))
        if not jobs:
            messages.warning(request, gettext("No jobs were chosen."))
            return back
        self._change(request, change.name, jobs)
        return back

    def _change(self, request: HttpRequest, name: str, jobs: list[JobRecord]) -> None:
        done, problems = change_jobs(store_of_project(), CHANGES[name], jobs, request.user.pk)
        if done:
            text = ngettext("%(change)s: %(number)d job.", "%(change)s: %(number)d jobs.", done)
            messages.success(request, text % {"change": CHANGES[name].label, "number": done})
        for problem in problems[:10]:
            messages.error(request, problem)

    # Errors

    def errors_view(self, request: HttpRequest) -> HttpResponse:
        """Shows failed jobs, grouped by function, type and place of their errors."""
        self.require_view(request)
        found = Filter({"function": request.GET.get("function", "")})
        if not found.is_valid():
            return HttpResponseRedirect(request.path)
        groups, is_all = store_of_project().failures(found.wanted.function)
        most = None if is_all else NEWEST_FAILED
        context = {"groups": groups, "most": most}
        return self.page(request, "errors", gettext_lazy("Errors"), context)

    # One job

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Shows a job; changes it, or runs it again."""
        self.require_view(request)
        job = self._job(object_id)
        form = AgainForm(job, request.POST or None)
        if request.method == "POST":
            if "again" in request.POST:
                response = self._again(request, job, form)
                if response is not None:
                    return response
            elif (name := request.POST.get("change", "")) in CHANGES:
                self._require_act(request)
                self._change(request, name, [job])
                gone = name == "discard" and not JobRecord.objects.filter(pk=job.pk).exists()
                return HttpResponseRedirect(self.address("changelist") if gone else request.path)
        may_act = access.may_act(request.user)
        context = {
            "job": job,
            "progress": progress_of(job),
            "steps": steps_of(job),
            "process": job.process and WorkerProcess.objects.filter(id=job.process).first(),
            "schedule": JobSchedule.objects.filter(job=job.pk).first(),
            "arguments": (
                gettext("They were forgotten when the job succeeded.")
                if were_forgotten(job)
                else payload_shown(job.arguments, job.arguments_raw)
            ),
            "result": payload_shown(job.result, job.result_raw),
            "headers": job.headers and payload_shown(job.headers, None),
            "trace_id": job.trace.split("-")[1] if job.trace.count("-") == 3 else job.trace,
            "changes": [each for each in CHANGES.values() if may_act and job.state in each.states],
            "form": form,
            "may_run_again": self._may_run_again(request, job),
            "may_change_arguments": may_change_arguments(job),
            "family": family_of(job),
            "most_children": CHILDREN,
            "log": _log_of(job),
        }
        context |= extra_context or {}
        return self.page(request, "change_form", job.function, context)

    def _again(self, request: HttpRequest, job: JobRecord, form: AgainForm) -> HttpResponse | None:
        if not self._may_run_again(request, job):
            raise PermissionDenied
        if not form.is_valid():
            return None
        try:
            id = run_again(job, form, request.user.pk)
        except GearmanException as error:
            form.add_error(None, str(error))
            return None
        messages.success(request, gettext("It runs again, as this job."))
        return HttpResponseRedirect(self.address("change", id))

    def _may_run_again(self, request: HttpRequest, job: JobRecord) -> bool:
        return access.may_call(request.user, job.function) and can_run_again(job)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Leads to the page of a job, which has its history. The log of the site links here."""
        return HttpResponseRedirect(self.address("change", object_id))

    def _require_act(self, request: HttpRequest) -> None:
        if not access.may_act(request.user):
            raise PermissionDenied

    def _job(self, id: str) -> JobRecord:
        try:
            job: JobRecord | None = JobRecord.objects.filter(id=canonical(id)).first()
        except InvalidOption:
            job = None
        if job is None:
            raise Http404(gettext("There is no record of this job, or it was forgotten."))
        return job


_FUNCTIONS = 500
"""Functions of jobs that are proposed."""

_ENTRIES = 100
"""Entries of the log that are shown of a job, the newest."""


def _functions() -> list[str]:
    """Returns the functions that somebody may look for: of jobs, and those that workers offer."""
    return sorted({*store_of_project().functions(_FUNCTIONS), *described_by_processes()})


def _ids(texts: list[str]) -> list[str]:
    found = []
    for text in texts:
        try:
            found.append(canonical(text))
        except InvalidOption:
            continue
    return found


def _log_of(job: JobRecord) -> Any:
    kind = ContentType.objects.get_for_model(JobRecord)
    entries = LogEntry.objects.filter(content_type=kind, object_id=str(job.pk))
    return reversed(entries.select_related("user").order_by("-action_time")[:_ENTRIES])
