"""The list of jobs: its filters, its pages, and what it says of their number."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django import forms
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext, gettext_lazy, ngettext

from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import InvalidOption
from gearmanny.records.ids import canonical
from gearmanny.records.listing import MANY, Wanted
from gearmanny.records.states import State
from gearmanny.records.summaries import Summarized

PAGE = 50

COLUMNS = (
    *("id", "function", "state", "created", "due", "started", "finished"),
    *("attempts", "failures", "deaths", "cancelling", "held"),
)

STATES = [("", gettext_lazy("all")), *JobRecord.State.choices]

_DATETIME = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")


class Filter(forms.Form):
    """The filters of the list, as they are in its address."""

    state = forms.ChoiceField(required=False, label=gettext_lazy("State"), choices=STATES)
    function = forms.CharField(
        required=False,
        label=gettext_lazy("Function"),
        widget=forms.TextInput(attrs={"list": "functions", "autocomplete": "off"}),
    )
    since = forms.DateTimeField(
        required=False, label=gettext_lazy("Submitted since"), widget=_DATETIME
    )
    until = forms.DateTimeField(required=False, label=gettext_lazy("and before"), widget=_DATETIME)
    q = forms.CharField(
        required=False,
        label=gettext_lazy("Id, key, or text in the arguments"),
        widget=forms.TextInput(attrs={"type": "search"}),
    )

    def clean_q(self) -> str:
        """Returns the text, if any database knows it."""
        return self._storable("q")

    def clean_function(self) -> str:
        """Returns the name, if any database knows it."""
        return self._storable("function")

    def _storable(self, name: str) -> str:
        text: str = self.cleaned_data[name].strip()
        try:
            text.encode()
        except UnicodeEncodeError:
            raise forms.ValidationError(gettext_lazy("This is not text.")) from None
        return text

    @property
    def wanted(self) -> Wanted:
        """The records that match, but for the text that is looked for."""
        values = self.cleaned_data
        return Wanted(
            function=values["function"] or None,
            state=State(values["state"]) if values["state"] else None,
            since=_aware(values["since"]),
            until=_aware(values["until"]),
        )

    @property
    def text(self) -> str:
        """The text that is looked for."""
        text: str = self.cleaned_data["q"]
        return text

    @property
    def is_used(self) -> bool:
        """Whether anything is filtered."""
        return any(self.cleaned_data.values())

    def address(self, **more: str | None) -> str:
        """Returns the query of an address with these filters.

        Args:
            more: what is added, or replaced; None removes it.
        """
        values = {name: str(self.data.get(name, "")) for name in self.fields}
        return "?" + urlencode([(key, value) for key, value in (values | more).items() if value])


class Listing(NamedTuple):
    """A page of the list."""

    jobs: list[JobRecord]
    number: str
    """How many there are, in words; empty where nobody knows."""
    note: str
    """What was not looked at; empty where everything was."""
    after: str | None
    """Where the next page begins."""


def list_jobs(store: Summarized, found: Filter, before: str | None) -> Listing:
    """Returns a page.

    Args:
        store: of the records.
        found: the filters, which are valid.
        before: the id behind which the page begins; None for the first.

    Raises:
        InvalidOption: that is not an id.
    """
    if found.text:
        return _searched(store, found)
    page = store.page(found.wanted, before, PAGE)
    jobs = jobs_with(page.ids)
    note = ""
    if page.after is not None and len(page.ids) < PAGE:
        note = gettext("Older jobs have not been looked at yet: there are too many others.")
    return Listing(jobs, in_words(store.count(found.wanted)), note, page.after)


def _searched(store: Summarized, found: Filter) -> Listing:
    try:
        jobs = jobs_with([canonical(found.text)])
    except InvalidOption:
        pass
    else:
        return Listing(jobs, in_words(len(jobs)), "", None)
    result = store.search(found.wanted, found.text, get_settings().MASK, PAGE)
    notes = []
    if len(result.ids) == PAGE:
        notes.append(gettext("Only the newest %d that were found are shown.") % PAGE)
    if not result.is_all:
        notes.append(
            gettext("Only the newest %d jobs that match the other filters were looked at.") % MANY
        )
    return Listing(jobs_with(result.ids), "", " ".join(notes), None)


def jobs_with(ids: Any) -> list[JobRecord]:
    """Returns records without their payloads, the newest first.

    Args:
        ids: theirs. Those that are gone are left out.
    """
    return list(JobRecord.objects.filter(id__in=list(ids)).only(*COLUMNS).order_by("-id"))


def in_words(number: int | None) -> str:
    """Returns a number of jobs, as `Listed.count` does, in words."""
    if number is None:
        return ""
    if number > MANY:
        return gettext("More than %d jobs") % MANY
    return ngettext("%d job", "%d jobs", number) % number


def _aware(moment: datetime | None) -> datetime | None:
    if moment is None or timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment)
