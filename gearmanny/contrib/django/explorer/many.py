"""A change of all jobs that match a filter, which is a job of its own: it shows its progress, and
goes on after its process has died."""

from __future__ import annotations

from typing import Any

from gearmanny.contrib.django.clients import async_client
from gearmanny.contrib.django.explorer.joblist import Filter

_FUNCTION = "gearmanny_records_change"


def change_all(change: str, found: Filter, user: Any) -> str:
    """Submits the job that changes all jobs which match.

    Args:
        change: the name of the change.
        found: the filters, which are valid.
        user: the primary key of who wants it.

    Returns:
        The id of its record.
    """
    wanted = found.wanted
    arguments = {
        "change": change,
        "user": user,
        "function": wanted.function,
        "state": wanted.state,
        "since": wanted.since and wanted.since.isoformat(),
        "until": wanted.until and wanted.until.isoformat(),
        "text": found.text,
    }
    (id,) = async_client.submit_many(_FUNCTION, [arguments])
    return id
