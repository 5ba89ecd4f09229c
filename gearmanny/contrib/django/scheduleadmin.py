"""The schedules in Django's admin site: added, changed, paused, and run at once, by the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy, ngettext

from gearmanny.contrib.django.explorer.drawings import bars
from gearmanny.contrib.django.explorer.site import StoreAdmin, store_of_project
from gearmanny.contrib.django.explorer.values import payload_shown
from gearmanny.contrib.django.models import JobSchedule
from gearmanny.contrib.django.scheduleform import (
    DEFINITION,
    MAY_NOT_RUN,
    ScheduleForm,
    may_run,
)
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.store import get_store
from gearmanny.errors import GearmanException
from gearmanny.records.scheduling import Schedules
from gearmanny.schedules.timetable import Timetable

_SHOWN = tuple("arguments_shown" if name == "arguments" else name for name in DEFINITION)
"""The fields that say so where they are not changed, with arguments whose secrets are masked."""

_STATE = ("from_code", "paused", "is_offered", "last_tick", "next_tick", "job")

_RUNS = 20
"""Jobs that are shown of a schedule."""

_IN_CODE = gettext_lazy(
    "This schedule is in the code of a worker, and is changed there. The actions of the list pause "
    "it and run it."
)


def _has_store() -> bool:
    return get_settings().RECORDS.STORE is not None


def _schedules() -> Schedules:
    store = get_store()
    assert store is not None, "there is no page without a store"
    return store.schedules


def _moment(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    return render_to_string("admin/gearmanny/moment.html", {"moment": moment})


@admin.register(JobSchedule)
class JobScheduleAdmin(StoreAdmin):
    """Adds and changes schedules by the store, which knows the time. Those in the code of workers
    can be paused, run and removed, and are changed in code."""

    class Media:
        css: ClassVar = {"all": ("gearmanny/explorer.css",)}

    form = ScheduleForm
    list_display = ("name", "words", "state", "next", "last", "last_runs", "function")
    search_fields = ("name", "function")
    ordering = ("name",)
    actions = ("pause", "resume", "run_now")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _has_store() and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: JobSchedule | None = None) -> bool:
        return _has_store() and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _has_store() and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: JobSchedule | None = None) -> bool:
        return _has_store() and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: JobSchedule | None = None) -> bool:
        return _has_store() and super().has_delete_permission(request, obj)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        found = super().get_changelist_instance(request)
        # One look at the processes for all rows.
        offered = {each.name: each.offered for each in _schedules().all()}
        for schedule in found.result_list:
            schedule.offered = offered.get(schedule.name, False)
        return found

    def get_readonly_fields(
        self, request: HttpRequest, obj: JobSchedule | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ()
        return (*_STATE, *(_SHOWN if obj.from_code else ("name",)))

    def get_fieldsets(self, request: HttpRequest, obj: JobSchedule | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": DEFINITION}),)
        can_change = not obj.from_code and self.has_change_permission(request, obj)
        definition = {
            "fields": DEFINITION if can_change else _SHOWN,
            "description": _IN_CODE if obj.from_code else "",
        }
        return ((None, definition), (gettext_lazy("State"), {"fields": _STATE}))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        schedule = kwargs.get("obj")
        if schedule is not None and schedule.from_code:  # there is nothing to save
            context |= {
                "title": gettext("View %s") % self.opts.verbose_name,
                "show_save": False,
                "show_save_and_continue": False,
                "show_save_and_add_another": False,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None and obj.from_code:  # there is nothing to fill in
            kwargs["form"] = forms.ModelForm
        else:
            kwargs["form"] = type("ScheduleForm", (ScheduleForm,), {"user": request.user})
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: JobSchedule, form: Any, change: bool) -> None:
        if not isinstance(form, ScheduleForm):
            return
        if change:
            _schedules().change(form.new())
        else:
            _schedules().add(form.new())
            obj.pk = _schedules().get(obj.name).id

    def delete_model(self, request: HttpRequest, obj: JobSchedule) -> None:
        _schedules().remove(obj.name)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for schedule in queryset:
            _schedules().remove(schedule.name)

    @admin.action(description=gettext_lazy("Pause"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Pauses schedules."""
        done = self._each(request, queryset, _schedules().pause)
        self._tell(request, ngettext("%d schedule paused.", "%d schedules paused.", done), done)

    @admin.action(description=gettext_lazy("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Resumes schedules."""
        done = self._each(request, queryset, _schedules().resume)
        self._tell(request, ngettext("%d schedule resumed.", "%d schedules resumed.", done), done)

    @admin.action(description=gettext_lazy("Run now"), permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Runs schedules."""
        permitted = [each for each in queryset if may_run(request.user, each.function)]
        if len(permitted) < len(queryset):
            self.message_user(request, MAY_NOT_RUN, messages.ERROR)
        done = self._each(request, permitted, _schedules().run)
        self._tell(request, ngettext("%d job submitted.", "%d jobs submitted.", done), done)

    def _each(
        self, request: HttpRequest, schedules: Iterable[Any], operation: Callable[[str], object]
    ) -> int:
        done = 0
        for schedule in schedules:
            try:
                operation(schedule.name)
                done += 1
            except GearmanException as error:
                self.message_user(request, str(error), messages.ERROR)
        return done

    def _tell(self, request: HttpRequest, text: str, done: int) -> None:
        if done:
            self.message_user(request, text % done, messages.SUCCESS)

    @admin.display(description=gettext_lazy("arguments"))
    def arguments_shown(self, schedule: JobSchedule) -> SafeString | str:
        """Returns the arguments, with secrets masked."""
        return payload_shown(schedule.arguments, None)

    @admin.display(description=gettext_lazy("when"))
    def words(self, schedule: JobSchedule) -> str:
        """Returns the timetable in words."""
        values = {each: getattr(schedule, each) for each in DEFINITION[3:]}
        try:
            return Timetable(**values).words
        except GearmanException as error:
            return str(error)

    @admin.display(description=gettext_lazy("last runs"))
    def last_runs(self, schedule: JobSchedule) -> SafeString | str:
        """Returns the last jobs of its function as bars, as high as they took long."""
        runs = store_of_project().runs(schedule.function, _RUNS)
        return bars(runs) if runs else "-"

    @admin.display(description=gettext_lazy("state"), ordering="paused")
    def state(self, schedule: JobSchedule) -> str:
        """Returns whether somebody has paused it, and whether a worker offers it."""
        if schedule.paused:
            return gettext("paused")
        return gettext("on") if self.is_offered(schedule) else gettext("no worker")

    @admin.display(description=gettext_lazy("next tick"), ordering="next_tick")
    def next(self, schedule: JobSchedule) -> str:
        """Returns when it makes a job next."""
        return _moment(schedule.next_tick)

    @admin.display(description=gettext_lazy("last tick"), ordering="last_tick")
    def last(self, schedule: JobSchedule) -> str:
        """Returns when it made a job last."""
        return _moment(schedule.last_tick)

    @admin.display(description=gettext_lazy("offered by a worker"), boolean=True)
    def is_offered(self, schedule: JobSchedule) -> bool:
        """Returns whether a worker that lives offers it."""
        if schedule.offered is None:  # on its own page
            schedule.offered = _schedules().get(schedule.name).offered
        return bool(schedule.offered)
