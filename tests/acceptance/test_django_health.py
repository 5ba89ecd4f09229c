"""The page of a Django project that says whether jobs can run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import Client, override_settings

from gearmanny.contrib.django.health import _questions
from gearmanny.contrib.django.records import DjangoStore
from gearmanny.contrib.django.schema import DIALECTS, session_on
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.store import get_store
from gearmanny.records.values import NewJob
from tests.acceptance.test_django_records import ALIAS, database, migrate
from tests.support.servers import ROOT, Server, Start, black_hole, end, free_port, until

TOKEN = "a token of more than 16 characters"

BEARER = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def urls() -> Iterator[None]:
    """The URLs of a project, as the document shows them."""
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    exec(code, urls := {"__name__": "urls"})
    with override_settings(ROOT_URLCONF=tuple(urls["urlpatterns"])):
        yield


def page(*hosts: str, **options: Any) -> Any:
    """Returns the answer of the page of a project with such settings."""
    settings = {"HOSTS": list(hosts), "HEALTH_TOKEN": TOKEN, **options}
    with override_settings(GEARMANNY=settings):
        return Client().get("/health", **BEARER)


def problems(*hosts: str, **options: Any) -> str:
    answer = page(*hosts, **options)
    assert answer.status_code == 503
    found = answer.json()
    assert found["healthy"] is False
    return "\n".join(found["problems"])


def await_answer(host: str, is_wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Asks until an answer is as wanted: on a busy machine, a job server may take longer for any of
    them than the page waits."""
    found: dict[str, Any] = {}

    def is_there() -> object:
        answer = page(host)
        found.update(answer.json())
        assert answer.status_code == (200 if found["healthy"] else 503)
        return is_wanted(found)

    until(is_there, "the answer")
    return found


class TestToken:
    def test_without_one_in_the_settings_there_is_no_page(self) -> None:
        assert page("127.0.0.1:1", HEALTH_TOKEN=None).status_code == 404

    @pytest.mark.parametrize(
        "how",
        [
            {},
            {"HTTP_AUTHORIZATION": "Bearer"},
            {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}x"},
            {"HTTP_AUTHORIZATION": f"Basic {TOKEN}"},
            {"QUERY_STRING": "token=%C3%A9%ff"},
            {"QUERY_STRING": "token="},
        ],
        ids=["none", "empty", "wrong", "another kind", "not ASCII", "empty in the URL"],
    )
    def test_without_the_right_one_nothing_is_asked_or_told(self, how: dict[str, str]) -> None:
        with override_settings(GEARMANNY={"HOSTS": ["127.0.0.1:1"], "HEALTH_TOKEN": TOKEN}):
            answer = Client().get("/health", **how)  # type: ignore[arg-type]
        assert answer.status_code == 403
        assert answer.json() == {"error": "the token is missing, or wrong"}

    def test_may_be_in_the_header_or_in_the_url_and_nobody_may_write(self) -> None:
        with override_settings(GEARMANNY={"EAGER": True, "HEALTH_TOKEN": TOKEN}):
            for answer in (
                Client().get("/health", **BEARER),  # type: ignore[arg-type]
                Client().get("/health", {"token": TOKEN}),
            ):
                assert answer.status_code == 200
                assert answer.json() == {"healthy": True, "problems": [], "servers": {}}
                assert "no-store" in answer["Cache-Control"]
            assert Client().head("/health", **BEARER).status_code == 200  # type: ignore[arg-type]
            assert Client().post("/health", **BEARER).status_code == 405  # type: ignore[arg-type]

    def test_is_long_and_no_message_has_it(self) -> None:
        for token in ("", "too short", 16 * "x" + "\n"):
            with override_settings(GEARMANNY={"HEALTH_TOKEN": token}):
                if len(token) < 16:
                    with pytest.raises(ImproperlyConfigured, match="16 characters") as raised:
                        get_settings()
                    assert not token or token not in str(raised.value)
                else:
                    assert token not in repr(get_settings())


