"""The pages of the explorer where there are many records.

    python -m benchmarks.explorer [RECORDS [sqlite|postgresql ...]]

Makes RECORDS (default: 1,000,000) in each database, and prints of each page, through the test
client of Django, the median and the 95th percentile of the time, and the median of the time that
this process was busy, all in milliseconds: of the list with each combination of filters, its first
page and its tenth, of searches, the page of a job, errors, functions, and what goes on now, where
no job server is up.
"""

from __future__ import annotations

import contextlib
import html
import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import django
from django.conf import settings

from tools.postgres import Postgres

ROUNDS = 20
"""Requests for each page, behind one that is not counted."""

GOAL = 100
"""Milliseconds of the 95th percentile."""

LIST = "/admin/gearmanny/jobrecord/"

_TENTH = 9

# One in 1,000 jobs is of a function of its own; three in 100 have failed, one waits.
_JOBS = """
    INSERT INTO {jobs} (id, function, priority, arguments, result, error, trace, headers, due,
        handovers, unclaimed, handed, created, started, finished, state, errors, attempts, failures,
        deaths, cancelling)
    SELECT made.id, CASE WHEN n % 1000 = 0 THEN 'shop_rare' ELSE 'shop_f' || (n % 19) END, 0,
        '{{"customer": ' || n || ', "note": "a text of some length, as they often are"}}',
        CASE WHEN state = 'succeeded' THEN '{{"total": 17}}' END,
        CASE WHEN state = 'failed' THEN '%ERROR%' END, '', '', at, 1, 0, at, at,
        CASE WHEN state <> 'queued' THEN at END, CASE WHEN state <> 'queued' THEN at END,
        state, '', 1, 0, 0, FALSE
    FROM (
        SELECT n, %ID% AS id, %AGO% AS at, CASE WHEN n % 100 IN (3, 33, 63) THEN 'failed'
            WHEN n % 100 = 50 THEN 'queued' WHEN n % 100 = 51 THEN 'cancelled' ELSE 'succeeded' END
            AS state
        FROM (%SERIES%) AS series
    ) AS made
"""

_SERIES = {
    "postgresql": "SELECT n FROM generate_series(1, %COUNT%) AS n",
    "sqlite": (
        "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series "
        "WHERE n < %COUNT%) SELECT n FROM series"
    ),
}

# As of version 7, the newest with the greatest n: milliseconds, and what makes them unique.
_MILLISECONDS = "%NOW% - (%COUNT% - n) * 2000"
_IDS = {
    "postgresql": f"(lpad(to_hex({_MILLISECONDS}), 12, '0') || '70008000'"
    " || lpad(to_hex(n), 12, '0'))::uuid",
    "sqlite": f"printf('%012x', {_MILLISECONDS}) || '70008000' || printf('%012x', n)",
}

ERROR = json.dumps(
    {
        "gearmanny_error": {
            "type": "builtins.ValueError",
            "message": "no such customer",
            "traceback": 'Traceback:\n  File "shop/workers.py", line 7, in task_bill\n    raise\n',
        }
    }
)

PAGES = {
    "a search that finds few": f"{LIST}?q=customer%22%3A+999999",
    "a search that finds nothing": f"{LIST}?q=nobody",
    "a search of one function": f"{LIST}?function=shop_f3&q=nobody",
    "errors": f"{LIST}errors/",
    "errors of a function": f"{LIST}errors/?function=shop_f3",
    "functions": f"{LIST}functions/",
    "now": "/admin/gearmanny/",
    "schedules": "/admin/gearmanny/jobschedule/",
}


