"""Records of jobs in a database of a Django project."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.http import Http404
from django.test import RequestFactory, override_settings
from django.utils import timezone

from gearmanny.contrib.django import client, records
from gearmanny.contrib.django.models import (
    JobLimit,
    JobNote,
    JobRecord,
    JobSchedule,
    WorkerProcess,
)
from gearmanny.contrib.django.recordchecks import check_atomic_tasks
from gearmanny.contrib.django.records import DjangoStore, store_in
from gearmanny.contrib.django.schema import TABLES
from gearmanny.contrib.django.store import get_store, task_transaction
from gearmanny.contrib.django.testing import new_worker
from gearmanny.errors import InvalidOption, StoreUnavailable, TaskError
from gearmanny.records.connectors import Connector
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, NewJob, Submitted
from gearmanny.worker import BaseWorker
from tests.contract.records.conftest import url_of
from tests.support.servers import PATIENCE, ROOT, Server, Start, free_port, until, workers_of
from tools.postgres import Postgres

ALIAS = "recorded"

MODELS = (JobRecord, JobNote, JobSchedule, JobLimit, WorkerProcess)


@contextlib.contextmanager
def database(entry: dict[str, Any], alias: str = ALIAS) -> Iterator[None]:
    """Adds a database to those of the settings."""
    made = connections.configure_settings({"default": {}, alias: entry})[alias]
    connections.settings[alias] = made
    try:
        yield
    finally:
        store_in.cache_clear()
        connections[alias].close()
        del connections[alias], connections.settings[alias]


@pytest.fixture(params=["postgresql", "sqlite"])
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The entry of an empty database in DATABASES."""
    if request.param == "postgresql":
        found: dict[str, Any] = request.getfixturevalue("postgres_database")
        return found
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "jobs.db"}


@pytest.fixture
def empty(entry: dict[str, Any], django_db_blocker: Any) -> Iterator[None]:
    """The database of the alias, without tables."""
    settings = {"HOSTS": ["127.0.0.1:1"], "RECORDS": {"STORE": "database", "DATABASE": ALIAS}}
    with django_db_blocker.unblock(), override_settings(GEARMANNY=settings), database(entry):
        yield


def migrate(*arguments: str) -> None:
    call_command("migrate", *arguments, database=ALIAS, verbosity=0)


@pytest.fixture
def store(empty: None) -> DjangoStore:
    migrate()
    found = get_store()
    assert found is not None
    return found


