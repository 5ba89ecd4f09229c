"""A job that runs again, as a new one, maybe with other arguments. Its function stays."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.utils.translation import gettext_lazy

from gearmanny.contrib.django.clients import async_client, raw_client
from gearmanny.contrib.django.discovery import DiscoveryError
from gearmanny.contrib.django.explorer.arguments import Arguments, decoded, read, written
from gearmanny.contrib.django.explorer.offered import project_functions
from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.taskqueues import queue_of
from gearmanny.payload.headers import decode_headers

_LONGEST = 100_000
"""Characters of arguments that can be changed."""


def can_run_again(job: JobRecord) -> bool:
    """Returns whether a job is of a function that the workers of this project offer to users, and
    says what it was asked for. Others can be asked for again; one of Django's tasks cannot."""
    try:
        if queue_of(job.function) is not None:
            forgets = get_settings().RECORDS.ARGUMENTS == "forget"
            return not (forgets and job.state == JobRecord.State.SUCCEEDED)
        return job.function in project_functions()
    except DiscoveryError:
        return False


def may_change_arguments(job: JobRecord) -> bool:
    """Returns whether a page may send other arguments to the function of a job.

    Bytes, what is not a JSON object, and what is too long for a form are sent as they were. Those
    of a queue of Django's tasks say which task is run, so that who may change them could run any.
    """
    if queue_of(job.function) is not None or len(job.arguments or "") > _LONGEST:
        return False
    return were_forgotten(job) or written(_arguments(job)) is not None


def were_forgotten(job: JobRecord) -> bool:
    """Returns whether the record of a job has no arguments any more."""
    return job.arguments is None and job.arguments_raw is None


class AgainForm(forms.Form):
    """The arguments of the new job."""

    arguments = forms.CharField(
        label=gettext_lazy("Arguments"),
        help_text=gettext_lazy("A JSON object: the arguments by name."),
        widget=forms.Textarea(attrs={"rows": 8, "cols": 60, "spellcheck": "false"}),
    )

    def __init__(self, job: JobRecord, data: Any = None) -> None:
        """
        Args:
            job: that runs again.
            data: of the request; None where the form is shown for the first time.
        """
        self._old = _arguments(job)
        super().__init__(data if data and "again" in data else None)
        if not may_change_arguments(job):
            del self.fields["arguments"]
        elif not were_forgotten(job):
            self.fields["arguments"].initial = written(self._old)

    def clean_arguments(self) -> Arguments:
        """Returns them, with the secrets that the page has masked."""
        return read(self.cleaned_data["arguments"], self._old)


def run_again(job: JobRecord, form: AgainForm, user: Any) -> str:
    """Submits a job once more.

    Args:
        job: the old one.
        form: its arguments, which are valid.
        user: the primary key of who wants it.

    Returns:
        The id of the new record.

    Raises:
        GearmanException: it cannot be recorded.
    """
    options: Any = {"background": True, "headers": decode_headers(job.headers)}
    arguments: Any = form.cleaned_data.get("arguments", _arguments(job))
    if arguments is not None:
        (id,) = async_client.using(**options).submit_many(job.function, [arguments])
    else:
        raw = (job.arguments or "").encode() if job.arguments_raw is None else job.arguments_raw
        (id,) = raw_client.using(**options).submit_many(job.function, [bytes(raw)])
    new = JobRecord.objects.get(id=id)
    LogEntry.objects.log_actions(user, [new], CHANGE, f"Runs {job.pk} again.")
    return id


def _arguments(job: JobRecord) -> Arguments | None:
    return None if job.arguments_raw is not None else decoded(job.arguments)
