"""A page that says whether jobs of this project can run, for load balancers and monitors.

`path("health", include("gearmanny.contrib.django.health"))` adds it to the URLs of a project. It is
there if `GEARMANNY["HEALTH_TOKEN"]` is set, for whoever has that token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from django.db import DatabaseError, connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from gearmanny.commands.overview import Server
from gearmanny.commands.survey import ask_servers
from gearmanny.contrib.django.connectors import is_in_memory
from gearmanny.contrib.django.discovery import DiscoveryError, find_workers
from gearmanny.contrib.django.schema import session_on
from gearmanny.contrib.django.settings import Settings, get_settings
from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.net.deadline import Deadline
from gearmanny.records.handing import neglected
from gearmanny.tasks.finding import functions_of

_TIMEOUT = 1.5
"""Seconds in which job servers and the database have to answer."""

_NEGLECTED_AFTER = 30.0
"""Seconds for which a recorded job may be due before it is handed over."""

_NAMED = 5
"""Functions that a problem names."""

_questions = threading.BoundedSemaphore(4)
"""The questions to a database that may be under way: one that does not answer keeps a thread."""


@transaction.non_atomic_requests
@never_cache
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Answers with JSON: `healthy`, `problems`, and the versions of the `servers`.

    Args:
        request: has the token, as `Authorization: Bearer TOKEN` or as `?token=TOKEN`.

    Returns:
        200 if jobs can run, 503 if not, 403 without the token.

    Raises:
        Http404: no token is set.
    """
    settings = get_settings()
    if settings.HEALTH_TOKEN is None:
        raise Http404("GEARMANNY['HEALTH_TOKEN'] is None")
    if not constant_time_compare(_token_of(request), settings.HEALTH_TOKEN):
        return JsonResponse({"error": "the token is missing, or wrong"}, status=403)
    servers, problems = examine(settings)
    found = {
        "healthy": not problems,
        "problems": problems,
        "servers": {server.host: server.version or None for server in servers},
    }
    answer = JsonResponse(found, status=503 if problems else 200)
    # Or Django would send a mail to the ADMINS each time that a monitor asks.
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer


def examine(settings: Settings) -> tuple[Sequence[Server], list[str]]:
    """Asks the job servers and the database, within a bounded time.

    Args:
        settings: those of the project.

    Returns:
        The job servers, and what is wrong.
    """
    if settings.EAGER:
        return (), []
    records = settings.RECORDS
    question = _Question(records.DATABASE) if records.STORE is not None else None
    servers = ask_servers(settings.HOSTS, timeout=_TIMEOUT, tls=settings.TLS)
    problems = [f"{server.host}: {server.error}" for server in servers if server.error]
    if question is not None:
        problems += question.problems(all_answer=not problems)
    return servers, [*problems, *_unserved(servers)]


def _token_of(request: HttpRequest) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else request.GET.get("token", "")


def _unserved(servers: Sequence[Server]) -> Iterator[str]:
    """Yields which functions of the workers of this project have no worker at a job server."""
    try:
        wanted = [name for found in find_workers() for name in functions_of(found.worker)]
    except (DiscoveryError, InvalidTask, InvalidOption) as error:
        yield str(error)
        return
    for server in servers:
        served = {each.function for each in server.functions if each.workers}
        missing = [name for name in wanted if name not in served]
        if missing and not server.error:
            yield f"no worker offers {_named(missing)} on {server.host}"


class _Question:
    """A question to the database of the records, in a thread that nobody waits for too long."""

    def __init__(self, alias: str) -> None:
        """
        Args:
            alias: that of the database.
        """
        self._alias = alias
        self._deadline = Deadline(_TIMEOUT)
        self._error = f"the database {alias!r} of the records does not answer"
        self._neglected: list[str] = []
        self._thread = threading.Thread(target=self._ask_aside, daemon=True)
        if is_in_memory(connections[alias]):  # which other threads do not see
            self._ask()
        elif _questions.acquire(timeout=_TIMEOUT):
            self._thread.start()

    def problems(self, *, all_answer: bool) -> Iterator[str]:
        """Yields what is wrong.

        Args:
            all_answer: whether all job servers do. If not, jobs that are not handed over have no
                problem of their own.
        """
        if self._thread.ident is not None:
            self._thread.join(self._deadline.remaining())
        if self._error:
            yield self._error
        elif self._neglected and all_answer:
            yield (
                f"no dispatcher hands over the recorded jobs of {_named(self._neglected)}: is "
                "runworkers, or `manage.py gearmanny dispatch`, running?"
            )

    def _ask_aside(self) -> None:
        try:
            self._ask()
        finally:
            connections[self._alias].close()
            _questions.release()

    def _ask(self) -> None:
        try:
            with connections[self._alias].wrap_database_errors:
                session = session_on(connections[self._alias])
                self._neglected = neglected(session, _NEGLECTED_AFTER)
        except DatabaseError as error:
            self._error = f"the database {self._alias!r} of the records: {error}"
        else:
            self._error = ""


def _named(functions: Sequence[str]) -> str:
    named = ", ".join(functions[:_NAMED])
    return f"{named} and {len(functions) - _NAMED} more" if len(functions) > _NAMED else named


health.login_required = False  # type: ignore[attr-defined]  # as `login_not_required` does

urlpatterns = [path("", health, name="gearmanny-health")]