class Callers:
    """Notes what is handed over, as a client would do it."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []

    def hand_over(self, jobs: Sequence[Submitted]) -> None:
        assert not connections[ALIAS].in_atomic_block
        self.sent.append([job.function for job in jobs])


@pytest.fixture
def callers() -> Callers:
    return Callers()


@pytest.fixture
def record(store: DjangoStore, callers: Callers) -> Callable[..., str]:
    """Records a job: `record("f")` returns its id."""

    def record(function: str, **options: Any) -> str:
        (submitted,) = store.record([NewJob(function, **options)], callers.hand_over)
        return submitted.id

    return record


def functions() -> list[str]:
    return sorted(JobRecord.objects.values_list("function", flat=True))


class Stopped(Exception):
    pass


class TestTransactions:
    def test_jobs_leave_together_when_their_transaction_is_committed(
        self, record: Callable[..., str], callers: Callers
    ) -> None:
        with transaction.atomic(using=ALIAS):
            record("a")
            with transaction.atomic(using=ALIAS):
                record("b")
            record("c")
            assert callers.sent == []
        assert callers.sent == [["a", "b", "c"]]
        assert functions() == ["a", "b", "c"]

    def test_a_rollback_takes_them_back(self, record: Callable[..., str], callers: Callers) -> None:
        with contextlib.suppress(Stopped), transaction.atomic(using=ALIAS):
            record("a")
            raise Stopped
        assert (callers.sent, functions()) == ([], [])

    def test_that_of_a_savepoint_takes_back_its_own(
        self, record: Callable[..., str], callers: Callers
    ) -> None:
        with transaction.atomic(using=ALIAS):
            record("a")
            with contextlib.suppress(Stopped), transaction.atomic(using=ALIAS):
                record("b")
                with transaction.atomic(using=ALIAS):
                    record("c")
                raise Stopped
            record("d")
        assert callers.sent == [["a", "d"]]
        assert functions() == ["a", "d"]

    def test_that_of_a_savepoint_made_by_hand_leaves_no_record(
        self, record: Callable[..., str], callers: Callers
    ) -> None:
        with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
            cursor.execute("SAVEPOINT by_hand")
            record("a")
            cursor.execute("ROLLBACK TO SAVEPOINT by_hand")
        # Django runs hooks of such savepoints nevertheless. No worker runs a job without a record.
        assert (callers.sent, functions()) == ([["a"]], [])

    def test_that_of_another_database_does_not(
        self, record: Callable[..., str], callers: Callers, tmp_path: Path
    ) -> None:
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "other.db"}
        with (
            database(entry, "other"),
            contextlib.suppress(Stopped),
            transaction.atomic(using="other"),
        ):
            record("a")
            raise Stopped
        assert (callers.sent, functions()) == ([["a"]], ["a"])

    def test_outside_of_one_jobs_leave_at_once(self, store: DjangoStore, callers: Callers) -> None:
        jobs = [NewJob("a"), NewJob("b"), NewJob("c", delay=60)]
        submitted = store.record(jobs, callers.hand_over)
        assert [job.is_handed_over for job in submitted] == [True, True, False]
        assert callers.sent == [["a", "b"]]

    def test_jobs_of_which_one_is_invalid_are_not_recorded_in_part(
        self, store: DjangoStore, callers: Callers
    ) -> None:
        with pytest.raises(InvalidOption):
            store.record([NewJob("a"), NewJob("b", trace="\0")], callers.hand_over)
        assert (callers.sent, functions()) == ([], [])

    def test_where_nobody_knows_of_the_commit_the_dispatchers_hand_over(
        self, store: DjangoStore, record: Callable[..., str], callers: Callers
    ) -> None:
        transaction.set_autocommit(False, using=ALIAS)
        try:
            record("a")
            transaction.commit(using=ALIAS)
        finally:
            transaction.set_autocommit(True, using=ALIAS)
        assert callers.sent == []
        assert [job.function for job in store.hand_over(10, 10)] == ["a"]

    def test_jobs_of_a_hook_and_of_its_own_transactions_leave_with_the_others(
        self, record: Callable[..., str], callers: Callers
    ) -> None:
        def hook() -> None:
            with transaction.atomic(using=ALIAS):
                record("b")
            record("c")

        with transaction.atomic(using=ALIAS):
            transaction.on_commit(hook, using=ALIAS)
            record("a")
        assert callers.sent == [["b", "c", "a"]]

    def test_a_hook_that_fails_keeps_no_jobs_from_leaving_that_are_before_it(
        self, record: Callable[..., str], callers: Callers
    ) -> None:
        def fail() -> None:
            raise Stopped

        with contextlib.suppress(Stopped), transaction.atomic(using=ALIAS):
            record("a")
            transaction.on_commit(fail, using=ALIAS)
        assert callers.sent == [["a"]]

    def test_each_client_gets_its_own(self, store: DjangoStore, callers: Callers) -> None:
        others = Callers()
        with transaction.atomic(using=ALIAS):
            for function, client in [("a", callers), ("b", others), ("c", callers)]:
                store.record([NewJob(function)], client.hand_over)
        assert (callers.sent, others.sent) == ([["a", "c"]], [["b"]])

    def test_what_a_transaction_recorded_it_can_look_at_and_cancel(
        self, store: DjangoStore, record: Callable[..., str]
    ) -> None:
        with transaction.atomic(using=ALIAS):
            id = record("a")
            snapshot = store.look(id)
            assert snapshot is not None
            assert store.cancel(id) is State.CANCELLED
        snapshot = store.look(id)
        assert snapshot is not None
        assert snapshot.state is State.CANCELLED

    def test_a_wait_that_would_not_see_the_end_is_in_vain(
        self, entry: dict[str, Any], store: DjangoStore, record: Callable[..., str]
    ) -> None:
        before = record("a")
        assert not store.waits_in_vain(before)
        is_postgres = "postgresql" in entry["ENGINE"]
        for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
            with transaction.atomic(using=ALIAS):
                if is_postgres:
                    with connections[ALIAS].cursor() as cursor:
                        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
                sees_others = is_postgres and level == "READ COMMITTED"
                assert store.waits_in_vain(before) is not sees_others
                assert not is_postgres or store.waits_in_vain(record("a"))

    def test_a_key_that_is_taken_leaves_the_transaction_as_it_was(
        self, store: DjangoStore, record: Callable[..., str]
    ) -> None:
        id = record("a", unique="k")
        process = store.register()
        claimed = store.claim(id, "a", 1, process.id)
        assert isinstance(claimed, Claimed)
        store.finish(claimed.claim, Event.FAILED, error="{}")
        store.leave()
        record("a", unique="k")
        with transaction.atomic(using=ALIAS):
            with pytest.raises(InvalidOption, match="has its key now"):
                store.revive(id)
            record("b")
        assert functions() == ["a", "a", "b"]

    @pytest.mark.parametrize("entry", ["postgresql"], indirect=True)
    def test_outside_of_one_jobs_that_meet_others_are_recorded_again(
        self, entry: dict[str, Any], store: DjangoStore, callers: Callers
    ) -> None:
        others = SQLStore(url_of(entry), tables=TABLES)
        holder = psycopg.connect(url_of(entry))
        (first,) = others.submit([NewJob("a", unique="k")], connection=holder)

        def submit() -> list[Submitted]:
            with contextlib.closing(connections[ALIAS]) as connection:
                with connection.cursor() as cursor:
                    cursor.execute("SET default_transaction_isolation TO 'repeatable read'")
                return store.record([NewJob("a", unique="k")], callers.hand_over)

        def is_blocked() -> bool:
            with connections[ALIAS].cursor() as cursor:
                cursor.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database()"
                )
                return cursor.fetchone() is not None

        with ThreadPoolExecutor(1) as pool, contextlib.closing(others), holder:
            submitting = pool.submit(submit)
            until(is_blocked, "the key being waited for")
            holder.commit()
            (second,) = submitting.result(PATIENCE)
        assert (second.id, second.is_new) == (first.id, False)

    def test_a_broken_transaction_records_nothing(
        self, record: Callable[..., str], callers: Callers
    ) -> None:
        with transaction.atomic(using=ALIAS):
            transaction.set_rollback(True, using=ALIAS)
            with pytest.raises(transaction.TransactionManagementError):
                record("a")
        assert callers.sent == []

    def test_coroutines_record_in_the_transaction_of_their_caller(
        self, store: DjangoStore, callers: Callers
    ) -> None:
        async def view() -> None:
            await store.arecord([NewJob("a")], callers.hand_over)
            assert await sync_to_async(functions)() == ["a"]

        from asgiref.sync import async_to_sync  # noqa: PLC0415

        with contextlib.suppress(Stopped), transaction.atomic(using=ALIAS):
            async_to_sync(view)()
            raise Stopped
        assert (callers.sent, functions()) == ([], [])

    def test_a_database_that_is_away_is_reported_and_used_again(
        self, own_postgres: Postgres, callers: Callers, django_db_blocker: Any
    ) -> None:
        of_tests = {"RECORDS": {"STORE": "database", "DATABASE": ALIAS}}
        with (
            django_db_blocker.unblock(),
            override_settings(GEARMANNY=of_tests),
            database(own_postgres.settings()),
        ):
            migrate()
            store = store_in(ALIAS)
            store.record([NewJob("a")], callers.hand_over)
            own_postgres.stop()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    store.record([NewJob("b")], callers.hand_over)
            own_postgres.start()

            @transaction.atomic(using=ALIAS)
            def lose_a_transaction() -> None:
                store.record([NewJob("c")], callers.hand_over)
                own_postgres.restart()
                store.record([NewJob("d")], callers.hand_over)

            with pytest.raises(OperationalError):
                lose_a_transaction()
            store.record([NewJob("e")], callers.hand_over)
            assert (callers.sent, functions()) == ([["a"], ["e"]], ["a", "e"])


class TestWorkers:
    def test_a_worker_has_a_connection_of_its_own(
        self, store: DjangoStore, record: Callable[..., str]
    ) -> None:
        id = record("f", arguments='{"a": 1}')
        process = store.register(pool="tests")
        try:
            claimed = store.claim(id, "f", 1, process.id)
            assert isinstance(claimed, Claimed)
            assert claimed.arguments == '{"a": 1}'
            with transaction.atomic(using=ALIAS):
                transaction.set_rollback(True, using=ALIAS)  # as a task may do
                assert store.progress(claimed.claim, 1, 2)
                assert store.finish(claimed.claim, Event.SUCCEEDED, "2")
            assert JobRecord.objects.get(id=id).state == "succeeded"
        finally:
            store.leave()
            store.close()

    def test_an_atomic_task_and_its_end_are_one_transaction(
        self, store: DjangoStore, record: Callable[..., str]
    ) -> None:
        id = record("f")
        process = store.register(pool="tests")
        try:
            claimed = store.claim(id, "f", 1, process.id)
            assert isinstance(claimed, Claimed)
            with contextlib.suppress(Stopped), task_transaction() as of_the_driver:
                record("effect")
                assert store.finish(claimed.claim, Event.SUCCEEDED, connection=of_the_driver)
                raise Stopped
            assert functions() == ["f"]
            assert JobRecord.objects.get(id=id).state == "running"
            with task_transaction() as of_the_driver:
                record("effect")
                assert store.finish(claimed.claim, Event.SUCCEEDED, connection=of_the_driver)
            assert functions() == ["effect", "f"]
            assert JobRecord.objects.get(id=id).state == "succeeded"
        finally:
            store.leave()
            store.close()

    def test_a_plain_worker_shares_the_tables(
        self, store: DjangoStore, record: Callable[..., str], entry: dict[str, Any]
    ) -> None:
        id = record("f")
        sqlite = "sqlite" in entry["ENGINE"]
        plain = SQLStore(f"sqlite:///{entry['NAME']}" if sqlite else url_of(entry))
        try:
            assert plain.id == store.id
            assert plain.look(id) is not None
        finally:
            plain.close()

    def test_the_store_goes_with_its_alias_and_can_be_pickled(self, store: DjangoStore) -> None:
        copy = pickle.loads(pickle.dumps(store))
        assert (copy.alias, copy.id) == (ALIAS, store.id)


def test_the_store_follows_the_name_of_its_database(
    store: DjangoStore,
    record: Callable[..., str],
    tmp_path: Path,
    entry: dict[str, Any],
    request: pytest.FixtureRequest,
) -> None:
    id, first = record("f"), store.id
    settings = connections[ALIAS].settings_dict
    connections[ALIAS].close()
    with contextlib.ExitStack() as stack:
        if "sqlite" in entry["ENGINE"]:
            settings["NAME"] = tmp_path / "test.db"
        else:
            postgres = request.getfixturevalue("postgres")
            other = stack.enter_context(postgres.database(f"{entry['NAME']}_2"))
            settings["NAME"] = other["NAME"]
        migrate()
        assert store.look(id) is None
        assert store.id != first
        record("g")
        assert functions() == ["g"]
        connections[ALIAS].close()


def test_threads_that_come_first_find_one_store(
    store: DjangoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, connect = DjangoStore(ALIAS), records.connector_of
    other = threading.Thread(target=lambda: (new.register(), new.renew()))

    def interrupted(alias: str) -> Connector:
        monkeypatch.undo()
        other.start()
        other.join(1)  # it waits for this thread, or does not
        return connect(alias)

    monkeypatch.setattr(records, "connector_of", interrupted)
    assert new.id == store.id
    other.join()
    assert new.id == store.id
    new.leave()


class TestTables:
    def test_there_is_nothing_to_migrate(self, empty: None) -> None:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)

    def test_models_are_what_the_statements_make(self, store: DjangoStore) -> None:
        migrated = described()
        assert len(migrated["indexes"]) == 16
        migrate("gearmanny", "zero")
        assert described() == {"columns": [], "indexes": []}
        with connections[ALIAS].schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
        assert described() == migrated

    def test_all_models_are_compared(self) -> None:
        assert set(apps.get_app_config("gearmanny").get_models()) == set(MODELS)

    def test_that_a_plain_worker_has_made_are_kept(
        self, empty: None, entry: dict[str, Any]
    ) -> None:
        sqlite = "sqlite" in entry["ENGINE"]
        plain = SQLStore(f"sqlite:///{entry['NAME']}" if sqlite else url_of(entry))
        (submitted,) = plain.submit([NewJob("f")])
        plain.close()
        migrate()
        store = get_store()
        assert store is not None
        assert store.look(submitted.id) is not None
        assert store.id == plain.id

    def test_that_are_missing_are_reported(self, empty: None, callers: Callers) -> None:
        store = get_store()
        assert store is not None
        with pytest.raises(InvalidOption, match=r"missing\. Run manage\.py migrate --database=rec"):
            store.record([NewJob("f")], callers.hand_over)
        with pytest.raises(InvalidOption, match=r"missing\. Run manage\.py migrate --database=rec"):
            store.look("0198c7a2-0000-7000-8000-000000000000")

    def test_that_tests_make_without_migrations_are_a_store(
        self, empty: None, callers: Callers
    ) -> None:
        with override_settings(MIGRATION_MODULES={"gearmanny": None}):
            migrate("--run-syncdb")
        store = get_store()
        assert store is not None
        store.record([NewJob("f")], callers.hand_over)
        assert callers.sent == [["f"]]
        first = store.id
        call_command(  # as TransactionTestCase does after each test
            "flush", database=ALIAS, interactive=False, reset_sequences=False, verbosity=0
        )
        store_in.cache_clear()
        again = get_store()
        assert again is not None
        again.record([NewJob("f")], callers.hand_over)
        assert again.id == first

    def test_routers_are_asked(self, empty: None) -> None:
        class NotHere:
            def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool | None:
                return False if app_label == "gearmanny" else None

        with override_settings(DATABASE_ROUTERS=[NotHere()]):
            migrate()
        assert TABLES.jobs not in connections[ALIAS].introspection.table_names()


def described() -> dict[str, Any]:
    """The columns and the indexes of the models, as the database describes them."""
    names = [model._meta.db_table for model in MODELS]
    with connections[ALIAS].cursor() as cursor:
        if connections[ALIAS].vendor == "postgresql":
            cursor.execute(
                "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable "
                "FROM information_schema.columns WHERE table_name = ANY(%s) ORDER BY 1, 2",
                [names],
            )
            columns = cursor.fetchall()
            cursor.execute(
                "SELECT indexdef FROM pg_indexes WHERE tablename = ANY(%s) ORDER BY 1", [names]
            )
            return {"columns": columns, "indexes": cursor.fetchall()}
        columns = []
        for name in names:
            cursor.execute(f"PRAGMA table_info({name})")
            columns += sorted(
                (name, column, kind.lower(), not_null, key)
                for _, column, kind, not_null, _, key in cursor.fetchall()
            )
        cursor.execute("SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index'")
        indexes = [
            (table, name, "".join((sql or "").translate(str.maketrans("", "", '"()')).split()))
            for table, name, sql in cursor.fetchall()
            if table in names
        ]
        return {"columns": columns, "indexes": sorted(indexes)}


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_orm_and_the_store_read_the_same_times(
    store: DjangoStore, record: Callable[..., str], use_tz: bool
) -> None:
    with override_settings(USE_TZ=use_tz, TIME_ZONE="America/Chicago"):
        at = datetime(2030, 7, 1, 12, 0, 0, 250_000, tzinfo=UTC)
        id = record("f", at=at)
        snapshot, row = store.look(id), JobRecord.objects.get(id=id)
        assert snapshot is not None
        expected = at if use_tz else datetime(2030, 7, 1, 7, 0, 0, 250_000)
        assert (snapshot.due, row.due) == (at, expected)
        created = row.created if use_tz else timezone.make_aware(row.created)
        assert abs(created - snapshot.created) < timedelta(milliseconds=1)
        moment = timedelta(milliseconds=1)
        for bound, found in [
            (expected - moment, True),
            (expected, True),
            (expected + moment, False),
        ]:
            assert JobRecord.objects.filter(due__gte=bound).exists() is found
        assert JobRecord.objects.filter(due=expected).exists()


Run = Callable[..., str]


@pytest.fixture
def run_tests(entry: dict[str, Any]) -> Run:
    """Runs test cases of the app `recorded` in a process of their own."""

    def run(*command: str, **environment: str) -> str:
        made = {**entry, "NAME": str(entry["NAME"])}
        if "sqlite" in entry["ENGINE"]:
            made["TEST"] = {"NAME": f"{entry['NAME']}-test"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", *command],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.django_settings",
                "TEST_APP": "tests.djangoapps.recorded",
                "TEST_ADMIN": "1",
                "TEST_DATABASES": json.dumps({"default": made}),
                "TEST_RECORDS": json.dumps({"STORE": "database"}),
                "TEST_ALONE": "1",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * 3,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def django_test(run_tests: Run, pattern: str, **environment: str) -> None:
    assert "OK" in run_tests(
        *("django", "test", "--noinput", "tests.djangoapps.recorded", "--pattern", pattern),
        **environment,
    )


def test_the_admin_site_shows_them(run_tests: Run) -> None:
    django_test(run_tests, "admin_cases.py")


@pytest.mark.parametrize("naive", ["", "1"])
def test_the_admin_site_stands_odd_records_requests_and_settings(
    run_tests: Run, naive: str
) -> None:
    django_test(run_tests, "hostile_cases.py", **({"TEST_NAIVE": naive} if naive else {}))


def test_the_admin_site_shows_them_without_time_zones(run_tests: Run) -> None:
    django_test(run_tests, "admin_cases.py", TEST_NAIVE="1")


def test_the_admin_site_shows_those_of_another_database(
    run_tests: Run, entry: dict[str, Any], tmp_path: Path
) -> None:
    records = {**entry, "NAME": str(entry["NAME"])}
    if "sqlite" in entry["ENGINE"]:
        records["TEST"] = {"NAME": str(tmp_path / "records.sqlite3")}
    of_users = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    django_test(
        run_tests,
        "admin_cases.py",
        TEST_DATABASES=json.dumps({"default": of_users, "records": records}),
        TEST_RECORDS=json.dumps({"STORE": "database", "DATABASE": "records"}),
    )


def test_test_cases_of_django_have_them(run_tests: Run) -> None:
    django_test(run_tests, "cases.py")


def test_pytest_has_them(run_tests: Run) -> None:
    assert "passed" in run_tests(
        *("pytest", "-q", "-p", "no:cacheprovider", "tests/djangoapps/recorded/pytest_cases.py")
    )


def test_live_workers_need_records_that_are_not_in_memory(django_db_blocker: Any) -> None:
    of_tests = {"RECORDS": {"STORE": "database"}}
    with django_db_blocker.unblock(), override_settings(GEARMANNY=of_tests):
        with pytest.raises(InvalidOption, match="'default' is in memory"):
            new_worker(BaseWorker, "127.0.0.1:1")
        store_in.cache_clear()


class TestChecks:
    def problems(self, *databases: str) -> list[str]:
        ids = ("gearmanny.E005", "gearmanny.W005", "gearmanny.W006", "gearmanny.W011")
        found = [each for each in run_checks(databases=databases) if each.id in ids]
        return [f"{each.id}: {each.msg}" for each in found]

    def test_a_database_that_is_not_there(self) -> None:
        with override_settings(GEARMANNY={"RECORDS": {"STORE": "database", "DATABASE": "gone"}}):
            assert self.problems() == ["gearmanny.E005: There is no database 'gone' in DATABASES."]

    def test_one_of_another_kind(self) -> None:
        settings = {"RECORDS": {"STORE": "database", "DATABASE": ALIAS}}
        dummy = {"ENGINE": "tests.djangoapps.recorded.backend", "NAME": ":memory:"}
        with override_settings(GEARMANNY=settings), database(dummy):
            (problem,) = self.problems()
            assert problem.startswith("gearmanny.E005: The database 'recorded' is Another.")

    def test_tables_that_are_missing(self, empty: None) -> None:
        assert self.problems() == []
        (problem,) = self.problems(ALIAS)
        assert problem.startswith("gearmanny.W005: The tables of the store are missing. Run")
        migrate()
        assert self.problems(ALIAS) == []

    def test_records_that_nobody_hands_over(
        self, store: DjangoStore, record: Callable[..., str]
    ) -> None:
        record("f", delay=3600)
        record("g")
        assert self.problems(ALIAS) == []  # one is due later, the other was handed over
        JobRecord.objects.update(due=timezone.now())
        assert self.problems(ALIAS) == []  # a dispatcher may be about to hand it over
        JobRecord.objects.update(due=timezone.now() - timedelta(hours=1))
        (problem,) = self.problems(ALIAS)
        assert problem.startswith("gearmanny.W011: Recorded jobs of f in the database 'recorded'")
        (handed,) = store.hand_over(10, 1000)
        assert handed.function == "f"
        assert self.problems(ALIAS) == []

    def test_records_that_wait_when_they_are_switched_off(
        self, store: DjangoStore, record: Callable[..., str]
    ) -> None:
        with override_settings(GEARMANNY={"RECORDS": {"DATABASE": ALIAS}}):
            assert get_store() is None
            assert self.problems(ALIAS) == []
            record("f", delay=60)
            assert self.problems() == []
            (problem,) = self.problems(ALIAS)
        assert problem.startswith("gearmanny.W006: 1 recorded job(s) wait in the database")


class TestChecksOfAtomicTasks:
    """The app `recorded` has an atomic task; that its models are in two databases is in routers."""

    INSTALLED = ("django.contrib.auth", "django.contrib.contenttypes", "gearmanny.contrib.django")

    def problems(self, alias: str, *routers: str) -> list[str]:
        apps = [*self.INSTALLED, "tests.djangoapps.recorded", "tests.djangoapps.atomic"]
        records = {"STORE": "database", "DATABASE": alias}
        with override_settings(
            INSTALLED_APPS=apps, GEARMANNY={"RECORDS": records}, DATABASE_ROUTERS=[*routers]
        ):
            return [str(each) for each in check_atomic_tasks()]

    def test_models_in_the_database_of_the_records(self) -> None:
        assert self.problems("default") == []

    def test_models_elsewhere(self, empty: None) -> None:
        (problem,) = self.problems(ALIAS)
        assert "atomic.workers.AtomicWriter has atomic tasks" in problem
        assert "written to 'default'" in problem
        assert "gearmanny.W009" in problem

    def test_models_that_a_router_sends_there(self, empty: None) -> None:
        router = "tests.djangoapps.atomic.routers.ToRecords"
        assert self.problems(ALIAS, router) == []


def test_other_databases_get_empty_tables(django_db_blocker: Any, tmp_path: Path) -> None:
    entry = {"ENGINE": "tests.djangoapps.recorded.backend", "NAME": tmp_path / "other.db"}
    with django_db_blocker.unblock(), override_settings(GEARMANNY={}), database(entry):
        assert not connections[ALIAS].features.supports_partial_indexes
        migrate()
        assert JobRecord.objects.using(ALIAS).count() == 0
        migrate("gearmanny", "zero")
        assert TABLES.jobs not in connections[ALIAS].introspection.table_names()


@pytest.fixture
def project(entry: dict[str, Any], empty: None, start_command: Start) -> Start:
    """Starts `runworkers` of the app `recorded`, on tables that are there."""
    databases = json.dumps({"default": {**entry, "NAME": str(entry["NAME"])}})
    environment = {
        "TEST_APP": "tests.djangoapps.recorded",
        "TEST_ADMIN": "1",
        "TEST_DATABASES": databases,
    }
    migrated = start_command("migrate", **environment)
    assert migrated.wait(PATIENCE) == 0

    def start(
        *options: str, command: Sequence[str] = ("runworkers",), **more: str
    ) -> subprocess.Popen[str]:
        return start_command(*command, *options, **environment, **more)

    return start


@pytest.fixture
def of_views(gearman_server: Server, empty: None) -> Iterator[Any]:
    """The client of the project, as views have it."""
    of_tests = {**settings.GEARMANNY, "HOSTS": [gearman_server.host]}
    with override_settings(GEARMANNY=of_tests):
        yield client
        client.close()


def groups() -> list[str]:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT name FROM auth_group ORDER BY name")
        return [name for (name,) in cursor.fetchall()]


def add_group(name: str) -> int:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("INSERT INTO auth_group (name) VALUES (%s) RETURNING id", [name])
        id: int = cursor.fetchone()[0]
        return id


class TestRunworkers:
    RECORDS = json.dumps({"STORE": "database"})

    def test_a_worker_finds_what_the_transaction_of_its_caller_wrote(
        self, project: Start, of_views: Any, gearman_server: Server
    ) -> None:
        project(TEST_RECORDS=self.RECORDS)
        until(lambda: workers_of(gearman_server, "recorded_read"), "the workers")
        background = of_views.using(background=True)
        with contextlib.suppress(Stopped), transaction.atomic(using=ALIAS):
            background.recorded_write(name="rolled back")
            raise Stopped
        with transaction.atomic(using=ALIAS):
            work = background.recorded_read(id=add_group("committed"))
            assert work.status().state == "queued"
        until(lambda: JobRecord.objects.get(id=work.id).finished, "the end of the job")
        record = JobRecord.objects.get(id=work.id)
        assert (record.state, record.result, record.attempts) == ("succeeded", '"committed"', 1)
        assert (groups(), JobRecord.objects.count()) == (["committed"], 1)

    def test_an_atomic_task_leaves_all_or_nothing(
        self, project: Start, of_views: Any, gearman_server: Server
    ) -> None:
        project(TEST_RECORDS=self.RECORDS)
        until(lambda: workers_of(gearman_server, "recorded_write_and_fail"), "the workers")
        background = of_views.using(background=True)
        works = [
            background.recorded_write_and_fail(name="failed"),
            background.recorded_write_and_fail(name="done", fails=False),
        ]
        ids = [work.id for work in works]
        done = JobRecord.objects.filter(id__in=ids, finished__isnull=False)
        until(lambda: done.count() == 2, "the end of both jobs")
        assert groups() == ["done"]
        assert [JobRecord.objects.get(id=id).state for id in ids] == ["failed", "succeeded"]

    def test_so_does_one_without_records(
        self, project: Start, of_views: Any, gearman_server: Server
    ) -> None:
        project()
        until(lambda: workers_of(gearman_server, "recorded_write_and_fail"), "the workers")
        with pytest.raises(TaskError):
            of_views.recorded_write_and_fail(name="failed")
        assert of_views.recorded_write_and_fail(name="done", fails=False) == "done"
        assert groups() == ["done"]

    @pytest.mark.parametrize("apart", [False, True])
    def test_jobs_that_are_due_later_are_handed_over(
        self, project: Start, of_views: Any, apart: bool
    ) -> None:
        project(*(["--no-dispatch"] if apart else []), TEST_RECORDS=self.RECORDS)
        if apart:
            project(command=("gearmanny", "dispatch"), TEST_RECORDS=self.RECORDS)
        work = of_views.using(background=True, delay=0.2).recorded_write(name="later")
        until(lambda: JobRecord.objects.get(id=work.id).finished, "the end of the job")
        assert groups() == ["later"]

    def test_metrics_count_them(self, project: Start, of_views: Any, tmp_path: Path) -> None:
        port = free_port()
        of_views.using(background=True, delay=3600).recorded_write(name="later")
        project("--metrics-port", str(port), TEST_RECORDS=self.RECORDS)
        until(lambda: "Ready" in (tmp_path / "stdout").read_text(), "the port")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        assert 'gearmanny_records{function="recorded_write",state="scheduled"} 1.0' in text

    def test_tables_that_are_missing_are_reported(
        self, entry: dict[str, Any], start_command: Start, tmp_path: Path
    ) -> None:
        process = start_command(
            "runworkers",
            TEST_DATABASES=json.dumps({"default": {**entry, "NAME": str(entry["NAME"])}}),
            TEST_RECORDS=self.RECORDS,
        )
        assert process.wait(PATIENCE) == 1
        assert "missing. Run manage.py migrate" in (tmp_path / "stderr").read_text()


WAITING = """
import asyncio, concurrent.futures
from django.db import transaction
from gearmanny.calling import recordwaits
from gearmanny.contrib.django import aio_client, client