def main(count: int = 1_000_000, *databases: str) -> None:
    print(f"{count:,} records, {ROUNDS} requests each, load {os.getloadavg()[0]:.1f}")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        entries = {}
        if "sqlite" in databases or not databases:
            name = f"{folder}/jobs.db"
            entries["sqlite"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
        if "postgresql" in databases or not databases:
            entries["postgresql"] = stack.enter_context(Postgres()).settings()
        if len(entries) > 1:
            for each in entries:
                with_one_database(each, count)
        else:
            ((vendor, entry),) = entries.items()
            configure(entry)
            fill(vendor, count)
            measure(vendor)


def with_one_database(vendor: str, count: int) -> None:
    """Measures in a process of its own: a project has one place of records."""
    import subprocess  # noqa: PLC0415

    command = [sys.executable, "-m", "benchmarks.explorer", str(count), vendor]
    subprocess.run(command, check=True)


def configure(entry: dict[str, Any]) -> None:
    """Makes a project with an admin site, and its tables."""
    settings.configure(
        SECRET_KEY="for benchmarks only",
        INSTALLED_APPS=[
            *("django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes"),
            *("django.contrib.messages", "django.contrib.sessions", "django.contrib.staticfiles"),
            "gearmanny.contrib.django",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={"default": entry | {"CONN_MAX_AGE": None}},
        ROOT_URLCONF=__name__,
        STATIC_URL="static/",
        ALLOWED_HOSTS=["testserver"],
        GEARMANNY={"HOSTS": ["127.0.0.1:1"], "RECORDS": {"STORE": "database"}},
        USE_TZ=True,
    )
    django.setup()
    from django.contrib import admin  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    globals()["urlpatterns"] = [path("admin/", admin.site.urls)]
    call_command("migrate", verbosity=0)


def fill(vendor: str, count: int) -> None:
    """Makes the records, one each two seconds until now."""
    from django.db import connection  # noqa: PLC0415

    from gearmanny.contrib.django.schema import session_on  # noqa: PLC0415

    began = time.perf_counter()
    session = session_on(connection)
    ago = session.dialect.expressions["ago"].replace("%s", f"(({count} - n) * 2.0)")
    statement = session.dialect.render(_JOBS, session.tables)
    for name, text in (
        ("%ID%", _IDS[vendor]),
        ("%AGO%", ago),
        ("%SERIES%", _SERIES[vendor]),
        ("%COUNT%", str(count)),
        ("%NOW%", str(int(time.time() * 1000))),
        ("%ERROR%", ERROR),
    ):
        statement = statement.replace(name, text)
    session.connection.execute(statement)
    session.connection.commit()
    session.connection.execute("ANALYZE" if vendor == "sqlite" else "VACUUM ANALYZE")
    print(f"\n{vendor}: filled in {time.perf_counter() - began:.0f} s")


def measure(vendor: str) -> None:
    """Prints a line for each page."""
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    client = Client()
    client.force_login(User.objects.create_superuser("bench"))
    slow = []
    for title, address in addresses(client):
        page(client, address)
        times, busy = zip(*(timed(client, address) for _ in range(ROUNDS)), strict=True)
        p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
        middles = statistics.median(times), statistics.median(busy)
        print(f"  {title:45} {middles[0]:7.1f} {p95:7.1f} {middles[1]:7.1f}", flush=True)
        if p95 > GOAL:
            slow.append(title)
    print(f"  above {GOAL} ms: {', '.join(slow) or 'none'}; load {os.getloadavg()[0]:.1f}")


def addresses(client: Any) -> Iterator[tuple[str, str]]:
    """Returns the pages, each with its title."""
    states = ["", "queued", "running", "succeeded", "failed", "cancelled"]
    for state, function in itertools.product(states, ["", "shop_f3", "shop_rare", "shop_none"]):
        words = f"{state or 'all'}, {function or 'any'}"
        first = f"{LIST}?state={state}&function={function}"
        yield f"list: {words}", first
        tenth = following(client, first)
        if tenth:
            yield f"list: {words}, page 10", tenth
    yield "list: the last hour", f"{LIST}?since={time.strftime('%Y-%m-%dT%H:%M', ago(3600))}"
    month = time.strftime("%Y-%m-%dT%H:%M", ago(20 * 86400))
    yield "list: failed, 20 days ago", f"{LIST}?state=failed&until={month}"
    yield "list: shop_rare, 20 days ago", f"{LIST}?function=shop_rare&until={month}"
    job = re.search(rf'href="({LIST}[^"]*/change/)"', page(client, f"{LIST}?state=failed"))
    assert job is not None
    yield "a job", job[1]
    yield from PAGES.items()


def ago(passed: float) -> time.struct_time:
    """Returns the time some seconds ago, in the time zone of the project."""
    os.environ["TZ"] = settings.TIME_ZONE
    time.tzset()
    return time.localtime(time.time() - passed)


def following(client: Any, address: str) -> str:
    """Returns the address of the tenth page; an empty text where there are fewer."""
    for _ in range(_TENTH):
        older = re.search(r'href="([^"]*)" rel="next"', page(client, address))
        if older is None:
            return ""
        address = LIST + html.unescape(older[1])
    return address


def page(client: Any, address: str) -> str:
    """Returns a page."""
    response = client.get(address)
    assert response.status_code == 200, address
    return str(response.content.decode())


def timed(client: Any, address: str) -> tuple[float, float]:
    """Returns the milliseconds that a page takes, and those of this process."""
    began, busy = time.perf_counter(), time.process_time()
    page(client, address)
    return (time.perf_counter() - began) * 1000, (time.process_time() - busy) * 1000


if __name__ == "__main__":
    main(*(int(each) if each.isdigit() else each for each in sys.argv[1:]))  # type: ignore[arg-type]
