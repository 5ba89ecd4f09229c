"""The language and the time zone of the caller, in the headers of recorded jobs.

The settings name a pair: what makes the headers, and the hook that restores them around a task::

    GEARMANNY = {
        "HOOKS": [
            "gearmanny.contrib.django.hooks.healthy_connections",
            "gearmanny.contrib.django.locale.restored",
        ],
        "RECORDS": {"STORE": "database", "HEADERS": ["gearmanny.contrib.django.locale.current"]},
    }
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import tzinfo

from django.utils import timezone, translation

from gearmanny.hooks import never_waits
from gearmanny.payload.headers import NO_HEADERS, Headers
from gearmanny.vocabulary.gearman_api import GearmanJob

LANGUAGE, TIME_ZONE = "language", "timezone"
"""The names of the headers."""

_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)", re.ASCII)


def current() -> Headers:
    """Returns the language and the time zone that are active now, as headers."""
    headers = {TIME_ZONE: timezone.get_current_timezone_name()}
    language = translation.get_language()
    if language is not None:  # translations are on
        headers[LANGUAGE] = language
    return headers


@never_waits
@contextlib.contextmanager
def restored(job: GearmanJob) -> Iterator[None]:
    """A hook that runs a job in the language and the time zone of its headers. Those of the
    settings stay for a job without.

    Args:
        job: the job.
    """
    headers = getattr(job, "headers", NO_HEADERS)
    with contextlib.ExitStack() as stack:
        if LANGUAGE in headers:
            stack.enter_context(translation.override(headers[LANGUAGE]))
        if TIME_ZONE in headers:
            stack.enter_context(timezone.override(_zone_of(headers[TIME_ZONE])))
        yield


def _zone_of(name: str) -> tzinfo | str:
    """Returns the time zone of a name: that of `django.utils.timezone.get_fixed_timezone` is an
    offset."""
    found = _OFFSET.fullmatch(name)
    if found is None:
        return name
    minutes = int(found[2]) * 60 + int(found[3])
    return timezone.get_fixed_timezone(-minutes if found[1] == "-" else minutes)
