"""A job that runs again, as a new one, maybe with other arguments. Its function stays."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.utils.translation import gettext_lazy

from gearmanny.contrib.django.clients import async_client, raw_client
from gearmanny.contrib.django.discovery import DiscoveryError
from gearmanny.contrib.django.explorer.offered import project_functions
from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.taskqueues import queue_of
from gearmanny.payload.headers import decode_headers
from gearmanny.payload.masking import masked, unmasked


def can_run_again(job: JobRecord) -> bool:
    """Returns whether a job is of a function that the workers of this project offer to users."""
    try:
        return queue_of(job.function) is not None or job.function in project_functions()
    except DiscoveryError:
        return False


def may_change_arguments(job: JobRecord) -> bool:
    """Returns whether a page may show other arguments for a job to its function.

    Bytes cannot be written on a page. Those of a queue of Django's tasks say which task is run, so
    that who may change them could run any.
    """
    return queue_of(job.function) is None and _arguments(job) is not None


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
        else:
            shown = masked(self._old, get_settings().MASK)
            text = json.dumps(shown, indent=2, ensure_ascii=False)
            self.fields["arguments"].initial = text

    def clean_arguments(self) -> dict[str, Any]:
        """Returns them, with the secrets that the page has masked."""
        try:
            new = json.loads(self.cleaned_data["arguments"], parse_constant=_refuse)
        except (ValueError, RecursionError):
            new = None
        if not isinstance(new, dict):
            raise forms.ValidationError(gettext_lazy("This is not a JSON object."))
        found: dict[str, Any] = unmasked(new, self._old, get_settings().MASK)
        return found


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
    headers = decode_headers(job.headers)
    if job.arguments_raw is not None:
        raw = raw_client.using(background=True, headers=headers)
        (id,) = raw.submit_many(job.function, [bytes(job.arguments_raw)])
    else:
        arguments: Any = form.cleaned_data.get("arguments", _arguments(job))
        client = async_client.using(background=True, headers=headers)
        (id,) = client.submit_many(job.function, [arguments])
    new = JobRecord.objects.get(id=id)
    LogEntry.objects.log_actions(user, [new], CHANGE, f"Runs {job.pk} again.")
    return id


def _arguments(job: JobRecord) -> dict[str, Any] | None:
    if job.arguments_raw is not None:
        return None
    try:
        arguments = json.loads(job.arguments or "{}")
    except ValueError:
        return None
    return arguments if isinstance(arguments, dict) else None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