class TestJobServers:
    def test_with_workers_all_is_well_and_without_them_it_is_not(
        self,
        gearman_server: Server,
        start_runworkers: Start,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        host = gearman_server.host
        process = start_runworkers()
        found = await_answer(host, lambda found: found["healthy"])
        assert found["problems"] == []
        assert list(found["servers"]) == [host]
        end(process)
        said = re.compile(f"no worker offers good_.* and 4 more on {re.escape(host)}")
        await_answer(host, lambda found: said.fullmatch("\n".join(found["problems"])))
        assert "Service Unavailable" not in caplog.text  # which would be a mail to ADMINS

    def test_one_that_is_away_or_hangs_is_named_and_the_others_are_asked(
        self, gearman_server: Server
    ) -> None:
        away = f"127.0.0.1:{free_port()}"
        with black_hole() as hole:
            answer = page(gearman_server.host, hole, away)
        assert answer.status_code == 503
        found = answer.json()
        assert found["servers"][gearman_server.host]
        assert found["servers"][hole] is found["servers"][away] is None
        first, second, *_ = found["problems"]
        assert first.startswith(f"{hole}: no answer within 1.5 s") or "timed out" in first
        assert second == f"{away}: connection refused"


@pytest.fixture(params=["postgresql", "sqlite"])
def store(
    request: pytest.FixtureRequest, tmp_path: Any, django_db_blocker: Any
) -> Iterator[DjangoStore]:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "jobs.db"}
    if request.param == "postgresql":
        entry = request.getfixturevalue("postgres_database")
    with (
        django_db_blocker.unblock(),
        override_settings(GEARMANNY={"RECORDS": {"STORE": "database", "DATABASE": ALIAS}}),
        database(entry),
    ):
        migrate()
        found = get_store()
        assert found is not None
        yield found


RECORDS = {"STORE": "database", "DATABASE": ALIAS}


class TestRecords:
    def said(self, server: Server) -> str:
        return problems(server.host, RECORDS=RECORDS)

    def record(self, store: DjangoStore, function: str, seconds: float, *, handed: bool) -> None:
        """Records a job that was due, and perhaps handed over, so long ago."""
        (job,) = store.record([NewJob(function)], lambda jobs: None)
        session = session_on(connections[ALIAS])
        session.change("UPDATE {jobs} SET due = {ago} WHERE id = %s", seconds, self.stored(job.id))
        session.change(
            f"UPDATE {{jobs}} SET handed = {'due' if handed else 'NULL'} WHERE id = %s",
            self.stored(job.id),
        )

    def stored(self, id: str) -> Any:
        return DIALECTS[connections[ALIAS].vendor].id(id)

    def test_jobs_that_nobody_hands_over_are_named(
        self, store: DjangoStore, gearman_server: Server
    ) -> None:
        assert "dispatcher" not in self.said(gearman_server)
        self.record(store, "just_now", 5.0, handed=False)
        assert "dispatcher" not in self.said(gearman_server)
        self.record(store, "shop_mail", 60.0, handed=False)
        self.record(store, "shop_lost", 600.0, handed=True)
        assert (
            "no dispatcher hands over the recorded jobs of shop_lost, shop_mail: is runworkers"
            in (self.said(gearman_server))
        )
        store.hand_over(100, 100)
        assert "the recorded jobs of shop_lost: is runworkers" in self.said(gearman_server)
        (lost,) = (job for job in store.handed_before(300, 100))
        store.confirm([lost.id])
        assert "dispatcher" not in self.said(gearman_server)

    def test_those_behind_others_at_the_job_servers_are_not(
        self, store: DjangoStore, gearman_server: Server
    ) -> None:
        self.record(store, "shop_mail", 60.0, handed=True)
        self.record(store, "shop_mail", 60.0, handed=False)
        assert "dispatcher" not in self.said(gearman_server)

    def test_job_servers_that_are_away_are_to_blame_for_that(self, store: DjangoStore) -> None:
        self.record(store, "shop_mail", 60.0, handed=False)
        assert "dispatcher" not in problems("127.0.0.1:1", RECORDS=RECORDS)

    def test_a_database_that_is_away_or_has_no_tables_is_named(
        self, store: DjangoStore, gearman_server: Server
    ) -> None:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("DROP TABLE gearmanny_jobs")
        assert f"the database {ALIAS!r} of the records: " in self.said(gearman_server)

    def test_one_that_hangs_is_not_waited_for(
        self, gearman_server: Server, django_db_blocker: Any
    ) -> None:
        with black_hole() as hole, django_db_blocker.unblock():
            host, _, port = hole.partition(":")
            entry = {
                "ENGINE": "django.db.backends.postgresql",
                **{"HOST": host, "PORT": port, "NAME": "a", "USER": "a", "PASSWORD": "a"},
            }
            said = f"the database {ALIAS!r} of the records does not answer"
            with database(entry):
                for _ in range(6):  # also when all threads that may wait for it do
                    assert said in self.said(gearman_server)
        until(lambda: _questions._value == 4, "the end of the questions")  # type: ignore[attr-defined]