recordwaits.SOON = recordwaits.LATER = 1000.0  # nobody looks without being told
with transaction.atomic():
    works = [client.using(background=True).nobody_home(n=n) for n in range(8)]
ids = [work.id for work in works]
print(*ids, flush=True)

async def wait(ids):
    found = [await aio_client.record(id) for id in ids]
    return await asyncio.gather(*(record.get_result(60) for record in found))

with concurrent.futures.ThreadPoolExecutor() as pool:
    waiting = [pool.submit(client.record(id).get_result, 60) for id in ids[:3]]
    waiting += [pool.submit(work.get_result, 60) for work in works[3:5]]
    print(*asyncio.run(wait(ids[5:])), *(each.result() for each in waiting))
"""


@pytest.mark.parametrize("entry", ["postgresql"], indirect=True)
def test_all_who_wait_in_a_process_are_told_by_one_connection(
    project: Start, store: DjangoStore, tmp_path: Path
) -> None:
    """Outside of tests, of whose databases nobody may hold a connection."""
    records = json.dumps({"STORE": "database"})
    waiting = project(command=("shell", "-v0", "-c", WAITING), TEST_RECORDS=records)
    said = tmp_path / "stdout"
    until(lambda: said.read_text().endswith("\n"), "the ids")
    ids = said.read_text().split()
    until(lambda: JobNote.objects.filter(watched=True).count() == 8, "all of them waiting")
    with connections[ALIAS].cursor() as cursor:

        def listeners() -> int:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            return int(cursor.fetchone()[0])

        until(listeners, "the connection")
        assert listeners() == 1
    process = store.register(pool="tests")
    for result, id in enumerate(ids):
        claimed = store.claim(id, "nobody_home", 1, process.id)
        assert isinstance(claimed, Claimed)
        store.finish(claimed.claim, Event.SUCCEEDED, str(result))
    assert waiting.wait(PATIENCE) == 0
    assert said.read_text().splitlines()[1] == "5 6 7 0 1 2 3 4"
    store.leave()


def test_without_records_nothing_of_them_is_loaded(start_command: Start, tmp_path: Path) -> None:
    code = (
        "import sys; from gearmanny.contrib.django import client; client.using(background=True); "
        "from gearmanny.contrib.django.discovery import find_workers; find_workers(); "
        "print([name for name in sys.modules if name in ('gearmanny.records.sql', 'psycopg', "
        "'gearmanny.contrib.django.records', 'gearmanny.calling.handover')])"
    )
    assert start_command("shell", "-v0", "-c", code).wait(PATIENCE) == 0
    assert (tmp_path / "stdout").read_text() == "[]\n"


def test_the_view_of_the_documents_tells_a_page_of_a_job(
    store: DjangoStore, record: Callable[..., str]
) -> None:
    (view,) = re.findall(
        r"^```python\n(# shop/progress.py\n.*?)^```",
        (ROOT / "docs" / "django.md").read_text(encoding="utf-8"),
        re.M | re.S,
    )
    shown: dict[str, Any] = {}
    exec(view, shown)
    id = record("f")
    process = store.register(pool="tests")

    async def read() -> list[dict[str, Any]]:
        with pytest.raises(Http404):
            await shown["progress"](RequestFactory().get("/"), str(uuid4()))
        response = await shown["progress"](RequestFactory().get("/"), id)
        events: list[dict[str, Any]] = []
        async for line in response:
            events.append(json.loads(line.decode().removeprefix("data: ")))
            await asyncio.to_thread(go_on, len(events))
        return events

    claimed: list[Claimed] = []

    def go_on(step: int) -> None:
        if step == 1:
            found = store.claim(id, "f", 1, process.id)
            assert isinstance(found, Claimed)
            claimed.append(found)
        elif step == 2:
            store.progress(claimed[0].claim, 1, 4)
        elif step == 3:
            store.finish(claimed[0].claim, Event.SUCCEEDED, "1")

    assert asyncio.run(read()) == [
        {"state": "queued", "done": None},
        {"state": "running", "done": None},
        {"state": "running", "done": 0.25},
        {"state": "succeeded", "done": 0.25},
    ]
    store.leave()
