"""The pages by which functions are called."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.translation import gettext, gettext_lazy

from gearmanny.contrib.django.clients import async_client
from gearmanny.contrib.django.explorer import access
from gearmanny.contrib.django.explorer.callform import CallForm
from gearmanny.contrib.django.explorer.offered import Offered, find_offered, find_one
from gearmanny.contrib.django.explorer.running import run, stream, wants_events
from gearmanny.contrib.django.explorer.site import ExplorerAdmin
from gearmanny.contrib.django.models import JobRecord
from gearmanny.errors import GearmanException


class CallPages(ExplorerAdmin):
    """A list of functions, and a page for each."""

    def functions_view(self, request: HttpRequest) -> HttpResponse:
        """Shows the functions of this project."""
        self.require_view(request)
        functions = [
            {
                "name": each.function,
                "worker": each.worker,
                "is_alive": each.help is not None,
                "description": (each.help or {}).get("description", ""),
                "may_call": access.may_call(request.user, each.function),
            }
            for each in find_offered()
        ]
        return self.page(request, "functions", gettext_lazy("Functions"), {"functions": functions})

    def call_view(self, request: HttpRequest, function: str) -> HttpResponseBase:
        """Shows a form for the arguments of a function, and calls it."""
        self.require_view(request)
        if not access.may_call(request.user, function):
            raise PermissionDenied
        offered = find_one(function)
        if offered is None:
            raise Http404(gettext("No worker of this project offers this function."))
        form = CallForm(offered.help or {}, request.POST if request.method == "POST" else None)
        updates: list[Any] = []
        if form.is_bound and form.is_valid():
            if request.POST.get("how") == "background":
                response = self._submit(request, offered, form)
                if response is not None:
                    return response
            else:
                running = run(function, form.arguments)
                if wants_events(request):
                    return stream(request, running)
                updates = list(running)
        context = {
            "form": form,
            "updates": updates,
            "description": (offered.help or {}).get("description", ""),
            "is_alive": offered.help is not None,
        }
        return self.page(request, "call", function, context)

    def _submit(
        self, request: HttpRequest, offered: Offered, form: CallForm
    ) -> HttpResponse | None:
        try:
            (id,) = async_client.submit_many(offered.function, [form.arguments])
        except GearmanException as error:
            form.add_error(None, str(error))
            return None
        job = JobRecord.objects.filter(id=id or None).first()
        if job is None:  # in eager mode it has run already, without a record
            messages.success(request, gettext("It was submitted."))
            return HttpResponseRedirect(request.path)
        user: Any = request.user.pk
        LogEntry.objects.log_actions(user, [job], ADDITION, "Submitted.")
        return HttpResponseRedirect(self.address("change", id))
